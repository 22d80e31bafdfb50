"""Captured steps of two ranks, each a thread with a device of its own on CuPy on the CPU.

The stand-in is NCCL alone: a kernel that reads and writes the array, so that the order of streams is checked,
and a function of the host, a node of the graph, in which the ranks meet and add up.
"""

import ctypes
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

import xpnet
from tests.ranks import step_of
from xpnet import functional as F
from xpnet import nn, optim, parallel, to_numpy
from xpnet.data import DataLoader, Dataset
from xpnet.parallel.communicator import Communicator, NCCLCommunicator
from xpnet.parallel.reducer import Reducer
from xpnet.train import GradientClipping, Trainer

ml_dtypes = pytest.importorskip("ml_dtypes")
cpucuda = pytest.importorskip("cpucuda")
cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.host

RANKS, TYPES = 2, {7: np.float32, 8: np.float64, 6: np.float16, 9: ml_dtypes.bfloat16}
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
touch = cupy.ElementwiseKernel("", "T x", "x = x", "read_and_write")


class Meeting:
    """Where the ranks wait for each other."""

    def __init__(self):
        self.barrier = threading.Barrier(RANKS, timeout=120)
        self.slots = [None] * RANKS

    def all(self, rank, value):
        """Every rank's value."""
        self.slots[rank] = value
        self.barrier.wait()
        found = list(self.slots)
        self.barrier.wait()
        return found


class Group:
    """NCCL for one rank.

    Attributes:
        calls: what has been asked for, and in which stream.
        done: how often the ranks have met, and whether in a graph.
    """

    def __init__(self, rank, meeting):
        self.rank, self.meeting, self.calls, self.done, self.kept = rank, meeting, [], [], []
        self.asking = False

    def allReduce(self, source, target, count, kind, op, stream):
        assert source == target
        self._queue("allReduce", source, count, kind, stream, lambda values: sum(values[1:], values[0]))

    def reduce(self, source, target, count, kind, op, root, stream):
        total = lambda values: sum(values[1:], values[0]) if root == self.rank else values[self.rank]
        self._queue("reduce", source, count, kind, stream, total)

    def bcast(self, source, count, kind, root, stream):
        self._queue("bcast", source, count, kind, stream, lambda values: values[root])

    def _queue(self, name, source, count, kind, stream, result):
        dtype = np.dtype(TYPES[kind])
        memory = cupy.cuda.UnownedMemory(source, count * dtype.itemsize, None)
        current = cupy.cuda.get_current_stream()
        assert current.ptr == stream
        touch(cupy.ndarray(count, dtype, cupy.cuda.MemoryPointer(memory, 0)))
        raw = (ctypes.c_char * (count * dtype.itemsize)).from_address(source)
        values = np.frombuffer(raw, dtype)

        def meet(_):
            eager = [asks for asks, _ in self.meeting.all(self.rank, (self.asking, None))]
            assert len(set(eager)) == 1, "one rank is in a graph, the other is not"
            found = self.meeting.all(self.rank, values.copy())
            values[:] = result(found)
            self.done.append((name, not self.asking))

        callback = CALLBACK(meet)
        self.kept.append(callback)
        self.calls.append((name, stream, current.is_capturing()))
        self.asking = True
        assert cpucuda.library.cudaLaunchHostFunc(ctypes.c_void_p(stream), callback, None) == 0
        self.asking = False


class Rank(NCCLCommunicator):
    """One rank: NCCL and MPI are stand-ins, what is called is the package's."""

    def __init__(self, rank, meeting, gradients=None):
        self.rank, self.size, self.gradients, self.requests = rank, RANKS, gradients, []
        self.cupy = cupy
        self.nccl = SimpleNamespace(
            NCCL_SUM=0, NCCL_FLOAT32=7, NCCL_FLOAT64=8, NCCL_FLOAT16=6, NCCL_BFLOAT16=9,
            groupStart=int, groupEnd=int,
        )  # fmt: skip
        self.mpi = SimpleNamespace(MAX=max, Request=SimpleNamespace(Waitall=lambda requests: None))
        self.world = SimpleNamespace(
            allreduce=lambda value, op=sum: op(meeting.all(rank, value)),
            bcast=lambda value: meeting.all(rank, value)[0],
        )
        self.leaving = SimpleNamespace(busy=False)
        self.stream, self._started = cupy.cuda.Stream(non_blocking=True), False
        self.group = Group(rank, meeting)
        self.meeting = meeting

    def gather_object(self, value, what=""):
        return self.meeting.all(self.rank, value)


