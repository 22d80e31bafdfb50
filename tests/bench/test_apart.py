"""A process a column: turns, failures, loads."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from bench import load, machine, quiet
from bench.apart import Apart
from bench.cases import by_key
from bench.columns import NumpyColumn
from bench.environment import THREADS, environment
from bench.measurement import ColumnError
from bench.process import Process
from bench.rounds import Settings
from bench.station import make_inputs
from tests.bench.faulty import COLUMNS

pytestmark = pytest.mark.host

ONE = environment(threads=1)
CASE, NEXT = "op bias_relu 128x128", "op adam 10k"
SETTINGS = Settings(rounds=6, turn=1e-4, rotate=1, noisy=float("inf"))


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(quiet, "LONGEST", 30.0)  # where other tests have the CPUs


@pytest.fixture
def apart():
    """A function that starts columns of tests.bench.faulty; they are ended afterwards."""
    started = []

    def start(*keys, loads=(0,), answer=60.0, settings=SETTINGS):
        processes = [Process(COLUMNS[key], ONE, answer, ("-m", "tests.bench.faulty")) for key in keys]
        helper = Process(NumpyColumn(), ONE, 60.0)
        started.extend([helper, *processes])
        for process in started:
            process.receive()
        return Apart(processes, helper, settings, loads)

    yield start
    for process in started:
        process.end()
        assert not process.alive


def test_columns_take_turns(apart):
    bench = apart("good", "raises")
    good, bad = bench.measure(by_key(CASE))
    assert good.missing is None
    assert len(good.seconds) == 6
    assert min(good.seconds) > 0
    assert good.error <= 1
    assert bad.missing == "FAILED: ZeroDivisionError: division by zero"
    assert bad.seconds == []
    assert [m.missing for m in bench.measure(by_key(NEXT))] == [None, None]  # the process lives on


@pytest.mark.parametrize("key", ["dies", "dies-at-once"])
def test_a_worker_that_dies_is_one_line_and_starts_anew(apart, key):
    bench = apart(key, "good")
    bad, good = bench.measure(by_key(CASE))
    during = {"dies": "turn", "dies-at-once": "calibrate"}[key]
    assert bad.missing == (
        f"FAILED: its process ended with exit code 3 during '{during}': Segmentation fault, so to say"
    )
    assert bad.failed
    assert not bad.seconds
    assert len(good.seconds) == 6
    dead = bench.processes[0].process.pid
    again, _ = bench.measure(by_key(NEXT))
    assert bench.processes[0].process.pid != dead
    assert again.failed  # it dies there, too, and no later case waits for it
    bench.processes[1].process.kill()
    time.sleep(0.1)
    _, good = bench.measure(by_key(CASE))
    assert len(good.seconds) == 6


def test_a_worker_that_hangs_is_ended_and_left_out(apart):
    bench = apart("hangs", "good", answer=2.0)
    bad, good = bench.measure(by_key(CASE))
    assert bad.missing == "FAILED: its process did not answer 'turn' within 2 s, and was ended"
    assert len(good.seconds) == 6
    assert not bench.processes[0].alive
    start = time.perf_counter()
    bad, good = bench.measure(by_key(NEXT))
    assert bad.missing == "left out: its process hung before"
    assert good.seconds
    assert time.perf_counter() - start < 60


def test_without_a_reference_nothing_is_timed(apart):
    bench = apart("good")
    bench.helper.answer = 0.5
    bench.helper.process.send_signal(signal.SIGSTOP)
    (found,) = bench.measure(by_key(CASE))
    assert "did not answer 'reference'" in found.missing


def test_a_library_that_is_absent_says_so():
    process = Process(COLUMNS["absent"], ONE, 60.0, ("-m", "tests.bench.faulty"))
    assert process.receive() == {"missing": "nothing is not installed"}
    process.end()


def test_an_unknown_column_is_the_failure_of_its_process():
    column = NumpyColumn()
    column.key = "nonsense"
    process = Process(column, ONE, 60.0)
    with pytest.raises(ColumnError, match="ended with exit code 1 during 'ready': StopIteration"):
        process.receive()


def test_threads_and_instructions_are_set_by_the_environment():
    process = Process(NumpyColumn(), environment(3, avx2=True), 60.0)
    about = process.receive() and process.ask("probe", keys=["torch-cuda"])
    process.end()
    assert about["machine"]["threads"] == 3
    assert about["versions"]["CPU kernels"] in ("avx2", "base", "not built")  # base: an older processor
    assert all(process.environment[name] == "3" for name in THREADS)
    assert machine.device_name({**about["machine"], "instructions": "avx2"}).endswith("3 threads, avx2 only")


def reference_of(key, folder):
    """What the command `prepare` needs."""
    case, path = by_key(key), str(folder / "reference.npz")
    np.savez(path, **case.reference(make_inputs(case, 1)))
    return {"case": key, "sets": 1, "path": path}


# ---- loads ------------------------------------------------------------------------------------------------


def test_idle_and_busy_rounds_are_told_apart_and_counted(apart):
    found = apart("good", "raises", loads=(0, 2)).measure(by_key(CASE))
    good = [m for m in found if m.column == "good"]
    assert [(m.load, len(m.seconds)) for m in good] == [(0, 6), (2, 6)]
    assert good[0].seconds != good[1].seconds


def test_the_load_is_at_work_as_long_as_the_block():
    children = os.times()
    with load.beside(2) as processes:
        assert len(processes) == 2
        time.sleep(1.0)
        assert all(p.poll() is None for p in processes)
    assert all(p.poll() is not None for p in processes)
    worked = os.times().children_user - children.children_user
    assert worked > 0.06  # more than to start; it shares the CPUs with whatever else runs here, but it works
    with load.beside(0) as processes:
        assert processes == []
    assert load.name(0) == "idle"
    assert load.name(1) == "beside 1 load process"
    assert load.name(2) == "beside 2 load processes"


# ---- quiet ------------------------------------------------------------------------------------------------


def test_a_turn_waits_until_other_processes_sleep(apart, tmp_path):
    """A thread of the process works on for 0.3 s after its answer."""
    spins = apart("spins").processes[0]
    if spins.running() is None:
        pytest.skip("the system does not tell")
    spins.ask("prepare", **reference_of(CASE, tmp_path))
    assert quiet.wait([spins])
    spins.turn(1)
    assert spins.running()
    assert quiet.wait([spins])
    assert not any(spins.running() or time.sleep(0.005) for _ in range(10))


def test_every_turn_begins_when_the_others_sleep(apart):
    bench, running = apart("spins", "good"), []
    if bench.helper.running() is None:
        pytest.skip("the system does not tell")
    for process, other in zip(bench.processes, reversed(bench.processes), strict=True):

        def watched(repeats, turn=process.turn, other=other):
            running.append(other.running())
            return turn(repeats)

        process.turn = watched
    bench.measure(by_key(CASE))
    assert running == [False] * 12
    assert not bench.restless


def test_waiting_ends_and_says_that_it_is_not_quiet(monkeypatch):
    monkeypatch.setattr(quiet, "LONGEST", 0.05)

    class Busy:
        def running(self):
            return True

    assert not quiet.wait([Busy()])
