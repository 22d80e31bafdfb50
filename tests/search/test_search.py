"""Strategies, workers, journals: the same results whatever the workers and the interruptions."""

import errno
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import xpnet
from tests.search import helpers
from xpnet import random
from xpnet.io.locks import InUseError
from xpnet.search import (
    CoarseToFine,
    GridSearch,
    RandomSearch,
    SuccessiveHalving,
    TrialError,
    TrialFailedError,
    WorkerDiedError,
    loguniform,
    search,
    uniform,
)
from xpnet.search.journal import Journal

pytestmark = pytest.mark.host

SPACE = helpers.SPACE
FINE = CoarseToFine((12, 6), (2, 4))


@pytest.fixture(scope="module")
def alone():
    """What a search in this process gives."""
    return search(helpers.slow, SPACE, FINE, seed=3).to_json()


# ---- the same results ----


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_bytes(workers, alone):
    assert search(helpers.slow, SPACE, FINE, seed=3, workers=workers).to_json() == alone


def test_any_executor_gives_the_same_bytes(alone):
    with ThreadPoolExecutor(3) as threads:
        assert search(helpers.slow, SPACE, FINE, seed=3, executor=threads).to_json() == alone
    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        assert search(helpers.slow, SPACE, FINE, seed=3, executor=processes).to_json() == alone


def test_another_seed_gives_other_trials(alone):
    assert search(helpers.slow, SPACE, FINE, seed=4).to_json() != alone


def test_a_search_leaves_the_random_streams_alone():
    xpnet.manual_seed(11)
    before = random.generator_state()
    search(helpers.noisy, SPACE, RandomSearch(3))
    assert random.generator_state() == before


def test_a_trial_begins_with_the_seed_of_the_search(alone):
    xpnet.manual_seed(99)
    assert search(helpers.slow, SPACE, FINE, seed=3).to_json() == alone
    noises = {search(helpers.noisy, SPACE, RandomSearch(1), seed=s).trials[0].info["noise"] for s in range(3)}
    assert len(noises) == 3


def test_the_objective_travels_once_to_each_worker(tmp_path):
    objective = helpers.Counted(tmp_path / "count")
    result = search(objective, {"x": uniform(0, 1)}, RandomSearch(40), workers=2)
    assert len(result.trials) == 40
    # a trial sent again may find a worker that has the objective already
    assert len((tmp_path / "count").read_text().split()) <= 4


# ---- strategies ----


def test_coarse_to_fine_narrows_around_the_best():
    result = search(helpers.smooth, SPACE, CoarseToFine((60, 30), (5, 20)), seed=0)
    coarse, fine = result.rounds
    assert (len(result.of("coarse")), len(result.of("fine"))) == (60, 30)
    assert {o.budget for o in result.of("fine")} == {20}
    before, after = (r.space.distributions["lr"] for r in (coarse, fine))
    assert before.low < after.low < 0.01 < after.high < before.high
    assert all(after.low <= o.params["lr"] <= after.high for o in result.of("fine"))
    mean = [np.mean([o.score for o in result.of(r)]) for r in ("coarse", "fine")]
    assert mean[1] > mean[0]
    assert result.best.score > -0.05
    assert result.warnings() == []


def test_the_best_at_the_edge_gives_a_warning():
    def rising(params, trial):
        return params["lr"]

    result = search(rising, {"lr": loguniform(1e-4, 1e-1)}, RandomSearch(200))
    assert len(result.warnings()) == 1
    assert "upper edge" in result.warnings()[0]
    falling = search(rising, {"lr": loguniform(1e-4, 1e-1)}, RandomSearch(200), mode="min")
    assert "lower edge" in falling.warnings()[0]


