"""Data-parallel training: shards, ranks under mpiexec against one process, faults, NCCL's calls."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import xpnet
from tests.mpi import MPIEXEC, needs_mpi, run
from xpnet import functional as F
from xpnet import nn, optim, parallel
from xpnet.data import DataLoader, Dataset
from xpnet.train import Trainer

pytestmark = pytest.mark.host


def launch(ranks: int, *arguments: str) -> subprocess.CompletedProcess:
    """Run a program of tests/ranks.py."""
    return run(MPIEXEC, "-n", str(ranks), sys.executable, "-m", "tests.ranks", *arguments)


def result(ranks: int, *arguments: str) -> dict:
    done = launch(ranks, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---- shards -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(
    ("samples", "batch", "ranks"), [(23, 6, 3), (24, 6, 2), (13, 4, 4), (7, 7, 7), (9, 4, 3)]
)
def test_shards_are_the_parts_of_each_batch(samples, batch, ranks, shuffle):
    data = Dataset(np.arange(float(samples))[:, None], np.arange(samples))
    batches = [set(xpnet.to_numpy(y).tolist()) for _, y in DataLoader(data, batch, shuffle, seed=1)]
    parts = []
    for rank in range(ranks):
        loader = DataLoader(data, batch, shuffle, seed=1)
        loader.shard(rank, ranks)
        parts.append([xpnet.to_numpy(y).tolist() for _, y in loader])
        assert len(loader) == len(parts[-1])
    kept = batches if len(batches[-1]) >= ranks else batches[:-1]
    together = list(zip(*parts, strict=True))
    assert [{label for part in batch for label in part} for batch in together] == kept
    assert all(sum(map(len, batch)) == len(set().union(*batch)) for batch in together)  # none twice


def test_a_batch_needs_a_sample_for_each_rank():
    loader = DataLoader(Dataset(np.zeros((8, 1)), np.zeros(8, dtype=np.int64)), 2)
    with pytest.raises(ValueError, match="batch of 2 samples is too small for 3 ranks"):
        loader.shard(0, 3)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        loader.shard(2, 2)


# ---- several ranks ----------------------------------------------------------------------------------------


@needs_mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_train_what_one_process_does(ranks):
    found = result(ranks, "parity")
    assert [dtype for dtype, _, _ in found] == ["float64", "float32"] * 2
    for dtype, error, ok in found:
        assert 0 < error <= {"float64": 1e-12, "float32": 1e-5}[dtype]  # the order of additions is another
        assert ok


@needs_mpi
def test_the_parity_command(tmp_path):
    command = [MPIEXEC, "-n", "2", sys.executable, "-m", "xpnet", "parity", "--ranks"]
    file = tmp_path / "ranks.json"
    done = run(*command, "--json", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("agrees") == 4  # printed once
    assert json.loads(file.read_text())["ranks"] == 2


@needs_mpi
def test_the_train_command(tmp_path):
    train = [sys.executable, "-m", "xpnet", "train", "digits", "--parallel", "--epochs", "4"]
    two = [MPIEXEC, "-n", "2", *train]
    files = ["--checkpoint", "c.safetensors", "--json", "r.json"]
    done = run(*two, "--sync-batch-norm", *files, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 ranks" in done.stdout
    assert done.stdout.count("test accuracy") == 1
    assert json.loads((tmp_path / "r.json").read_text())["test"]["accuracy"] > 0.95
    assert {"digits.safetensors", "c.safetensors", "r.json"} <= {path.name for path in tmp_path.iterdir()}

    alone = run(*train, cwd=tmp_path)
    assert alone.returncode == 2
    assert "one process only" in alone.stderr
    refused = run(*two, "--save", str(tmp_path / "missing" / "x.safetensors"), cwd=tmp_path)
    assert refused.returncode == 2
    assert "cannot write" in refused.stderr
    diverged = run(*two, "--optimizer", "sgd", "--lr", "1e30", cwd=tmp_path)
    assert diverged.returncode == 1
    assert diverged.stderr.count("lower the learning rate") == 1


@needs_mpi
@pytest.mark.parametrize("accumulate", ["1", "3"])
def test_ranks_hold_the_same_bits_and_history(accumulate):
    found = result(2, "same", accumulate)
    assert found["error"] <= 1e-12
    assert found["between"] == 0
    assert found["loss"] <= 1e-12
    assert found["one_history"]


@needs_mpi
@pytest.mark.parametrize(("accumulate", "ranks"), [("1", 2), ("2", 3)])
def test_captured_steps_leave_the_bits_of_eager_ones(accumulate, ranks):
    found = result(ranks, "captured", accumulate)
    assert found["graphs"] >= 2
    assert found["history"]
    assert found["differ"] == found["step"] == 0


@needs_mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_step_of_ones_own_is_measured_over_all_ranks(ranks):
    found = result(ranks, "own_step")
    assert found["error"] <= 1e-12
    assert found["means"] <= 1e-6
    ours, alone = found["largest"]  # of the parts of a batch: a mean of their largest
    assert 0 < ours <= alone


@needs_mpi
@pytest.mark.parametrize(("ranks", "capture"), [(2, "no"), (3, "no"), (2, "yes")])
def test_each_of_several_losses_is_its_mean_over_all_ranks(ranks, capture):
    found = result(ranks, "several", capture)
    assert found["error"] <= 1e-12
    assert found["means"] <= 1e-12


@needs_mpi
def test_chunks_leave_while_backward_runs():
    found = result(2, "chunks")
    assert found["error"] == 0
    # the last layer's first; the last chunk holds a parameter that no gradient reaches
    assert found["order"] == [2, 1, 0, 3]
    assert found["before_the_end"] == 3


@needs_mpi
def test_each_rank_drops_its_own_units():
    assert result(2, "masks") == {"equal_masks": False, "equal_states": True}


@needs_mpi
def test_early_stopping_ends_all_ranks():
    assert result(2, "stopping") == {"epochs": [2, 2]}


@needs_mpi
@pytest.mark.parametrize("how", ["error", "kill"])
def test_a_rank_that_dies_ends_the_run_and_any_number_of_ranks_goes_on(how, tmp_path):
    done = launch(2, "die", how, str(tmp_path))
    assert done.returncode != 0
    assert '"finished"' not in done.stdout
    if how == "error":
        assert "rank 1 of 2 failed, all ranks end" in done.stderr
        assert "a fault on this rank alone" in done.stderr
    whole = result(1, "whole")["state"]
    for ranks in (1, 3) if how == "error" else (2,):
        copy = tmp_path / str(ranks)
        shutil.copytree(tmp_path, copy, ignore=shutil.ignore_patterns("[0-9]"))
        found = result(ranks, "resume", str(copy))
        assert found["epochs"] == 4
        for name, values in found["state"].items():
            np.testing.assert_allclose(values, whole[name], rtol=0, atol=1e-12, err_msg=name)


# ---- parts ------------------------------------------------------------------------------------------------


def test_ranks_share_batches_of_a_loader_only():
    model = nn.Linear(2, 2)
    group = parallel.Communicator()
    group.size = 2
    trainer = Trainer(model, F.cross_entropy, optim.SGD(model, lr=0.1), communicator=group)
    with pytest.raises(TypeError, match="2 ranks share the batches of a DataLoader"):
        trainer.fit([(np.zeros((4, 2), np.float32), np.zeros(4, np.int64))], epochs=1)


def test_mpi_missing_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"xpnet\[mpi\]"):
        parallel.MPICommunicator()
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(ImportError, match=r"xpnet\[mpi\]"):
        parallel.connect()
    monkeypatch.setenv("PMI_SIZE", "1")
    assert parallel.connect().size == 1


class _World:
    """MPI's world as seen by rank 0 of two, the other of which has the same values."""

    rank, size = 0, 2

    def bcast(self, value):
        return value


