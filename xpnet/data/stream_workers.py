"""Processes that read a stream, and the order in which their samples are taken."""

from __future__ import annotations

import multiprocessing
import pickle
import queue
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

_CHUNK = 32  # samples sent at once
_AHEAD = 4  # chunks that a worker makes before it waits
_GRACE = 2.0  # seconds that a worker has to end by itself


class WorkerInfo(NamedTuple):
    """Which of the processes that read a stream this is; `num_workers` as PyTorch calls it."""

    id: int
    num_workers: int


class _Asked:
    """Whether the source has asked which worker it is in."""

    info: WorkerInfo | None = None
    asked = False


_here = _Asked()


def worker_info() -> WorkerInfo | None:
    """In a worker of a `StreamLoader`: its number, and how many there are; None elsewhere.

    For an iterable source with several workers, each of which gives its own samples:

    >>> from xpnet.data import worker_info
    >>> class Numbers:
    ...     def __iter__(self):
    ...         info = worker_info()
    ...         return iter(range(10) if info is None else range(info.id, 10, info.num_workers))
    >>> len(list(Numbers()))
    10
    """
    _here.asked = True
    return _here.info


def _work(content: bytes, order: Sequence[int], worker: int, workers: int, chunks: Any) -> None:
    """Read this worker's samples, and send them in chunks: (samples, error, whether that was the end)."""
    _here.info = WorkerInfo(worker, workers)
    found: list[Any] = []
    try:
        source = pickle.loads(content)
        if hasattr(source, "parts"):
            samples = source.samples(order, worker, workers)
        else:
            samples = ((0, sample) for sample in source)
        for sample in samples:
            if workers > 1 and not hasattr(source, "parts") and not _here.asked:
                raise RuntimeError(
                    "each of the workers would give all samples: pass a Stream, or ask worker_info() in "
                    "__iter__ which are this worker's"
                )
            found.append(sample)
            if len(found) == _CHUNK:
                chunks.put((found, None, False))
                found = []
        chunks.put((found, None, True))
    except BaseException as error:
        chunks.put((found, _sendable(error), True))


def _sendable(error: BaseException) -> tuple[BaseException | None, str]:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return None, "".join(traceback.format_exception(error))
    return error, "".join(traceback.format_exception(error))


class _Worker:
    """One process, and its samples in order."""

    def __init__(self, context: Any, content: bytes, order: Sequence[int], worker: int, workers: int) -> None:
        self.chunks = context.Queue(_AHEAD)
        arguments = content, order, worker, workers, self.chunks
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        self.name, self.ended = worker, False
        self.samples: deque[tuple[int, Any]] = deque()
        self.error: Any = None
        self.process.start()

    def peek(self) -> tuple[int, Any] | None:
        """The next sample, with the place of its part; None: there are no more."""
        while not self.samples and not self.ended:
            try:
                found, self.error, self.ended = self.chunks.get(timeout=1.0)
                self.samples.extend(found)
            except queue.Empty:
                if not self.process.is_alive() and self.chunks.empty():
                    code = self.process.exitcode
                    raise RuntimeError(
                        f"StreamLoader: worker {self.name} ended with exit code {code}"
                    ) from None
        if not self.samples and self.error is not None:
            error, text = self.error
            if error is None:
                raise RuntimeError(f"StreamLoader: worker {self.name} failed:\n{text}")
            error.add_note(f"in worker {self.name} of a StreamLoader:\n{text}")
            raise error
        return self.samples[0] if self.samples else None

    def close(self) -> None:
        """End it, whatever it does."""
        self.chunks.cancel_join_thread()
        self.process.terminate()
        self.process.join(_GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.chunks.close()


def in_workers(source: Any, order: Sequence[int], workers: int) -> Iterator[Any]:
    """The samples of a source that `workers` processes read.

    Args:
        source: a `Stream` or an iterable, which is pickled.
        order: of the parts of a `Stream`.
        workers: how many processes.

    Returns:
        Of a `Stream`, the samples part by part; else one of each worker in turn, those left out that have no
        more.

    Raises:
        TypeError: the source cannot be pickled.
        RuntimeError: a worker ended.
    """
    try:
        content = pickle.dumps(source)
    except Exception as error:
        raise TypeError(
            f"StreamLoader: workers need a source that can be pickled ({error}); define its class and "
            "functions in a module, or use workers=0"
        ) from error
    context = multiprocessing.get_context("spawn")  # a forked BLAS can hang
    processes = [_Worker(context, content, order, k, workers) for k in range(workers)]
    try:
        if hasattr(source, "parts"):
            yield from _by_parts(processes, len(order))
        else:
            yield from _in_turn(processes)
    finally:
        for process in processes:
            process.close()


def _by_parts(processes: Sequence[_Worker], parts: int) -> Iterator[Any]:
    for place in range(parts):
        process = processes[place % len(processes)]
        while True:
            found = process.peek()
            if found is None or found[0] != place:
                break
            yield process.samples.popleft()[1]


def _in_turn(processes: Sequence[_Worker]) -> Iterator[Any]:
    left = list(processes)
    while left:
        for process in list(left):
            if process.peek() is None:
                left.remove(process)
            else:
                yield process.samples.popleft()[1]