def test_halving_keeps_the_best_third_and_triples_the_budget():
    result = search(helpers.smooth, SPACE, SuccessiveHalving(27, 1, 9), seed=0)
    assert [(len(r.params), r.budget) for r in result.rounds] == [(27, 1), (9, 3), (3, 9)]
    scores = sorted((o.score for o in result.of("rung 0")), reverse=True)
    assert [o.score for o in result.of("rung 1")] == scores[:9]
    assert result.best.budget == 9
    full = search(helpers.smooth, SPACE, SuccessiveHalving(27, 1, 100), seed=0)
    assert [len(r.params) for r in full.rounds] == [27, 9, 3, 1]


def test_grid_search_finds_the_best_point():
    result = search(helpers.smooth, SPACE, GridSearch({"lr": 4, "net.width": 5, "net.dropout": 1}))
    assert len(result.trials) == 4 * 5 * 1 * 3
    assert result.best_params["lr"] == pytest.approx(0.01)
    assert result.best_params["net"]["width"] == 32
    assert result.best_params["epochs"] == 3


# ---- failed trials ----


def test_failed_trials_are_kept_and_passed_over():
    def objective(params, trial):
        if trial.number == 1:
            return math.nan
        if trial.number == 2:
            raise TrialFailedError("exploded")
        if trial.number == 3:
            trial.report(0, math.inf)
        if trial.number == 4:
            raise MemoryError
        return params["x"]

    result = search(objective, {"x": uniform(0, 1)}, RandomSearch(8), catch=(MemoryError,))
    assert [o.number for o in result.trials if o.status == "failed"] == [1, 2, 3, 4]
    assert result.trials[2].reason == "exploded"
    assert result.best.score == max(o.score for o in result.trials if o.score is not None)
    json.loads(result.to_json())


def test_no_score_at_all():
    def objective(params, trial):
        raise TrialFailedError("always")

    result = search(objective, {"x": uniform(0, 1)}, CoarseToFine((5, 3), (1, 2)))
    assert len(result.rounds) == 1  # nothing to narrow to
    with pytest.raises(
        ValueError, match="none of the 5 trials gave a score; the first failed because always"
    ):
        _ = result.best


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mistake_in_the_objective_names_the_trial(workers):
    with pytest.raises(TrialError, match=r"trial 3 \{'x': .*\} raised KeyError: 'widht'"):
        search(helpers.mistaken, {"x": uniform(0, 1)}, RandomSearch(6), workers=workers)


def test_an_objective_that_cannot_be_sent():
    with pytest.raises(TypeError, match="top level of a module"):
        search(lambda params, trial: 1.0, {"x": uniform(0, 1)}, workers=1)


def test_bad_arguments():
    with pytest.raises(ValueError, match='mode is "max" or "min"'):
        search(helpers.smooth, SPACE, mode="best")
    with pytest.raises(TypeError, match="what JSON can hold"):
        search(helpers.smooth, {**SPACE, "rule": object()})


# ---- the journal ----


def test_a_worker_that_dies_is_an_error_and_the_journal_stays(tmp_path):
    path = tmp_path / "j.jsonl"
    space = {"x": uniform(0, 1)}
    with pytest.raises(WorkerDiedError, match=r"ran trial 3 \{'x': .*\} \(SIGKILL"):
        search(helpers.deadly, space, RandomSearch(8), workers=2, journal=path)
    finished = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert {row["number"] for row in finished} >= {0, 1, 2}
    assert 3 not in {row["number"] for row in finished}


def test_a_finished_journal_runs_nothing_again(tmp_path, alone):
    path = tmp_path / "j.jsonl"
    assert search(helpers.slow, SPACE, FINE, seed=3, journal=path).to_json() == alone
    ran = []
    again = search(helpers.slow, SPACE, FINE, seed=3, journal=path, resume=True, on_trial=ran.append)
    assert again.to_json() == alone
    assert ran == []