def test_nccl_gets_pointers_counts_types_and_the_stream(monkeypatch):
    """Stand-ins for CuPy's modules record the calls: there is no device here."""
    calls = []

    class Group:
        def __init__(self, size, identity, rank):
            calls.append(("init", size, identity, rank))

        def allReduce(self, *arguments):
            calls.append(("allReduce", *arguments))

        def bcast(self, *arguments):
            calls.append(("bcast", *arguments))

    nccl = SimpleNamespace(
        NcclCommunicator=Group, get_unique_id=lambda: (1, 2), NCCL_SUM=0, NCCL_FLOAT32=7, NCCL_FLOAT64=8
    )
    used = []

    class Stream:
        ptr = 99

        def __init__(self, non_blocking=False):
            self.ptr = 77

        def record(self):
            return f"event of {self.ptr}"

        def wait_event(self, event):
            calls.append((f"stream {self.ptr} waits for", event))

        def __enter__(self):
            current.append(self)

        def __exit__(self, *error):
            current.pop()

    main = Stream()
    main.ptr, current = 99, [main]
    cuda = SimpleNamespace(
        nccl=nccl,
        runtime=SimpleNamespace(getDeviceCount=lambda: 4),
        Device=lambda i: SimpleNamespace(use=lambda: used.append(i)),
        get_current_stream=lambda: current[-1],
        Stream=Stream,
    )
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    monkeypatch.setitem(sys.modules, "cupy.cuda", cuda)
    world = SimpleNamespace(
        COMM_WORLD=_World(), IN_PLACE=None, Request=SimpleNamespace(Waitall=lambda requests: None)
    )
    monkeypatch.setitem(sys.modules, "mpi4py", SimpleNamespace(MPI=world))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # MPICommunicator sets its own
    monkeypatch.setattr("xpnet.parallel.leaving._leaving", None)
    monkeypatch.setattr("atexit.register", lambda function: None)
    monkeypatch.setattr("xpnet.parallel.communicator.backend_name", lambda array: "cupy")
    monkeypatch.setattr("xpnet.parallel.communicator.CHUNK", 4)

    group = parallel.NCCLCommunicator()
    assert calls.pop() == ("init", 2, (1, 2), 0)
    assert used == [0]

    class Array:
        """Six float32 from address 1000 on."""

        flags = SimpleNamespace(c_contiguous=True)
        dtype = np.dtype("float32")

        def __init__(self, start=0, stop=6):
            self.start, self.size, self.shape = start, stop - start, (stop - start,)
            self.data = SimpleNamespace(ptr=1000 + 4 * start)

        def reshape(self, shape):
            return self

        def __getitem__(self, part):
            return Array(part.start, min(part.stop, self.size))

    group.all_reduce(Array())
    assert calls == [("allReduce", 1000, 1000, 4, 7, 0, 99), ("allReduce", 1016, 1016, 2, 7, 0, 99)]
    calls.clear()
    group.broadcast(Array())
    assert calls == [("bcast", 1000, 4, 7, 0, 99), ("bcast", 1016, 2, 7, 0, 99)]
    calls.clear()
    group.start(Array(0, 4))  # on a stream of its own, after the gradient has been made
    group.wait()
    assert calls == [
        ("stream 77 waits for", "event of 99"),
        ("allReduce", 1000, 1000, 4, 7, 0, 77),
        ("stream 99 waits for", "event of 77"),
    ]


