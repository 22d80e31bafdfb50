"""`xpnet search --executor`: trials on other machines, with MPI's or Dask's workers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from xpnet.cli.errors import BadInputError
from xpnet.parallel.communicator import ranks_started

# with other numbers of threads, workers add sums in another order: set OMP_NUM_THREADS=1, NUMBA_NUM_THREADS=1
MPI_COMMAND = "mpiexec -n 3 python -m mpi4py.futures -m xpnet search digits --executor mpi"


@contextmanager
def make_executor(name: str | None) -> Iterator[Executor | None]:
    """The executor that the option names, for a `with` block; None: processes of this machine.

    Args:
        name: "mpi", "dask" for a cluster of two processes here, "dask:ADDRESS" for a running scheduler.

    Raises:
        BadInputError: an unknown name, a missing package, no workers, a scheduler that does not answer.
    """
    kind, _, address = (name or "").partition(":")
    if not kind:
        yield None
    elif kind == "mpi":
        with _mpi() as executor:
            yield executor
    elif kind == "dask":
        with _dask(address) as executor:
            yield executor
    else:
        raise BadInputError(f"--executor {name}: expected mpi, dask, or dask:ADDRESS of a scheduler")


@contextmanager
def _mpi() -> Iterator[Executor]:
    try:
        from mpi4py.futures import MPIPoolExecutor
    except ImportError:
        raise BadInputError('--executor mpi needs mpi4py: pip install "xpnet[mpi]"') from None
    if ranks_started() < 2:
        raise BadInputError(f"--executor mpi: rank 0 searches, the others work: {MPI_COMMAND}")
    with MPIPoolExecutor() as executor:
        yield executor


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        raise BadInputError('--executor dask needs Dask: pip install "xpnet[dask]"') from None
    local = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    try:
        client = Client(address, timeout=10) if address else Client(**local)
    except (OSError, ValueError) as error:
        raise BadInputError(f"--executor dask:{address}: no scheduler answers there ({error})") from None
    with client:
        executor = client.get_executor()
        if not client.ncores():
            raise BadInputError(f"--executor dask:{address}: this scheduler has no workers")
        yield executor