def test_a_finished_trial_is_in_the_file_at_once(tmp_path):
    path, lines = tmp_path / "j.jsonl", []
    search(
        helpers.noisy,
        SPACE,
        RandomSearch(5),
        journal=path,
        on_trial=lambda outcome: lines.append(path.read_bytes().count(b"\n")),
    )
    assert lines == [2, 3, 4, 5, 6]  # the first line says which search it is


def test_a_long_torn_line_leaves_nothing_behind(tmp_path):
    path = tmp_path / "j.jsonl"
    expected = search(helpers.noisy, SPACE, RandomSearch(4), journal=path).to_json()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + b'{"number": ' + b"x" * 5000)
    for _ in range(2):
        assert search(helpers.noisy, SPACE, RandomSearch(4), journal=path, resume=True).to_json() == expected
    assert len(path.read_bytes()) < 5000


def test_every_cut_of_a_journal_resumes_to_the_same_result(tmp_path):
    """A kill leaves some first bytes of the file; try many lengths, in the middle of lines, too."""
    whole = tmp_path / "whole.jsonl"
    expected = search(helpers.noisy, SPACE, FINE, seed=3, journal=whole).to_json()
    content = whole.read_bytes()
    for cut in [0, 1, 30, *np.linspace(31, len(content), 25, dtype=int), len(content) - 1]:
        path = tmp_path / "cut.jsonl"
        path.write_bytes(content[:cut])
        assert search(helpers.noisy, SPACE, FINE, seed=3, journal=path, resume=True).to_json() == expected
        assert len(path.read_bytes().splitlines()) == len(content.splitlines())
    path.write_bytes(content + b"\0" * 100 + b"\n")  # what a power failure may leave
    assert search(helpers.noisy, SPACE, FINE, seed=3, journal=path, resume=True).to_json() == expected


def test_a_journal_of_another_search_is_refused(tmp_path):
    path = tmp_path / "j.jsonl"
    search(helpers.noisy, SPACE, RandomSearch(3), seed=3, journal=path)
    content = path.read_bytes()
    with pytest.raises(FileExistsError, match="exists; resume"):
        search(helpers.noisy, SPACE, RandomSearch(3), seed=3, journal=path)
    with pytest.raises(ValueError, match="another search: its seed is 3, here it is 4"):
        search(helpers.noisy, SPACE, RandomSearch(3), seed=4, journal=path, resume=True)
    with pytest.raises(ValueError, match="its space is"):
        search(helpers.noisy, {"lr": uniform(0, 1)}, RandomSearch(3), seed=3, journal=path, resume=True)
    with pytest.raises(ValueError, match="trial 0 was run with"):
        search(helpers.noisy, SPACE, GridSearch(2), seed=3, journal=path, resume=True)
    assert path.read_bytes() == content
    longer = search(helpers.noisy, SPACE, RandomSearch(5), seed=3, journal=path, resume=True)
    assert len(longer.trials) == 5  # more of the same is no other search


def test_other_files_are_refused_and_left_alone(tmp_path):
    path = tmp_path / "thesis.txt"
    for text in ("one line without an end", "two\nlines\n", '{"format": "something else"}\n'):
        path.write_text(text)
        with pytest.raises(ValueError, match="is not a journal"):
            search(helpers.noisy, SPACE, RandomSearch(2), journal=path, resume=True)
        assert path.read_text() == text


@pytest.mark.parametrize("damage", [b"{oops\n", b'{"number": 1}\n', b"\xff\0\n", b"[]\n", b"\n"])
def test_of_a_file_with_a_damaged_line_the_rest_is_kept(tmp_path, damage):
    path = tmp_path / "j.jsonl"
    expected = search(helpers.noisy, SPACE, RandomSearch(4), journal=path).to_json()
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    spoilt = b"".join([*lines[:2], damage, *lines[3:]])
    path.write_bytes(spoilt)
    ran = []
    message = rf"damaged lines \(3\); 3 trials are kept, .*{re.escape(str(path))}\.damaged"
    with pytest.warns(UserWarning, match=message):
        again = search(helpers.noisy, SPACE, RandomSearch(4), journal=path, resume=True, on_trial=ran.append)
    assert again.to_json() == expected
    assert [outcome.number for outcome in ran] == [1]
    found = path.read_bytes().splitlines(keepends=True)
    assert found[:4] == [*lines[:2], *lines[3:]]
    assert len(found) == 5
    assert (tmp_path / "j.jsonl.damaged").read_bytes() == spoilt
    assert sorted(p.name for p in tmp_path.iterdir()) == ["j.jsonl", "j.jsonl.damaged"]


