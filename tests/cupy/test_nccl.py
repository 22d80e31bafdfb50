"""NCCL's calls on the genuine CuPy, on the CPU: streams, bytes, sums. Stand-ins are NCCL and MPI."""

import ctypes
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, parallel, to_numpy
from xpnet.parallel.reducer import Reducer

ml_dtypes = pytest.importorskip("ml_dtypes")
cpucuda = pytest.importorskip("cpucuda")
cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.host

TYPES = {7: np.float32, 8: np.float64, 6: np.float16, 9: ml_dtypes.bfloat16}  # ncclDataType_t


class Group:
    """Two ranks, the other of which has the same gradients; what is asked of it, and by which stream."""

    def __init__(self, size, identity, rank):
        self.calls = []

    def allReduce(self, source, target, count, kind, op, stream):
        self._call("allReduce", source, target, count, kind, stream)

    def reduce(self, source, target, count, kind, op, root, stream):
        self._call(f"reduce to {root}", source, target, count, kind, stream)

    def bcast(self, pointer, count, kind, root, stream):
        self.calls.append((f"bcast from {root}", count * np.dtype(TYPES[kind]).itemsize, stream))

    def _call(self, name, source, target, count, kind, stream):
        assert source == target
        dtype = np.dtype(TYPES[kind])
        raw = (ctypes.c_char * (count * dtype.itemsize)).from_address(source)
        values = np.frombuffer(raw, dtype)
        values += values
        self.calls.append((name, values.nbytes, stream))


@pytest.fixture
def connected(monkeypatch):
    """A communicator of two, of which this is rank 0."""
    nccl = SimpleNamespace(
        NcclCommunicator=Group, get_unique_id=lambda: (1, 2), NCCL_SUM=0, groupStart=lambda: None,
        groupEnd=lambda: None, NCCL_FLOAT32=7, NCCL_FLOAT64=8, NCCL_FLOAT16=6, NCCL_BFLOAT16=9,
    )  # fmt: skip
    world = SimpleNamespace(rank=0, size=2, bcast=lambda value: value)
    mpi = SimpleNamespace(COMM_WORLD=world, IN_PLACE=None, Request=SimpleNamespace(Waitall=lambda r: None))
    monkeypatch.setattr(cupy.cuda, "nccl", nccl, raising=False)
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", nccl)
    monkeypatch.setitem(sys.modules, "mpi4py", SimpleNamespace(MPI=mpi))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("xpnet.parallel.leaving._leaving", None)
    monkeypatch.setattr("atexit.register", lambda function: None)
    monkeypatch.setenv("PMI_SIZE", "2")
    return lambda **options: parallel.connect("cupy", **options)


def step_of(group, shared=False):
    with xpnet.use_backend("cupy"):
        xpnet.manual_seed(0)
        model = nn.mlp(20, [16], 4)
        optimizer = optim.SGD(model, lr=0.1)
        if shared:
            optimizer = parallel.shard_optimizer(optimizer, group)
        reducer = group and Reducer(model.parameters(), group, 100, shards=optimizer.shards)
        x = xpnet.asarray(np.random.default_rng(0).normal(size=(8, 20)).astype(np.float32))
        y = xpnet.asarray(np.arange(8) % 4)

    def step():
        optimizer.zero_grad()
        if reducer is None:
            F.cross_entropy(model(x), y).backward()
        else:
            with reducer.during_backward():
                F.cross_entropy(model(x), y).backward()
        gradient = model.grad.copy()
        optimizer.step()
        return gradient

    return step, model


@pytest.mark.parametrize("gradients", [None, "float16", "bf16"])
def test_chunks_leave_on_a_stream_of_their_own_without_a_wait(connected, gradients):
    group = connected(gradients=gradients)
    step, model = step_of(group)
    alone, _ = step_of(None)
    sent = {None: np.float32, "float16": np.float16, "bf16": ml_dtypes.bfloat16}[gradients]
    np.testing.assert_array_equal(to_numpy(step()), 2 * to_numpy(alone()).astype(sent).astype(np.float32))
    group.group.calls.clear()
    with cpucuda.count(places=True) as n:
        step()
    assert n.synchronisations == n.device_to_host == 0, n
    names, sizes, streams = zip(*group.group.calls, strict=True)
    assert set(names) == {"allReduce"}
    assert len(names) > 1  # in chunks
    each = 4 if gradients is None else 2
    flat = nn.flat.spans(model)[0]
    assert each * (20 * 16 + 16 + 16 * 4 + 4) <= sum(sizes) <= each * flat.values.size
    assert set(streams) == {group.stream.ptr} != {cupy.cuda.get_current_stream().ptr}


def test_shared_moments_send_the_bytes_of_one_all_reduce(connected):
    group = connected()
    step, model = step_of(group, shared=True)
    step()
    group.group.calls.clear()
    step()
    flat, by_name = nn.flat.spans(model)[0].values, {}
    for name, size, stream in group.group.calls:
        by_name[name] = by_name.get(name, 0) + size
        own = group.stream.ptr if name.startswith("reduce") else cupy.cuda.get_current_stream().ptr
        assert stream == own
    assert set(by_name) == {"reduce to 0", "reduce to 1", "bcast from 0", "bcast from 1"}
    assert by_name["bcast from 0"] + by_name["bcast from 1"] == flat.nbytes
    assert by_name["reduce to 0"] + by_name["reduce to 1"] == flat.nbytes


@pytest.mark.parametrize(
    ("name", "value"),
    [("MPI_LOCALRANKID", 3), ("OMPI_COMM_WORLD_LOCAL_RANK", 1), ("SLURM_LOCALID", 2), (None, 5)],
)
def test_the_rank_on_this_machine(monkeypatch, name, value):
    from xpnet.parallel.communicator import local_rank

    for other in ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"):
        monkeypatch.delenv(other, raising=False)
    if name:
        monkeypatch.setenv(name, str(value))
    assert local_rank(5) == value


def test_other_types_and_backends_are_refused(connected):
    with pytest.raises(ValueError, match='gradients: expected "bf16" or "float16", got \'int8\''):
        connected(gradients="int8")
    with pytest.raises(ValueError, match='gradients="bf16" needs NCCL'):
        parallel.connect("numpy", gradients="bf16")
