"""Interleaved rounds: in each one every column has one turn, in an order that rotates.

A turn is a few untimed runs, then as many timed ones as fill the time of a turn. Ratios are taken within a
round, so that a machine that slows down for a while slows both sides. Medians and quartiles stand for the
rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bench.measurement import Measurement, is_noisy


@dataclass(frozen=True)
class Settings:
    """Attributes:
    rounds: turns of every column; up to three times as many while one is noisy.
    turn: seconds a turn should take.
    rotate: bytes of input sets to rotate through.
    noisy: interquartile range over median from which rounds are added.
    memory: bytes that all columns of one case may take together.
    budget: seconds a case may take; three rounds are made at any rate.
    retries: how often a turn that was interrupted is taken again; the least interrupted one counts.
    most_sets: input sets at most.
    answer: seconds after which a column's process that does not answer is ended.
    """

    rounds: int = 9
    turn: float = 0.12
    rotate: int = 256 << 20
    noisy: float = 0.1
    memory: int = 8 << 30
    budget: float = 60.0
    retries: int = 0
    most_sets: int = 32
    answer: float = 600.0

    def sets(self, footprint: int) -> int:
        """How many input sets of so many bytes outgrow the cache."""
        return max(1, min(self.most_sets, -(-self.rotate // footprint)))


QUICK = Settings(
    rounds=5, turn=0.02, rotate=64 << 20, noisy=float("inf"), most_sets=8, budget=4.0, answer=120.0
)

PATIENT = {"turn": 0.005, "retries": 30}
"""For a machine that others use: turns short enough to pass between two interruptions. They are chosen by
interruptions, never by time, so the choice favours nobody."""


class Player(Protocol):
    """Who takes turns: a station here, or a process that has one."""

    def turn(self, repeats: int) -> tuple[float, int]:
        """Seconds for one piece of work, and interruptions."""


Quiet = Callable[[Player], None]


def take_turns(
    players: list[tuple[Player, Measurement]], settings: Settings, quiet: Quiet = lambda player: None
) -> None:
    """Fill the measurements; a player that fails has a reason instead, and the others go on.

    Args:
        players: each with the measurement to fill, whose `repeats` is set.
        settings: how many rounds, how long.
        quiet: returns when nothing that ran before disturbs a player.
    """
    start, alive = time.perf_counter(), list(players)
    for number in range(3 * settings.rounds):
        measured = [m for _, m in alive]
        if number >= settings.rounds and not any(is_noisy(m, settings.noisy) for m in measured):
            break
        if number >= min(3, settings.rounds) and time.perf_counter() - start > settings.budget:
            break
        shift = number % max(1, len(alive))
        for player, m in alive[shift:] + alive[:shift]:
            try:
                seconds, interrupted = quiet_turn(player, m, settings, start + settings.budget, quiet)
            except Exception as error:  # one column's failure must not end the run, and is reported
                m.fail(error)
                continue
            m.seconds.append(float(f"{seconds:.5g}"))  # as it is saved: a file gives the same tables
            m.interruptions.append(interrupted)
        alive = [(player, m) for player, m in alive if m.missing is None]


def quiet_turn(
    player: Player, measured: Measurement, settings: Settings, deadline: float, quiet: Quiet
) -> tuple[float, int]:
    """Seconds and interruptions of the least interrupted turn; the first one without any ends the search."""
    tries = []
    for _ in range(settings.retries + 1):
        quiet(player)
        tries.append(player.turn(measured.repeats))
        if tries[-1][1] == 0 or time.perf_counter() > deadline:
            break
    return min(tries, key=lambda t: t[1])