def test_a_second_search_on_one_journal_is_told_so(tmp_path):
    path, found = tmp_path / "j.jsonl", []

    def second(outcome):
        def work():
            try:
                search(helpers.noisy, SPACE, RandomSearch(4), journal=path, resume=True)
            except InUseError as error:
                found.append(str(error))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    expected = search(helpers.noisy, SPACE, RandomSearch(4)).to_json()
    search(helpers.noisy, SPACE, RandomSearch(4), journal=path, on_trial=second)
    assert found == [f"{path} is being written by another thread; name another file"] * 4
    assert search(helpers.noisy, SPACE, RandomSearch(4), journal=path, resume=True).to_json() == expected
    assert [p.name for p in tmp_path.iterdir()] == ["j.jsonl"]


@pytest.mark.skipif(os.name != "posix", reason="links need leave here")
def test_a_journal_is_one_whatever_links_lead_there(tmp_path):
    path, link = tmp_path / "j.jsonl", tmp_path / "link"
    link.symlink_to(path)
    journal = Journal(link, {}, resume=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".j.jsonl.lock", "j.jsonl", "link"]
    journal.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["j.jsonl", "link"]
    assert link.is_symlink()


@pytest.mark.parametrize("times", [1, 2, 5, 1000])
def test_a_full_disk_does_not_end_a_search(tmp_path, monkeypatch, times):
    path, left, fsync = tmp_path / "j.jsonl", [0], os.fsync
    expected = search(helpers.noisy, SPACE, RandomSearch(4)).to_json()

    def failing(handle):
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    def begin(outcome):
        if outcome.number == 0:
            left[0] = times

    monkeypatch.setattr("os.fsync", failing)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = search(helpers.noisy, SPACE, RandomSearch(4), journal=path, on_trial=begin)
    assert result.to_json() == expected
    assert len(caught) == min(times // 2, 4)
    assert all(f"cannot write {path}: No space left" in str(warning.message) for warning in caught)
    assert (result.missing is None) == (times < 1000)
    left[0] = 0
    ran = []
    search(helpers.noisy, SPACE, RandomSearch(4), journal=path, resume=True, on_trial=ran.append)
    assert len(ran) <= (3 if times == 1000 else 0)
    assert path.read_bytes().count(b"\n") == 5


_SCRIPT = """
import sys
from tests.search import helpers
from xpnet.search import CoarseToFine, search
if __name__ == "__main__":
    search(helpers.slow, helpers.SPACE, CoarseToFine((12, 6), (2, 4)), seed=3, workers=int(sys.argv[2]),
           journal=sys.argv[1], resume=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_9_at_random_moments_loses_nothing(tmp_path, alone):
    script, path = tmp_path / "run.py", tmp_path / "j.jsonl"
    script.write_text(_SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    kills, seen = 0, 0
    for i in range(30):
        process = subprocess.Popen([sys.executable, script, path, str(2 * (i % 2))], env=environment)
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:  # until a line or three more are there
            if path.exists() and path.read_bytes().count(b"\n") > seen + i % 3:
                process.kill()
                kills += 1
            time.sleep(0.001)
        process.wait()
        seen = path.read_bytes().count(b"\n")
        if process.returncode == 0:
            break
    assert kills >= 3
    assert search(helpers.slow, SPACE, FINE, seed=3, journal=path, resume=True).to_json() == alone
