"""Counter-based randomness: Philox 4x32-10.

Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3". A draw is a pure function of (seed,
stream, step, position): the same bits on every backend, whatever the batch order or the number of workers,
and the whole state is three integers. The four 32-bit counter words are (block low, block high, step,
stream); the key is the 64-bit seed; element i is word i % 4 of block i // 4.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.core.backend import HOST, Array, Backend, get_backend
from xpnet.core.context import Setting, active
from xpnet.core.convert import asarray
from xpnet.core.recording import capturing, on_host
from xpnet.core.registry import fusable

_MASK = 0xFFFFFFFF
_M0, _M1 = 0xD2511F53, 0xCD9E8D57  # multipliers and key increments of Philox 4x32
_W0, _W1 = 0x9E3779B9, 0xBB67AE85


@dataclass(frozen=True, slots=True)
class Key:
    """Names one draw: everything that its bits depend on, apart from the position.

    In a step that is captured the three are 0-d int64 arrays on the device, those of one array of three: each
    replay draws anew.
    """

    seed: Any
    stream: Any
    step: Any


class Generator:
    """A stream of draws; each one takes the next step.

    Args:
        seed: 64 bits.
        stream: 32 bits; different streams of one seed are independent.
        step: the number of draws made so far.

    The state is `(seed, stream, step)`: save it and set it to resume.
    """

    def __init__(self, seed: int = 0, stream: int = 0, step: int = 0) -> None:
        self.state = (int(seed), int(stream), int(step))

    def next_key(self) -> Key:
        """The key of the next draw."""
        if not active[0]:
            return Key(*self._advance())
        # a default stream is looked up again: a replay may be inside of `forked`
        stream = next((s for s, generator in generators.items() if generator is self), None)
        draw = lambda: [_int64(w) for w in (self if stream is None else generators[stream])._advance()]
        recording, drawn = capturing(), on_host(lambda: np.array(draw()))
        words = drawn() if recording is None else recording.anew(draw, 3, np.int64)
        if type(words) is np.ndarray:
            return Key(*(int(w) % 2**64 for w in words))
        return Key(*(words[i : i + 1].reshape(()) for i in range(3)))

    def _advance(self) -> tuple[int, int, int]:
        key = self.state
        self.state = (key[0], key[1], key[2] + 1)
        return key

    def seed(self, seed: int) -> None:
        """Start again from step 0 with another seed."""
        self.state = (int(seed), self.state[1], 0)


def _int64(word: int) -> int:
    """64 bits as a signed integer."""
    return (word + 2**63) % 2**64 - 2**63


# one stream per purpose, so that (say) adding dropout does not change the initial weights
INIT, DROPOUT, SHUFFLE, NOISE, SPLIT, AUGMENT, SEARCH, BOOTSTRAP = range(8)
_of_process = {stream: Generator(0, stream) for stream in (INIT, DROPOUT, SHUFFLE, NOISE, SPLIT, AUGMENT)}
_of_context = Setting("xpnet_random_streams", _of_process)


class _Generators(Mapping[int, Generator]):
    """The default streams of this context: the process's, or those of `forked` around this call."""

    def __getitem__(self, stream: int) -> Generator:
        return _of_context.get()[stream]

    def __iter__(self) -> Iterator[int]:
        return iter(_of_context.get())

    def __len__(self) -> int:
        return len(_of_context.get())


generators = _Generators()


@contextmanager
def forked(seed: int | None = None) -> Iterator[None]:
    """Default streams of its own for a `with` block, in this thread (or task) alone.

    They begin where those outside are, which go on after the block as if it had not been.

    Args:
        seed: begin from this seed instead.

    >>> from xpnet import random
    >>> key = lambda: random.generators[random.NOISE].next_key()
    >>> with random.forked():
    ...     inside = key()
    >>> key() == inside
    True
    """
    own = {stream: Generator(*generator.state) for stream, generator in generators.items()}
    with _of_context.within(own):
        if seed is not None:
            manual_seed(seed)
        yield


def own_streams() -> None:
    """Give a thread beside the main one default streams of its own, which begin where the process's are.

    Two trainings in two threads would otherwise draw from the same streams, in the order of chance.
    """
    if _of_context.get() is _of_process and threading.current_thread() is not threading.main_thread():
        _of_context.set({stream: Generator(*generator.state) for stream, generator in _of_process.items()})


def manual_seed(seed: int) -> None:
    """Seed every default stream: initial weights, dropout, shuffles, noise, splits, augmentation.

    In a thread beside the main one, it gives that thread streams of its own; those of the process, which
    threads use that have not been seeded, stay as they are.

    Args:
        seed: an integer; its low 64 bits are used.

    Raises:
        TypeError: it is no integer.

    >>> import xpnet
    >>> xpnet.manual_seed(0)
    >>> a = xpnet.nn.Linear(2, 3).weight.numpy()
    >>> xpnet.manual_seed(0)
    >>> bool((a == xpnet.nn.Linear(2, 3).weight.numpy()).all())
    True
    """
    if not hasattr(seed, "__index__"):
        raise TypeError(f"manual_seed: expected an integer, got {seed!r}")
    own_streams()
    for generator in generators.values():
        generator.seed(seed)


@fusable
def philox(counter: Array, key: Key) -> tuple[Array, Array, Array, Array]:
    """The four 32-bit words of each block, as int64 in [0, 2^32).

    Args:
        counter: (n,) int64 block numbers.
        key: seed, stream and step.

    64-bit products wrap, and the shifted high half is masked, so signed integers give the exact words:
    PyTorch has no unsigned 64-bit arithmetic.
    """
    c0, c1 = counter & _MASK, (counter >> 32) & _MASK
    c2, c3 = counter * 0 + (key.step & _MASK), counter * 0 + (key.stream & _MASK)
    k0, k1 = key.seed & _MASK, (key.seed >> 32) & _MASK
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3


