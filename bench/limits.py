"""The limits of each device, measured in the same run: copy bandwidth and the rate of matrix products.

Each is the best that any installed library reaches, so that a floor is a floor for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from bench.columns import Column, NumpyColumn, TorchColumn, XpnetColumn
from bench.columns.device import DeviceRandom
from bench.machine import emulated

COPY_BYTES = {"cpu": 256 << 20, "cuda": 1 << 30}
MATMUL_SIZE = {"cpu": 2048, "cuda": 8192}
ROUNDS = 5


@dataclass(frozen=True)
class Limit:
    """Attributes:
    bandwidth: bytes read plus bytes written a second, by a copy larger than the cache.
    rate: float32 operations a second, in a large square product.
    rates: likewise of products in other precisions, by their names.
    """

    bandwidth: float
    rate: float
    rates: dict[str, float] = field(default_factory=dict)

    def floor(self, work: int, flops: int, precision: str = "float32") -> tuple[float, str]:
        """The least time for so many bytes and operations of products, and what sets it.

        A case whose data stay in the cache from one run to the next can take less than its bytes say.
        """
        moving, counting = work / self.bandwidth, flops / self.rates.get(precision, self.rate)
        return (moving, "bytes") if moving >= counting else (counting, "products")


def of_column(column: Column, threads: int, quick: bool = False) -> dict[str, float]:
    """Bandwidth and rate that a column's library reaches; nothing where it would repeat another's."""
    device = column.device
    shrink = 4 if quick and device == "cpu" else 1
    size, n = COPY_BYTES[device] // shrink, MATMUL_SIZE[device] // (2 if shrink > 1 else 1)
    if device == "cuda" and emulated():
        size, n = 1 << 20, 64
    if isinstance(column, NumpyColumn):
        copies, product = [_numpy_copy(size, threads)], _numpy_product(n)
    elif column.precision != "float32":
        if isinstance(column, TorchColumn):
            with column.active(), column.casts():
                product = _torch_product(column, n)
        elif isinstance(column, XpnetColumn):
            with column.active(), column.casts():
                product = _xpnet_product(column, n)
        else:
            return {}
        return {column.precision: 2 * n**3 / product}
    elif isinstance(column, TorchColumn) and not column.compiled:
        copies, product = [_torch_copy(column, size)], _torch_product(column, n)
    elif isinstance(column, XpnetColumn) and device == "cuda" and column.fused:
        copies, product = [_cupy_copy(column, size), _cupy_memcpy(column, size)], _cupy_product(column, n)
    else:
        return {}
    return {"bandwidth": 2 * size / min(copies), "rate": 2 * n**3 / product}


def best(found: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, Limit]:
    """The limit of every device, from what columns on it reached.

    Raises:
        ValueError: a device has columns, and none that says its limit.
    """
    by_device: dict[str, list[Mapping[str, float]]] = {}
    for device, reached in found:
        by_device.setdefault(device, []).extend([reached] if reached else [])
    for device, reached in by_device.items():
        if not any("bandwidth" in r for r in reached):
            raise ValueError(
                f"the limits of {device} are measured with cupy or torch: select one of these too"
            )
    limits = {}
    for device, reached in by_device.items():
        most = {
            what: max(r.get(what, 0.0) for r in reached)
            for what in dict.fromkeys(w for r in reached for w in r)
        }
        limits[device] = Limit(most.pop("bandwidth"), most.pop("rate"), most)
    return limits


def _best(run: Callable[[], object]) -> float:
    """The least time of a few: a limit is what was possible once."""
    times = []
    run()
    for _ in range(ROUNDS):
        start = perf_counter()
        run()
        times.append(perf_counter() - start)
    return min(times)


def _numpy_copy(size: int, threads: int) -> float:
    source, target = np.ones(size // 4, np.float32), np.empty(size // 4, np.float32)
    pieces = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        return _best(lambda: list(pool.map(lambda piece: np.copyto(*piece), pieces)))


def _numpy_product(n: int) -> float:
    a = np.random.default_rng(0).standard_normal((n, n), dtype=np.float32)
    out = np.empty_like(a)
    return _best(lambda: np.matmul(a, a, out=out))


def _repeated(column: Column, run: Callable[[int], object]) -> float:
    """The time of one run by the column's own clock: events on CUDA."""
    column.seconds(run, range(3))
    return min(column.seconds(run, range(3)) / 3 for _ in range(ROUNDS))


def _torch_copy(column: Column, size: int) -> float:
    import torch

    source = torch.ones(size // 4, device=column.device)
    target = torch.empty_like(source)
    return _repeated(column, lambda _: target.copy_(source))


def _torch_product(column: Column, n: int) -> float:
    import torch

    a = torch.randn(n, n, device=column.device)
    out = torch.empty_like(a)
    return _repeated(column, lambda _: torch.matmul(a, a, out=out))


def _xpnet_product(column: Column, n: int) -> float:
    from xpnet.functional import linear

    a = DeviceRandom().standard_normal((n, n))
    return _repeated(column, lambda _: linear(a, a))


def _cupy_copy(column: Column, size: int) -> float:
    import cupy

    source, target = cupy.ones(size // 4, cupy.float32), cupy.empty(size // 4, cupy.float32)
    return _repeated(column, lambda _: cupy.copyto(target, source))


def _cupy_memcpy(column: Column, size: int) -> float:
    """The driver's own copy."""
    import cupy

    source, target = cupy.ones(size // 4, cupy.float32), cupy.empty(size // 4, cupy.float32)
    runtime, stream = cupy.cuda.runtime, cupy.cuda.get_current_stream()
    return _repeated(
        column,
        lambda _: runtime.memcpyAsync(
            target.data.ptr, source.data.ptr, size, runtime.memcpyDeviceToDevice, stream.ptr
        ),
    )


def _cupy_product(column: Column, n: int) -> float:
    import cupy

    a = DeviceRandom().standard_normal((n, n))
    out = cupy.empty_like(a)
    return _repeated(column, lambda _: cupy.matmul(a, a, out=out))