def on_ranks(work, kind=Rank, **options):
    """`work(rank)` in two threads, on a device each; what they give."""
    meeting = Meeting()

    def run(number):
        try:
            with cupy.cuda.Device(number), xpnet.use_backend("cupy"):
                return work(kind(number, meeting, **options))
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(RANKS) as pool:
        ranks = [pool.submit(run, i) for i in range(RANKS)]
    for error in filter(None, (rank.exception() for rank in ranks)):
        if not isinstance(error, threading.BrokenBarrierError):  # of the one that did not wait in vain
            raise error
    return [rank.result() for rank in ranks]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def network():
    return nn.Sequential(
        *(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 5))
    )


def steps_of(group, captured, shared=False, synchronized=False):
    """A step of one's own, with chunks of a layer; the model; batches of this rank."""
    xpnet.manual_seed(3)
    model = network()
    if synchronized:
        parallel.synchronize_batch_norm(model, group)
    optimizer = optim.Adam(model, lr=0.01)
    if shared:
        parallel.shard_optimizer(optimizer, group)
    step = step_of(model, optimizer, Reducer(model.parameters(), group, chunk=50, shards=optimizer.shards))
    rng = np.random.default_rng(group.rank)
    batch = lambda: (
        xpnet.asarray(rng.standard_normal((8, 20), np.float32)),
        xpnet.asarray(rng.integers(0, 5, 8)),
    )
    return xpnet.capture(step, communicator=group) if captured else step, model, batch


OPTIONS = {
    "plain": {},
    "shared moments": {"shared": True},
    "synchronized": {"synchronized": True},
    "float16": {"gradients": "float16"},
    "bfloat16": {"gradients": "bfloat16"},
}


@pytest.mark.parametrize("name", list(OPTIONS))
def test_the_bits_are_those_of_eager_ranks(name):
    options = dict(OPTIONS[name])
    sent = {"gradients": options.pop("gradients", None)}

    def work(captured):
        def run(group):
            step, model, batch = steps_of(group, captured, **options)
            losses = [step(*batch()).item() for _ in range(30)]
            assert not captured or step.graphs == 1
            return losses, to_numpy(model.theta)

        return on_ranks(run, **sent)

    ours, eager = work(True), work(False)
    for (losses, weights), (their_losses, their_weights) in zip(ours, eager, strict=True):
        assert losses == their_losses
        np.testing.assert_array_equal(weights, their_weights)
    np.testing.assert_array_equal(ours[0][1], ours[1][1])
    assert ours[0][0] != ours[1][0]  # each has batches of its own


@contextmanager
def counted(group, counts):
    """Count what all ranks do in the block, which they enter and leave together."""
    wait = group.meeting.barrier.wait
    wait()
    with cpucuda.count(places=True) if group.is_main else nullcontext() as n:
        wait()
        yield
        wait()
    wait()  # what one drops then is not counted
    counts += [n] if n else []


@pytest.mark.parametrize("shared", [False, True])
def test_sums_are_in_the_graph_on_a_stream_that_forks_and_joins(shared):
    counts = []

    def run(group):
        step, _, batch = steps_of(group, True, shared)
        batches = [batch() for _ in range(8)]
        for x, y in batches[:4]:
            step(x, y)
        each = group.group.calls.copy()
        group.group.calls.clear()
        group.group.done.clear()
        with counted(group, counts):
            for x, y in batches[4:]:
                step(x, y)
        return each, group.group.calls, group.group.done, group.stream.ptr

    for each, asked, done, side in on_ranks(run):
        assert asked == []  # of NCCL by Python, in a replay
        captured = [(name, stream) for name, stream, graph in each if graph]
        assert len(captured) == len(each) / 3 > 2  # two steps as they are, one that is captured
        assert [name for name, _ in done] == 4 * [name for name, _ in captured]
        assert all(graph for _, graph in done)
        assert {stream for name, stream in captured if name != "bcast"} == {side}
    (n,) = counts
    assert n.graphs == 4 * RANKS, n
    assert n.launches == n.synchronisations == 0, n
    assert n.host_to_device <= 4 * RANKS, n