# blocks a chunk: the dozen temporaries of a chunk stay in the cache
_CHUNK = 1 << 13


def bits(n: int, key: Key, backend: Backend | None = None, start: int = 0) -> Array:
    """Elements `start` to `start + n` of a draw: int64 in [0, 2^32)."""
    backend = backend or get_backend()
    xp = backend.xp
    first, last = start // 4, -(-(start + n) // 4)
    chunk = _CHUNK if backend.name == "numpy" else last - first
    words = []
    for low in range(first, last, chunk or 1):
        high = min(low + chunk, last)
        counter = xp.arange(low, high, dtype=xp.int64, device=backend.device)
        words.append(xp.reshape(xp.stack(philox(counter, key), axis=1), (-1,)))
    if not words:
        return xp.zeros(0, dtype=xp.int64, device=backend.device)
    flat = words[0] if len(words) == 1 else xp.concat(words)
    return flat[start - 4 * first : start - 4 * first + n]


def uniform(
    shape: tuple[int, ...], key: Key, low: float = 0.0, high: float = 1.0, backend: Backend | None = None
) -> Array:
    """float32 in [low, high): the upper 24 bits of each word, exact in [0, 1), else rounded."""
    backend = backend or get_backend()
    xp = backend.xp
    u = xp.astype(bits(math.prod(shape), key, backend) >> 8, xp.float32) * (1.0 / (1 << 24))
    return xp.reshape(u * (high - low) + low, shape)


def keep_mask(shape: tuple[int, ...], p: float, key: Key, backend: Backend | None = None) -> Array:
    """Boolean, False with probability `p`: a word is kept if it is at least round(p * 2^32)."""
    backend = backend or get_backend()
    return backend.xp.reshape(bits(math.prod(shape), key, backend) >= keep_threshold(p), shape)


def keep_threshold(p: float) -> int:
    """The smallest word that a drop probability of `p` keeps; the CUDA kernel uses the same number."""
    return round(p * 2**32)


def normal(shape: tuple[int, ...], key: Key, backend: Backend | None = None) -> Array:
    """float32 from N(0, 1), by Box-Muller on the host, then moved: the same bits on every backend."""
    return asarray(noise(shape, key, HOST), backend=backend)


def noise(shape: tuple[int, ...], key: Key, backend: Backend) -> Array:
    """`normal` drawn where it is used: nothing is copied, and log and cos are the device's own."""
    xp, n = backend.xp, math.prod(shape)
    words = xp.reshape(xp.astype(bits(n + n % 2, key, backend), xp.float64), (-1, 2))
    radius = xp.sqrt(-2 * xp.log((words[:, 0] + 0.5) * 2.0**-32))
    angle = (2 * math.pi * 2.0**-32) * words[:, 1]
    pairs = xp.stack([radius * xp.cos(angle), radius * xp.sin(angle)], axis=1)
    return xp.astype(xp.reshape(xp.reshape(pairs, (-1,))[:n], shape), xp.float32)


def gumbel(shape: tuple[int, ...], key: Key, backend: Backend) -> Array:
    """float32 -log(-log u), u between 0 and 1, drawn where it is used, as `noise` is."""
    xp = backend.xp
    u = (xp.astype(bits(math.prod(shape), key, backend), xp.float64) + 0.5) * 2.0**-32
    return xp.astype(xp.reshape(-xp.log(-xp.log(u)), shape), xp.float32)


def permutation(n: int, key: Key) -> np.ndarray:
    """0 .. n-1 in random order, int64, on the host: indices choose samples where the data is read."""
    words = bits(2 * n, key, HOST)
    return np.argsort((words[0::2] << 31) ^ words[1::2], kind="stable")


def integers(n: int, high: int, key: Key) -> np.ndarray:
    """n draws with replacement from 0 .. high-1, int64, on the host (the bias is below high / 2^32)."""
    return (bits(n, key, HOST) * high) >> 32


def doubles(n: int, key: Key) -> np.ndarray:
    """n draws from [0, 1), float64 with all 53 bits, on the host: for hyperparameters, not for weights."""
    words = bits(2 * n, key, HOST)
    return ((words[0::2] >> 5) * 2.0**26 + (words[1::2] >> 6)) * 2.0**-53


def uniform_rows(rows: np.ndarray, n: int, key: Key) -> np.ndarray:
    """(len(rows), n) float32 in [0, 1), on the host: each row's n numbers depend on its number and the key.

    Drawn sample by sample like this, an augmentation is the same in any batch and any order.
    """
    blocks = -(-n // 4)
    counter = (np.asarray(rows, dtype=np.int64)[:, None] * blocks + np.arange(blocks)).reshape(-1)
    words = np.stack(philox(counter, key), axis=1).reshape(len(rows), 4 * blocks)[:, :n]
    return (words >> 8).astype(np.float32) * np.float32(2.0**-24)


def generator_state() -> dict[str, Any]:
    """The state of the default streams, for a checkpoint."""
    return {str(stream): list(generator.state) for stream, generator in generators.items()}


def set_generator_state(state: dict[str, Any]) -> None:
    """Restore what `generator_state` returned."""
    for stream, values in state.items():
        generators[int(stream)].state = (int(values[0]), int(values[1]), int(values[2]))


def split_by_rank(rank: int) -> None:
    """Give the dropout masks of each rank a stream of their own; rank 0 keeps the one it has."""
    seed, _, step = generators[DROPOUT].state
    generators[DROPOUT].state = (seed, DROPOUT + (rank << 8), step)