# ---- the model of the benchmark ---------------------------------------------------------------------------


def test_the_scaling_model_against_sums_by_hand():
    from bench.scaling import Network, fit, simulate

    flat = Network("flat", latency=1e-3, bandwidth=1e9, outside=1e9, local=1)
    # four ranks: 6 messages, 6/4 of the bytes
    assert flat.all_reduce(4e6, 4) == pytest.approx(6e-3 + 1.5 * 4e6 / 1e9)
    assert flat.all_reduce(4e6, 1) == 0
    nodes = Network("nodes", latency=0.0, bandwidth=1e10, outside=1e9, local=8)
    # within a machine of 8: 14/8 of the bytes; then an eighth of them between two machines
    assert nodes.all_reduce(8e6, 16) == pytest.approx(1.75 * 8e6 / 1e10 + 1e6 / 1e9)
    assert simulate(1e-2, 4e6, flat, 1) == 1
    assert simulate(1e-2, 4e6, flat, 4) == pytest.approx(1e-2 / (1e-2 + 12e-3))
    assert simulate(1e-2, 4e6, flat, 4, overlap=0.5) == pytest.approx(1e-2 / (1e-2 + 7e-3))
    sizes = [1, 1000, 100_000, 10_000_000]
    latency, bandwidth = fit({str(n): [5e-6 + 4 * n / 2e9] for n in sizes})
    assert latency == pytest.approx(5e-6, rel=1e-6)
    assert bandwidth == pytest.approx(2e9, rel=1e-6)


@needs_mpi
def test_the_scaling_benchmark_runs(tmp_path, capsys):
    from bench import scaling

    options = ["--ranks", "1,2", "--batch", "16", "--rounds", "1", "--json", str(tmp_path / "s.json")]
    assert scaling.main(options) == 0
    assert set(json.loads((tmp_path / "s.json").read_text())) == {"1", "2"}
    assert "nothing below was measured" in capsys.readouterr().out
    assert scaling.main(["--ranks", "x"]) == 2