class NoFork(Rank):
    def start(self, array, root=None):
        self._started = True
        with self.stream:
            self.all_reduce(array)


class NoJoin(Rank):
    def wait(self):
        self._started = False


@pytest.mark.parametrize("kind", [NoFork, NoJoin])
def test_a_stream_that_does_not_fork_or_join_would_be_found(kind):
    def run(group):
        step, _, batch = steps_of(group, True)
        for _ in range(4):
            step(*batch())

    with pytest.raises((RuntimeWarning, RuntimeError), match="nothing orders one after the other"):
        on_ranks(run, kind=kind)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("weight", [None, [0.5, 1, 2, 1, 3]])
def test_a_trainer_with_uneven_batches(accumulate, weight):
    """The last batch of an epoch is smaller, and larger on one rank than on the other."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((61, 20), np.float32), rng.integers(0, 5, 61))

    def work(captured):
        def run(group):
            xpnet.manual_seed(3)
            model = network()
            loss = F.cross_entropy
            if weight is not None:
                loss = nn.CrossEntropyLoss(weight=np.array(weight, np.float32))
            trainer = Trainer(
                model, loss, optim.Adam(model, lr=0.01), [GradientClipping(1.0)], accumulate=accumulate,
                communicator=group, capture=captured, verbose=False,
            )  # fmt: skip
            history = trainer.fit(DataLoader(data, 16, seed=1), epochs=5)
            work = trainer.train_step.captured
            graphs = work._captured.graphs if work else 0
            return history["train_loss"], to_numpy(model.theta), graphs, group.group.done

        return on_ranks(run)

    ours, eager = work(True), work(False)
    for mine, theirs in zip(ours, eager, strict=True):
        assert mine[0] == theirs[0]
        np.testing.assert_array_equal(mine[1], theirs[1])
        assert mine[2] >= 2
        assert sum(graph for _, graph in mine[3]) > len(mine[3]) / 3
        assert not any(graph for _, graph in theirs[3])


def test_a_rank_that_cannot_capture_keeps_the_others_from_it():
    def run(group):
        step, model, batch = steps_of(group, False)

        def own(x, y):
            loss = step(x, y)
            if group.rank == 1:
                loss.item()
            return loss

        call = xpnet.capture(own, communicator=group)
        for _ in range(5):
            call(*batch())
        return call.graphs, to_numpy(model.theta), group.group.done

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        ours = on_ranks(run)
    said = " ".join(str(w.message) for w in heard)
    assert "another rank could not capture it" in said
    assert "runs as it is" in said
    assert [graphs for graphs, _, _ in ours] == [0, 0]
    np.testing.assert_array_equal(ours[0][1], ours[1][1])
    assert not any(graph for _, graph in ours[0][2])


def test_a_step_that_does_not_say_that_it_meets_others_runs_as_it_is():
    def run(group):
        step, _, batch = steps_of(group, False)
        call = xpnet.capture(step)
        for _ in range(4):
            call(*batch())
        return call.graphs

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert on_ranks(run) == [0, 0]
    assert "capture(step, communicator=...)" in " ".join(str(w.message) for w in heard)


class OnTheHost(Communicator):
    size = 2

    def all_reduce(self, array):
        array += array


def test_sums_on_the_host_are_named_before_anything_trains():
    with xpnet.use_backend("cupy"):
        model, group = nn.Linear(20, 5), OnTheHost()
        trainer = Trainer(model, F.cross_entropy, optim.SGD(model), communicator=group, capture=True)
        data = Dataset(np.zeros((8, 20), np.float32), np.zeros(8, np.int64))
        with pytest.raises(RuntimeWarning, match="no effect: OnTheHost adds up on the host the gradients"):
            trainer.fit(DataLoader(data, 4), epochs=1)
        call = xpnet.capture(lambda x: x, communicator=group)
        with pytest.raises(RuntimeWarning, match="OnTheHost adds up on the host"):
            call(xpnet.asarray([1.0]))
