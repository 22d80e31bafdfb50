"""When bits are equal: the sentence in docs/pages/training.md, part by part.

Each environment is a process of its own. In every one of them a run that is cut in two ends with the bits of
one that is not. What the sentence says to be without effect gives the same bits, and each thing that it names
as one that must be the same is shown to matter, by an environment where it alone is otherwise: there the
sentence would be wrong without it.
"""

import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cpu.native import needs_native
from tests.mpi import MPIEXEC, needs_mpi

pytest.importorskip("safetensors")
pytestmark = pytest.mark.host
ROOT = Path(__file__).parents[2]

ONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "XPNET_FUSED": "1"}
HERE = ((), ())


def bits(environment=(), options=(), launcher=()) -> str:
    """The hash of the weights that the run ends with."""
    command = [*launcher, sys.executable, "-m", "tests.train.bits", *options]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    variables = {**os.environ, **ONE, "PYTHONPATH": path, **dict(environment)}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


@cache
def usual() -> str:
    return bits()


ENVIRONMENTS = {
    "as it is": HERE,
    "fused kernels off": ((("XPNET_FUSED", "0"),), ()),
    "two threads of products": ((("OPENBLAS_NUM_THREADS", "2"),), ()),
    "two threads of kernels": ((("NUMBA_NUM_THREADS", "2"),), ()),
    "prefetching": ((), ("--prefetch", "2")),
    "on torch": ((), ("--backend", "torch")),
    "on array_api_strict": ((), ("--backend", "array_api_strict")),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_cut_in_two_gives_the_bits_of_the_whole(name, tmp_path):
    environment, options = ENVIRONMENTS[name]
    if "--backend" in options:
        pytest.importorskip(options[1])
    path = str(tmp_path / "c")
    part = bits(environment, (*options, "--epochs", "1", "--checkpoint", path))
    whole = bits(environment, options)
    assert part != whole
    assert bits(environment, (*options, "--resume", path)) == whole


@needs_mpi
def test_cut_in_two_on_two_ranks(tmp_path):
    launcher, path = (MPIEXEC, "-n", "2"), str(tmp_path / "c")
    bits((), ("--epochs", "1", "--checkpoint", path), launcher)
    assert bits((), ("--resume", path), launcher) == bits((), (), launcher)


WITHOUT_EFFECT = {
    "threads of kernels": ([("XPNET_NUM_THREADS", "2")], []),
    "another process": HERE,
    "prefetching": ((), ("--prefetch", "2")),
    "checkpoints": ((), ("--checkpoint", "{folder}/c")),
    "a cold cache of CPU kernels": ((("NUMBA_CACHE_DIR", "{folder}"),), ()),
}


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_what_is_without_effect(name, tmp_path):
    environment, options = WITHOUT_EFFECT[name]
    environment = [(key, value.format(folder=tmp_path)) for key, value in environment]
    options = [option.format(folder=tmp_path) for option in options]
    assert bits(environment, options) == usual()


MATTERS = {
    "backend": pytest.param(
        (), ("--backend", "torch"), (), marks=pytest.mark.skipif(not find_spec("torch"), reason="needs torch")
    ),
    "fused kernels": pytest.param((("XPNET_FUSED", "0"),), (), (), marks=needs_native),
    "processor": pytest.param((("XPNET_CPU", "base"),), (), (), marks=needs_native),
    "ranks": pytest.param((), (), (MPIEXEC, "-n", "2"), marks=needs_mpi),
}


@pytest.mark.parametrize(("environment", "options", "launcher"), MATTERS.values(), ids=MATTERS)
def test_what_matters(environment, options, launcher):
    assert bits(environment, options, launcher) != usual()
