"""One case on columns of this process: on a CUDA device, where data are shared and the host only launches.

On the CPU every column has a process of its own: `apart.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.cases.base import Case, NotExpressibleError
from bench.columns import Column
from bench.measurement import Measurement
from bench.rounds import Settings, take_turns
from bench.station import Station, WrongResultError, make_inputs


def measure(case: Case, columns: Iterable[Column], settings: Settings, rng: Any = None) -> list[Measurement]:
    """Check and time one case on every column; one that cannot run it, or is wrong, has a reason instead.

    Args:
        case: what to measure.
        columns: the libraries.
        settings: how.
        rng: where inputs come from, for columns that take these: `DeviceRandom` for CuPy arrays.
    """
    stations = [Station(column) for column in columns]
    found = [Measurement(case.key, station.column.key) for station in stations]
    reason = left_out(case, len(stations), settings)
    if reason is not None:
        for m in found:
            m.missing = reason
        return found
    inputs = make_inputs(case, settings.sets(case.footprint), rng)
    reference = case.checked().reference(inputs)
    players: list[tuple[Any, Measurement]] = []
    for station, m in zip(stations, found, strict=True):
        try:
            m.error = station.prepare(case, inputs, reference)
            m.repeats = station.calibrate(settings.turn)
            m.launches = station.launches()
        except (NotExpressibleError, WrongResultError) as reason:
            m.missing = str(reason)
        except Exception as error:  # one column's failure must not end the run, and is reported
            m.fail(error)
        else:
            players.append((station, m))
    take_turns(players, settings)
    for station in stations:
        station.forget()
    return found


def left_out(case: Case, columns: int, settings: Settings) -> str | None:
    """Why a case is not measured at all: its memory."""
    need = case.footprint * settings.sets(case.footprint) * (columns + 2)
    if need <= settings.memory:
        return None
    return f"left out: the columns need about {need / 2**30:.0f} GiB together"
