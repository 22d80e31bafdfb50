"""Ranks that work together: one process, MPI, or NCCL with MPI to start it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from xpnet.core.autocast import type_named
from xpnet.core.backend import Array
from xpnet.core.convert import asarray, to_numpy
from xpnet.core.places import backend_name, backend_of, namespace
from xpnet.core.recording import meets, on_host, refuse
from xpnet.parallel.leaving import end_together


class Communicator:
    """A group of one process, which is also the base class: nothing to send, nobody to wait for.

    Attributes:
        rank: of this process, from 0.
        size: how many processes there are.
        gradients: the 16-bit type that gradients are rounded to on their way, or None.
        capturable: whether it queues what it does with a device's arrays there, in the current stream or
            joined to it, and the host does not wait: then it can be part of a CUDA graph.

    >>> from xpnet.parallel import Communicator
    >>> alone = Communicator()
    >>> alone.rank, alone.size, alone.is_main
    (0, 1, True)
    """

    rank = 0
    size = 1
    gradients: str | None = None
    capturable = False

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which prints and writes files."""
        return self.rank == 0

    def all_reduce(self, array: Array) -> None:
        """Replace the array by its sum over all ranks, in place. Every rank calls it with the same shape."""

    def start(self, array: Array, root: int | None = None) -> None:
        """Begin an `all_reduce` that is done after `wait`; every rank begins the same ones in one order.

        Args:
            array: as there.
            root: the rank that alone needs the sum; of the others the array is undefined then.
        """
        self.all_reduce(array)

    def wait(self) -> None:
        """Until all that was started is done."""

    def broadcast(self, array: Array, root: int = 0) -> None:
        """Replace the array by that of one rank, in place."""

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's value on every rank: anything that JSON can hold."""
        return value

    def total(self, count: Any) -> Any:
        """The sum over all ranks of a number, or a NumPy array, on the host."""
        return count

    def largest(self, value: float) -> float:
        """The largest over all ranks of a number on the host."""
        return value

    @on_host
    def mean(self, value: Array, weight: float) -> Array:
        """The sum over all ranks of value * weight: of means over parts, the mean over all."""
        if self.size == 1:
            return value
        parts = namespace(value).reshape(value * weight, (1,))
        self.all_reduce(parts)
        return parts[0]

    def gather_object(self, value: Any, what: str = "") -> list[Any]:
        """Every rank's value on every rank, in order; values that are equal everywhere are sent as a hash.

        Args:
            value: anything that JSON can hold.
            what: what all of them do, for the message if one has ended instead.
        """
        return [value]

    @contextmanager
    def together(self, alike: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Around work in which every rank waits for all: one that breaks off and ends, ends all.

        Args:
            alike: errors that all ranks meet at once, after which each is free to go.
        """
        yield

    def grouped(self) -> AbstractContextManager[object]:
        """Around several calls that may be made as one, such as broadcasts from different ranks."""
        return nullcontext()

    def barrier(self) -> None:
        """Wait until every rank is here."""

    def abort(self, code: int = 1) -> None:
        """End every rank now, where others would wait for this one."""
        raise SystemExit(code)


class MPICommunicator(Communicator):
    """Through mpi4py (`pip install "xpnet[mpi]"`), in programs started with `mpiexec -n N python ...`.

    NumPy arrays are sent from where they are. An array of a device goes through the host, unless
    `NCCLCommunicator` is used. A rank that ends with an error ends all of them at once: the others would
    wait for it for ever.

    Raises:
        ImportError: mpi4py is missing.
    """

    def __init__(self) -> None:
        self.leaving = end_together()
        self.mpi, self.world = self.leaving.mpi, self.leaving.world
        self.rank, self.size = self.world.rank, self.world.size
        self.requests: list[Any] = []

    def all_reduce(self, array: Array) -> None:
        """The sum over all ranks, in place, a chunk at a time."""
        refuse(_ON_HOST)
        host = _host(array)
        for chunk in chunks(host):
            self.world.Allreduce(self.mpi.IN_PLACE, chunk)
        _back(array, host)

    def start(self, array: Array, root: int | None = None) -> None:
        """Host arrays are sent while the caller goes on; others at once."""
        refuse(_ON_HOST)
        if not (isinstance(array, np.ndarray) and array.flags.c_contiguous):
            self.all_reduce(array)
        elif root is None:
            self.requests += [self.world.Iallreduce(self.mpi.IN_PLACE, chunk) for chunk in chunks(array)]
        elif root == self.rank:
            self.requests += [
                self.world.Ireduce(self.mpi.IN_PLACE, chunk, root=root) for chunk in chunks(array)
            ]
        else:
            self.requests += [self.world.Ireduce(chunk, None, root=root) for chunk in chunks(array)]

    def wait(self) -> None:
        """Until the messages have arrived."""
        self.mpi.Request.Waitall(self.requests)
        self.requests.clear()

    def broadcast(self, array: Array, root: int = 0) -> None:
        """One rank's values, in place."""
        refuse(_ON_HOST)
        host = _host(array)
        for chunk in chunks(host):
            self.world.Bcast(chunk, root=root)
        _back(array, host)

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's value."""
        refuse(_ON_HOST)
        return self.world.bcast(value)

    def total(self, count: Any) -> Any:
        """The sum over all ranks, by way of the host."""
        refuse(_ON_HOST)
        return self.world.allreduce(count)

    def largest(self, value: float) -> float:
        """The largest over all ranks."""
        refuse(_ON_HOST)
        return float(self.world.allreduce(value, op=self.mpi.MAX))

    def gather_object(self, value: Any, what: str = "") -> list[Any]:
        """Every rank's value; if a rank has ended before it came here, all of them end."""
        digest = hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).digest()
        mine, all_of = np.frombuffer(digest, np.uint8), np.empty((self.size, 16), np.uint8)
        self.leaving.wait(self.world.Iallgather(mine, all_of), what)
        return [value] * self.size if (all_of == mine).all() else self.world.allgather(value)

    @contextmanager
    def together(self, alike: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Until it is left in order, the end of this process is the end of all."""
        self.leaving.busy = True
        try:
            yield
        except alike:
            self.leaving.busy = False
            raise
        self.leaving.busy = False

    def barrier(self) -> None:
        """Wait for all."""
        self.world.Barrier()

    def abort(self, code: int = 1) -> None:
        """End every rank now."""
        self.leaving.abort(code)


class NCCLCommunicator(MPICommunicator):
    """CUDA arrays through NCCL on the current stream, everything else through MPI, which also starts it.

    Each rank takes one device of its machine before it makes arrays: the number of the rank there, modulo the
    devices that it sees.

    Args:
        gradients: `"bf16"` or `"float16"`: float32 gradients are rounded to that type and added up in it,
            in half as many bytes (a relative error of 2^-8 or 2^-11 in each gradient and each addition;
            float16 has nothing above 65504). Default: as they are.

    Raises:
        ImportError: CuPy, its NCCL or mpi4py is missing; or for bfloat16 the package ml_dtypes.
        ValueError: another type.
    """

    capturable = True

    def __init__(self, gradients: str | None = None) -> None:
        self.gradients = None if gradients is None else type_named("NCCLCommunicator: gradients", gradients)
        super().__init__()
        try:
            import cupy
            from cupy.cuda import nccl
        except ImportError as error:
            raise ImportError(f"NCCL needs CuPy with a CUDA device ({error})") from None
        self.cupy, self.nccl = cupy, nccl
        cupy.cuda.Device(local_rank(self.rank) % cupy.cuda.runtime.getDeviceCount()).use()
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self._started = False  # whether the stream has been given something since the last `wait`
        self.group = nccl.NcclCommunicator(self.size, self.broadcast_object(nccl.get_unique_id()), self.rank)

    def all_reduce(self, array: Array) -> None:
        """The sum over all ranks, in place; it is queued on the stream, and the host goes on."""
        if backend_name(array) != "cupy":
            super().all_reduce(array)
            return
        meets(self)
        for chunk in chunks(self._flat(array)):
            at, size, kind = chunk.data.ptr, chunk.size, self._type(chunk)
            self.group.allReduce(at, at, size, kind, self.nccl.NCCL_SUM, self._stream())

    def start(self, array: Array, root: int | None = None) -> None:
        """On a stream of its own, after what the current one has been given so far."""
        if backend_name(array) != "cupy":
            super().start(array, root)
            return
        meets(self)
        self._started = True
        self.stream.wait_event(self.cupy.cuda.get_current_stream().record())
        with self.stream:
            if root is None:
                self.all_reduce(array)
                return
            for chunk in chunks(self._flat(array)):
                at, size, kind = chunk.data.ptr, chunk.size, self._type(chunk)
                self.group.reduce(at, at, size, kind, self.nccl.NCCL_SUM, root, self._stream())

    def wait(self) -> None:
        """Let the current stream wait; the host goes on."""
        super().wait()
        if not self._started:  # a graph that is captured knows nothing of what was there before
            return
        self._started = False
        self.cupy.cuda.get_current_stream().wait_event(self.stream.record())

    def broadcast(self, array: Array, root: int = 0) -> None:
        """One rank's values, in place."""
        if backend_name(array) != "cupy":
            super().broadcast(array, root)
            return
        meets(self)
        for chunk in chunks(self._flat(array)):
            self.group.bcast(chunk.data.ptr, chunk.size, self._type(chunk), root, self._stream())

    @contextmanager
    def grouped(self) -> Iterator[None]:
        """One launch of NCCL."""
        self.nccl.groupStart()
        try:
            yield
        finally:
            self.nccl.groupEnd()

    def _flat(self, array: Array) -> Array:
        if not array.flags.c_contiguous:
            raise ValueError("NCCL works on contiguous arrays")
        return array.reshape(-1)

    def _type(self, array: Array) -> int:
        return getattr(self.nccl, f"NCCL_{str(array.dtype).upper()}")

    def _stream(self) -> int:
        return self.cupy.cuda.get_current_stream().ptr


_ON_HOST = "the ranks meet on the host"


def ranks_started() -> int:
    """How many processes mpiexec or srun has started, by the environment it gives them; 1 without it.

    MPICH, Intel MPI and Slurm's PMI2 say PMI_SIZE, Open MPI its own name, Slurm's PMIx a rank and the size of
    the step.
    """
    step = os.environ.get("SLURM_STEP_NUM_TASKS") if "PMIX_RANK" in os.environ else None
    return int(os.environ.get("PMI_SIZE") or os.environ.get("OMPI_COMM_WORLD_SIZE") or step or 1)


def local_rank(rank: int) -> int:
    """The number of this process on its machine, by MPICH, Intel MPI, Open MPI or Slurm; else its rank."""
    names = "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"
    return int(next((os.environ[name] for name in names if name in os.environ), rank))


def connect(backend: str = "numpy", gradients: str | None = None) -> Communicator:
    """What fits the way this process was started: MPI (NCCL for CuPy) under mpiexec, else a group of one.

    Args:
        backend: of the model.
        gradients: on CuPy, the 16-bit type that they are sent in: see `NCCLCommunicator`.

    Raises:
        ImportError: the process was started by mpiexec and mpi4py is missing.
        ValueError: another type, or another backend: MPI adds no 16-bit numbers.
    """
    if gradients is not None and backend != "cupy":
        type_named("connect: gradients", gradients)
        raise ValueError(
            f'connect: gradients="{gradients}" needs NCCL, connect("cupy"): MPI adds up no 16-bit numbers'
        )
    if ranks_started() == 1:
        return Communicator()
    return NCCLCommunicator(gradients) if backend == "cupy" else MPICommunicator()


CHUNK = 1 << 20
"""Elements sent at a time: enough for full bandwidth, and the first are there before the last leave."""


def chunks(array: Array) -> list[Array]:
    """A contiguous array as flat pieces of at most `CHUNK` elements that share its memory."""
    flat = array.reshape(-1)
    return [flat[i : i + CHUNK] for i in range(0, flat.shape[0], CHUNK)]


def _host(array: Array) -> np.ndarray:
    """A contiguous host array of these values: the array itself where it is one."""
    return np.ascontiguousarray(to_numpy(array))


def _back(array: Array, host: np.ndarray) -> None:
    if host is not array:
        array[...] = namespace(array).reshape(asarray(host, backend=backend_of(array)), array.shape)
