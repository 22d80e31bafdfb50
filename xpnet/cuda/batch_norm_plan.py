"""How batch norm is launched: what keeps a tile of the data on the chip, or two reads; sizes of launches."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from xpnet.cuda import loader
from xpnet.cuda.element import Element

TWO_READS, ONE_READ = "batch_norm.cu", "batch_norm_once.cu"
BLOCK = 256  # as in the source
IN_BLOCK, IN_CLUSTER, IN_GRID = 1, 8, 0  # GROUP in the source: what keeps a tile on the chip
TWO = -1
VARIANTS = {"block": IN_BLOCK, "cluster": IN_CLUSTER, "grid": IN_GRID, "two reads": TWO}
SHARED = {75: 64, 80: 164, 86: 100, 87: 164, 89: 100, 90: 228, 100: 228, 103: 228, 120: 100, 121: 100}
"""KiB of shared memory a multiprocessor, by architecture."""


COLUMNS_VEC = 4
"""Channels a thread takes in rows of columns: eight of them would not leave enough registers for loads."""


def layouts(t: Element) -> list[tuple[int, str]]:
    """VEC and COLUMNS of the kernels; float64 is for checking, and has the fewest."""
    wide = [] if t.dtype == "float64" else [(COLUMNS_VEC, "true")]
    return [(1, "true"), (t.vector, "false"), *wide]


def reads_once(t: Element, vec: int, group: int, arch: int) -> bool:
    """Whether there are kernels that read once; for odd widths only those of small data."""
    return t.dtype != "float64" and (vec > 1 or group == IN_BLOCK) and (arch >= 90 or group != IN_CLUSTER)


def slab_bytes(arch: int) -> int:
    """Dynamic shared memory a block may take so that two fit: one loads while the other waits or stores.

    12 KiB a block go to static shared memory and to the system.
    """
    return (SHARED.get(arch, 64) // 2 - 12) * 1024


class Plan(NamedTuple):
    """How one pass over the data is launched."""

    group: int  # TWO, or GROUP of the kernel that reads once
    types: str  # the kernels' template arguments
    tiles: int
    parts: int  # blocks that share a tile
    grid: int
    held: int  # items of one array that a block keeps
    shared: int
    width: int  # channels a tile
    geometry: tuple[Any, ...]  # BN_GEOMETRY


class Shape(NamedTuple):
    """The data as the kernels walk them: `planes` runs of `segment` values of each channel."""

    t: Element
    columns: bool  # channels last
    planes: int
    channels: int
    segment: int
    aligned: bool  # columns: every array is; planes: x is


class _Tiling(NamedTuple):
    """One way to cut the data into tiles."""

    types: str  # the kernels' template arguments
    vec: int
    tx: int  # threads side by side
    rows: int  # items a block takes at once
    items: int  # of each thread column
    pieces: int
    tiles: int
    most: int  # turns whose items fit in a block's shared memory


def _tilings(shape: Shape, arrays: int, slab: int) -> list[_Tiling]:
    """The tilings that keep memory accesses whole, widest first."""
    t, itemsize = shape.t, 16 // shape.t.vector
    vec, widths, pieces = t.vector, [1], 1
    if shape.columns:
        whole = shape.aligned and shape.channels % COLUMNS_VEC == 0 and t.dtype != "float64"
        vec = COLUMNS_VEC if whole else 1
        widths = [min(16 if whole else 32, loader.power_of_two(loader.ceil_div(shape.channels, vec)))]
        while widths[-1] * vec * itemsize > 64:  # two sectors: narrower reads waste what the bus brings
            widths.append(widths[-1] // 2)
    elif shape.aligned and shape.segment % vec == 0:
        pieces = shape.segment // vec
    else:
        pieces = loader.ceil_div(shape.segment + vec - 1, vec)
    return [
        _Tiling(
            types=f"{t.ctype}, {vec}, {str(shape.columns).lower()}",
            vec=vec,
            tx=tx,
            rows=BLOCK // tx,
            items=shape.planes * pieces,
            pieces=pieces,
            tiles=loader.ceil_div(shape.channels, tx * vec) if shape.columns else shape.channels,
            most=slab // (BLOCK * vec * itemsize * arrays),
        )
        for tx in widths
    ]


def _short(t: _Tiling, parts: int) -> bool:
    """Whether a thread has so few items that a cluster, which costs two barriers more, would not save time.

    Eight items are two loads' latencies, about as much as the barriers.
    """
    return loader.ceil_div(t.items, t.rows * parts) <= 8


@cache
def plan(
    shape: Shape,
    arrays: int,
    arch: int,
    multiprocessors: int,
    variant: int | None = None,
    fixed: bool = False,
) -> Plan:
    """Choose between one read and two, and the sizes of the launch.

    Args:
        shape: the data.
        arrays: how many a block keeps in one read: x forward, x and g backward.
        arch: 90 for sm_90; clusters exist from there on.
        multiprocessors: of the device.
        variant: GROUP of the source, or TWO; None: the first that fits of a block, a cluster, a grid.
        fixed: with fixed statistics everything is read once anyway.

    Raises:
        ValueError: the data do not fit the variant asked for.
    """
    tilings = _tilings(shape, arrays, slab_bytes(arch))
    itemsize = 16 // shape.t.vector

    def made(group: int, t: _Tiling, parts: int, groups: int) -> Plan:
        held = loader.ceil_div(t.items, t.rows * parts) * BLOCK
        geometry = (
            loader.int64(shape.planes),
            loader.int64(shape.channels * (1 if shape.columns else shape.segment)),
            loader.int32(shape.segment),
            loader.int32(t.pieces),
            loader.int32(shape.channels),
            loader.int32(t.tx),
            loader.int32(parts),
        )
        return Plan(
            group=group,
            types=t.types if group == TWO else f"{t.types}, {group}",
            tiles=t.tiles,
            parts=parts,
            grid=groups * parts,
            held=held,
            shared=0 if group == TWO else held * t.vec * itemsize * arrays,
            width=t.tx * t.vec if shape.columns else 1,
            geometry=geometry,
        )

    def may(group: int) -> bool:
        return not fixed and variant in (None, group) and reads_once(shape.t, tilings[0].vec, group, arch)

    found: tuple[int, _Tiling, int] | None = None
    for group, parts in ((IN_BLOCK, 1), (IN_CLUSTER, 8)):
        fits = [t for t in tilings if may(group) and loader.ceil_div(t.items, t.rows * parts) <= t.most]
        if fits:  # the widest tile of which there is one for every multiprocessor
            chosen = next((t for t in fits if t.tiles * parts >= multiprocessors), fits[-1])
            found = group, chosen, parts
            if _short(chosen, parts) or chosen.tiles * parts >= multiprocessors:
                break
    if found:
        return made(*found, found[1].tiles)
    if may(IN_GRID):
        # Groups take tiles in turn and do not wait for each other: one loads while another stores. The widest
        # tile of those that leave few blocks idle, as wide reads keep the memory busy with fewer blocks.
        best, blocks = (0.0, tilings[0], 0, 0), 2 * multiprocessors
        for t in tilings:
            parts = max(loader.ceil_div(t.items, t.rows * t.most), 1 if variant is None else 2)
            # measured on an H100, (65536, 512): rows of 64 bytes take longer once than whole ones twice
            wide = not shape.columns or t.tx * t.vec * itemsize >= 128 or variant == IN_GRID
            if parts <= multiprocessors and wide:  # CuPy shrinks a grid that does not fit
                groups = min(blocks // parts, t.tiles)
                busy = t.tiles * parts / (loader.ceil_div(t.tiles, groups) * blocks)
                best = max(best, (min(busy, 0.75), t, parts, groups), key=lambda found: found[0])
        if best[0] >= 0.5 or (best[0] and variant == IN_GRID):
            return made(IN_GRID, *best[1:])
    if variant not in (None, TWO):
        name = next(name for name, group in VARIANTS.items() if group == variant)
        values = f"{shape.planes * shape.segment} {shape.t.dtype} values a channel"
        raise ValueError(f"batch_norm: {values} do not fit a {name} of sm_{arch}")
    t = tilings[0]
    parts = min(loader.ceil_div(8 * multiprocessors, t.tiles), loader.ceil_div(t.items, 4 * t.rows))
    return made(TWO, t, parts, t.tiles)
