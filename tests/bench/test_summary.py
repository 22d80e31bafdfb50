"""The table over cases and the goals, by numbers that are computed by hand."""

from __future__ import annotations

import pytest

from bench import page, report, summary
from bench.goals import GOALS, Everywhere, judge
from bench.measurement import Measurement
from bench.results import history, merged
from tests.bench.runs import CASE, made_up, run_of

pytestmark = pytest.mark.host

NORM, LOSS = "op batch_norm 4096x512", "op cross_entropy 4096x1000"


def three_cases(load: int = 0):
    """xpnet over torch: 1/4, 2, 1/4; over jax: 1/2 in the one that jax ran."""
    return run_of(
        {
            CASE: {"xpnet": [1.0, 1.0, 1.0], "torch": [4.0, 4.0, 4.0], "jax": [2.0, 2.0, 2.0]},
            NORM: {"xpnet": [2.0, 2.0, 2.0], "torch": [1.0, 1.0, 1.0]},
            LOSS: {"xpnet": [1.0, 1.0, 1.0], "torch": [4.0, 4.0, 4.0], "jax": []},
        },
        load,
    )


def test_the_geometric_mean_and_the_cases_that_are_lost():
    torch, jax = summary.summarize(three_cases())
    assert (torch.peer, torch.load) == ("torch", 0)
    assert torch.ratios == {CASE: 0.25, NORM: 2.0, LOSS: 0.25}
    assert torch.mean == pytest.approx(0.5)  # the cube root of 1/8
    assert torch.over == {NORM: 2.0}
    assert jax.ratios == {CASE: 0.5}
    assert jax.mean == pytest.approx(0.5)
    assert jax.over == {}


def test_ratios_are_of_one_round_and_then_the_median():
    """A round in which the machine was ten times slower moves both sides, and the ratio not."""
    run = run_of({CASE: {"xpnet": [1.0, 20.0, 3.0], "torch": [2.0, 40.0, 4.0]}})
    (found,) = summary.summarize(run)
    assert found.ratios == {CASE: 0.5}  # of 0.5, 0.5 and 0.75; the medians' ratio is 3/4


def test_idle_and_busy_are_told_apart():
    run = three_cases()
    run.measurements += three_cases(load=2).measurements
    for m in run.measurements:
        if m.load and m.column == "torch":
            m.seconds = [2 * s for s in m.seconds]
    assert [(s.peer, s.load) for s in summary.summarize(run)] == [
        ("torch", 0), ("jax", 0), ("torch", 2), ("jax", 2)
    ]  # fmt: skip
    assert summary.summarize(run)[2].mean == pytest.approx(0.25)
    text = summary.text(run)
    assert "xpnet, idle" in text
    assert "xpnet, beside 2 load processes" in text
    lines = text.splitlines()
    assert [line.split()[2:] for line in lines if "geometric mean" in line] == [
        ["0.50"] * 2,
        ["0.25", "0.50"],
    ]
    assert next(line for line in lines if "cases over" in line).split()[-6:] == [
        "1",
        "of",
        "3",
        "0",
        "of",
        "1",
    ]
    case = run.cases[CASE]
    assert case["name"] == "step tiny_mlp"
    table = report.case_table(run, CASE, [m for m in run.measurements if m.case == CASE])
    assert table.index("beside 2 load processes") > table.index("0.25 x torch")
    assert "0.12 x torch" in table


def test_a_run_of_one_column_has_no_summary():
    assert summary.text(run_of({CASE: {"xpnet": [1.0]}})) == ""


@pytest.mark.parametrize(("own", "verdict"), [(0.19e-3, "met"), (0.21e-3, "MISSED")])
def test_goals_are_judged_by_the_median_ratio(own, verdict):
    run = made_up(own)
    found = judge(run)[0]
    assert (found.case, found.goal.at_most) == (CASE, 0.2)
    assert found.ratio[1] == pytest.approx(own / 1e-3, rel=0.02)
    assert found.met == (verdict == "met")
    row = next(line for line in report.goal_table(run).splitlines() if "goal 0.20" in line)
    limits = f"; {run.floor(CASE, 'xpnet') / 1e-3:.2f} would be at the machine's limits"
    assert row.endswith("met" if found.met else f"MISSED{limits}")


def test_a_goal_of_all_cases_is_judged_by_the_worst():
    found = [j for j in judge(three_cases()) if isinstance(j.goal, Everywhere)]
    everything, jax = found
    assert (everything.case, everything.ratio[1], everything.missed, everything.of) == (NORM, 2.0, 1, 3)
    assert not everything.met
    assert (jax.goal.cases, jax.case, jax.met) == ("step", CASE, True)
    assert "MISSED by 1 of 3" in report.goal_table(three_cases())
    assert {j.load for j in judge(three_cases(load=1))} == {1}


def test_a_goal_without_its_columns_is_not_judged():
    run = made_up(1e-3)
    run.measurements = [Measurement(CASE, "xpnet", [1.0]), Measurement(CASE, "torch", missing="FAILED: no")]
    assert judge(run) == []


def test_no_goal_is_named_twice():
    names = [(g.cases if isinstance(g, Everywhere) else g.case, g.column, g.against) for g in GOALS]
    assert len(names) == len(set(names))


# ---- several machines -------------------------------------------------------------------------------------


def test_machines_stand_side_by_side_and_the_means_come_first():
    here, there = three_cases(), made_up(0.25e-3, noise=0, cores=64)
    here.settings["apart"] = True
    here.measurements += three_cases(load=1).measurements
    text = page.markdown({"here": [here], "there": [there]})
    lines = text.splitlines()
    assert "| machine | torch | compile | jax | numpy |" in lines
    assert "| test, 2 cores, 2 threads, idle | 0.50 (1 of 3) |  | 0.50 (0 of 1) |  |" in lines
    assert "| test, 64 cores, 2 threads, idle | 0.25 (0 of 1) |  |  |  |" in lines
    assert f"| {CASE} | 0.25 | 0.25 | 0.25 |" in lines  # here idle, here beside a load, there
    assert f"| {NORM} | **2.00** | **2.00** |  |" in lines
    order = [text.index(part) for part in ("Geometric mean", "Case by case", "## Goals", "## All times")]
    assert order == sorted(order)
    notes = [line for line in lines if line.endswith(("UTC:", "shared a process:"))]
    assert ["shared" in line for line in notes] == [False, True]
    assert page.markdown({}) == "None yet."


def test_of_several_runs_the_latest_of_each_case_counts():
    first, second = three_cases(), made_up(0.5e-3, noise=0)
    found = merged([first, second])
    (torch, *_) = summary.summarize(found)
    assert torch.ratios == {CASE: pytest.approx(0.5), NORM: 2.0, LOSS: 0.25}
    assert found.columns.keys() == {"xpnet", "torch", "jax"}
    assert len(first.cases) == 3  # as it was
    assert len(second.cases) == 1
    first.settings["apart"] = True  # and the later one shared a process
    assert summary.summarize(merged([first, second]))[0].ratios[CASE] == 0.25


def test_the_committed_results_of_every_machine_are_on_the_page():
    text = page.markdown(history())
    assert "H100" in text
    for device in history():
        assert f"| {device}, idle |" in text
