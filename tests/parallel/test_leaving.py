"""Faults of one rank: all ranks end, soon and with a message, and none of them trains something else."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import xpnet
from tests.mpi import MPIEXEC, ROOT, needs_mpi
from xpnet import nn
from xpnet.parallel import Communicator
from xpnet.parallel.communicator import ranks_started
from xpnet.parallel.leaving import RanksDifferError
from xpnet.parallel.replicas import Replicas

pytestmark = pytest.mark.host
LIMIT = 5.0  # seconds; on a machine of which others want much, those of the one above, too
HANGS = 60.0

FAULTS = {
    "exit_0": "rank 1 has ended, and the others wait for it to begin training: all ranks end",
    "exit_3": "no data on this machine",
    "last_line": "rank 1 has ended, and the others wait for it to begin training",
    "exit_in_a_step": "rank 1 of 2 ends within the training of all: all ranks end",
    "exit_in_a_step_of_rank_0": "rank 0 of 2 ends within the training of all: all ranks end",
    "error_in_a_step": "rank 1 of 2 failed, all ranks end",
    "other_rate": "optimizer.lr is 0.1 on rank 0 and 0.2 on rank 1",
    "other_labels": r"training data\.y is int64 \[1797\] #\w+ on rank 0 and int64 \[1797\] #\w+ on rank 1",
    "other_samples": r"training data\.x is float32 \[1797, 64\] #\w+ on rank 0",
    "fewer_samples": "data.samples is 1797 on rank 0 and 1697 on rank 1",
    "other_batch": "data.batch_size is 50 on rank 0 and 40 on rank 1",
    "other_seed": "training.seed is 0 on rank 0 and 1 on rank 1",
    "other_loss": r"loss is cross_entropy on rank 0 and <lambda> #\w+ on rank 1",
    "other_layers": r"Linear\(64, 16\) on rank 0 and \(0\): Linear\(64, 17\) on rank 1",
    "other_optimizer": "optimizer.rule is SGD on rank 0 and RMSprop on rank 1",
    "more_epochs": "training.epochs is 1 on rank 0 and 2 on rank 1",
    "accumulate": "training.accumulate is 1 on rank 0 and 2 on rank 1",
    "resume_on_one": "training.resumed updates is 0 on rank 0 and 72 on rank 1",
    "weights_of_one": "weights of rank 1 are not those of rank 0 after update 144 .after update 108 ",
    "weights_at_the_end": "weights of rank 1 are not those of rank 0 after update 36",
}


def start(*command: str, cwd=ROOT, path=str(ROOT)) -> tuple[int, str, float]:
    """Exit code, what was said, and the seconds it took; a hang is a failure."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    environment = {**os.environ, **one, "PYTHONPATH": path, "FAULTS": str(cwd)}
    began = time.monotonic()
    process = subprocess.Popen(
        [MPIEXEC, "-n", "2", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env=environment,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=HANGS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail("the ranks hang")
    return process.returncode, said, time.monotonic() - began


@pytest.fixture(scope="module")
def usual() -> float:
    """How long two ranks take for a run without a fault, on this machine now."""
    code, _, seconds = start(sys.executable, "-m", "tests.rank_faults", "nothing")
    assert code == 0
    return seconds


@needs_mpi
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_rank_ends_all_soon_and_says_why(fault, tmp_path, usual):
    code, said, seconds = start(sys.executable, "-m", "tests.rank_faults", fault, cwd=tmp_path)
    assert code != 0
    assert re.search(FAULTS[fault], said), said
    assert seconds < LIMIT + 3 * usual, said


@needs_mpi
@pytest.mark.parametrize("harmless", ["nothing", "rank_0_works_longer", "diverging"])
def test_ranks_may_end_one_after_the_other(harmless, tmp_path):
    code, said, _ = start(sys.executable, "-m", "tests.rank_faults", harmless, cwd=tmp_path)
    assert code == 0, said
    assert "rank 0 is done" in said
    assert "rank 1 is done" in said


TRAIN = "xpnet train digits --epochs 2 --save none --plot none"
OPTIONS = {
    "a bad option of rank 1": ("--parallel", "--parallel --epochs x", 2, "argument --epochs: expected"),
    "a bad option of rank 0": ("--parallel --epochs x", "--parallel", 2, "argument --epochs: expected"),
    "help on rank 1": ("--parallel", "--help", 1, "rank 1 has ended, and the others wait for it"),
    "rank 1 alone": ("--parallel", "", 2, "add --parallel, and they train one network together"),
    "each alone": ("", "", 2, "add --parallel, and they train one network together"),
    "no such folder": ("--parallel --save no/such/m", "--parallel", 2, "cannot write no/such/m"),
    "another rate": ("--parallel", "--parallel --lr 0.1", 2, "lr is 0.005 on rank 0 and 0.1 on rank 1"),
    "another batch": (
        "--parallel",
        "--parallel --batch-size 50",
        2,
        "batch_size is 32 on rank 0 and 50 on rank 1",
    ),
    "another network": ("--parallel", "--parallel --layers 7", 2, "model.layers is "),
    "divergence on rank 1": (
        "--parallel --optimizer sgd --lr 1e6 --epochs 200",
        "--parallel --optimizer sgd --lr 1e6 --epochs 200 --divergence 3",
        2,
        "'StopOnDivergence', 'factor': 3.0, 'every': 20",
    ),
    "synchronized on rank 1": (
        "--parallel",
        "--parallel --sync-batch-norm",
        2,
        "synchronized batch norms is 0 on rank 0 and 2 on rank 1",
    ),
    "another seed": ("--parallel", "--parallel --seed 5", 2, "training.seed is 0 on rank 0 and 5 on rank 1"),
}


@needs_mpi
@pytest.mark.parametrize("name", OPTIONS)
def test_the_command_on_ranks_with_other_options(name, tmp_path, usual):
    of_0, of_1, expected, message = OPTIONS[name]
    line = f'{sys.executable} -m {TRAIN} $([ "$PMI_RANK" = 1 ] && echo "{of_1}" || echo "{of_0}")'
    code, said, seconds = start("sh", "-c", line, cwd=tmp_path)
    assert code == expected, said
    assert re.search(message, said), said
    assert seconds < LIMIT + 3 * usual, said
    assert list(tmp_path.iterdir()) == []


@needs_mpi
def test_what_all_ranks_find_is_said_once(tmp_path):
    words = [sys.executable, "-m", *TRAIN.split(), "--parallel"]
    code, said, _ = start(*words, "--path", "somewhere", cwd=tmp_path)
    assert code == 2
    assert said.count("digits ships with xpnet and takes no path") == 1


@needs_mpi
def test_rank_0_writes_what_it_has_before_all_end(tmp_path):
    words = [sys.executable, "-m", *TRAIN.split(), "--parallel", "--optimizer", "sgd", "--lr", "1e30"]
    code, said, _ = start(*words, "--report", "page.html", cwd=tmp_path)
    assert code == 1
    assert said.count("lower the learning rate") == 1
    assert "</html>" in (tmp_path / "page.html").read_text()


@needs_mpi
def test_a_run_of_two_ranks_goes_on_with_as_many_and_alone(tmp_path):
    words = [sys.executable, "-m", "xpnet", "train"]
    first = [*words, "digits", "--epochs", "1", "--schedule", "constant", "--plot", "none", "--save", "none"]
    assert start(*first, "--parallel", "--sync-batch-norm", "--checkpoint", "c", cwd=tmp_path)[0] == 0
    code, said, _ = start(*words, "--resume", "c", "--epochs", "2", cwd=tmp_path)
    assert code == 0, said
    assert "2 ranks" in said
    assert "note:" not in said
    alone = subprocess.run(
        [*words, "--resume", "c", "--epochs", "3"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert alone.returncode == 0, alone.stderr
    assert "ranks was 2, is 1: the result is equal up to rounding" in alone.stdout
    assert "epoch   3/3" in alone.stdout


PROGRAM = """
import os, sys
from pathlib import Path
if os.environ["PMI_RANK"] == "1":
    {fault}
from xpnet import parallel
parallel.connect().barrier()
print(Path(__file__).name, *sys.argv[1:], flush=True)
"""


@needs_mpi
@pytest.mark.parametrize("as_module", [False, True])
@pytest.mark.parametrize(
    ("fault", "expected", "message"),
    [
        ("pass", 0, "program.py --option"),
        ("sys.exit('no data here')", 1, "no data here"),
        ("sys.exit(3)", 3, ""),
        ("Path('no/such/data').read_text()", 1, "No such file"),
    ],
)
def test_a_program_that_fails_before_it_connects(fault, expected, message, as_module, tmp_path, usual):
    (tmp_path / "program.py").write_text(PROGRAM.format(fault=fault))
    words = ("-m", "program") if as_module else ("program.py",)
    code, said, seconds = start(
        sys.executable, "-m", "xpnet.parallel", *words, "--option", cwd=tmp_path, path=f"{ROOT}:{tmp_path}"
    )
    assert code == expected, said
    assert message in said
    assert seconds < LIMIT + 3 * usual


# ---- parts ------------------------------------------------------------------------------------------------


class Two(Communicator):
    """Rank 0 of two, the other of which has `other` for the sum of its weights."""

    size = 2

    def __init__(self) -> None:
        self.other: float | None = None
        self.calls = 0

    def all_reduce(self, array) -> None:
        self.calls += 1
        array[1] = array[0] if self.other is None else self.other


def test_replicas_are_looked_at_every_so_many_updates():
    group = Two()
    replicas = Replicas(nn.Linear(3, 2), group, every=10)
    for step in range(1, 31):
        replicas.look(step)
    assert group.calls == 3
    assert replicas.agreed == 30
    group.other = 0.5
    with pytest.raises(
        RanksDifferError, match=r"rank 1 are not those of rank 0 after update 40 .after update 30"
    ):
        replicas.look(40)


def test_weights_that_are_not_finite_on_all_ranks_are_alike():
    model = nn.Linear(3, 2)
    model.weight.data[0, 0] = np.nan
    replicas = Replicas(model, Two(), every=1)
    replicas.look(1)
    assert replicas.agreed == 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_smallest_change_of_a_weight_shows(dtype):
    model = nn.Linear(100, 100, dtype=dtype)
    group = Two()
    group.other = float(np.sum(np.asarray(model.theta), dtype=np.float64))
    Replicas(model, group, every=1).look(1)
    value = model.weight.data[0, :1]
    value[...] = value + 1e-12 if dtype == "float64" else np.nextafter(value, np.asarray(2, dtype))
    with pytest.raises(RanksDifferError):
        Replicas(model, group, every=1).look(2)


@pytest.mark.parametrize("backend", ["array_api_strict", "torch"])
def test_replicas_on_other_backends(backend):
    pytest.importorskip(backend)
    with xpnet.use_backend(backend):
        group = Two()
        replicas = Replicas(nn.Linear(3, 2), group, every=1)
        replicas.look(1)
        group.other = 0.5
        with pytest.raises(RanksDifferError):
            replicas.look(2)


@pytest.mark.parametrize(
    ("environment", "ranks"),
    [
        ({}, 1),
        ({"PMI_SIZE": "3"}, 3),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, 4),
        ({"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "5"}, 5),
        ({"SLURM_STEP_NUM_TASKS": "5"}, 1),  # a batch script, not srun
    ],
)
def test_how_many_ranks_were_started(environment, ranks, monkeypatch):
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ranks_started() == ranks
