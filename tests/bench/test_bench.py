"""The benchmark: what it reports, not how fast anything is."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from bench import device, limits, machine, report, results, rounds
from bench.__main__ import main
from bench.cases import cases
from bench.cases.base import NotExpressibleError
from bench.cases.dropout import Dropout
from bench.cases.networks import CNNStep
from bench.cases.steps import TinyMLP
from bench.columns import NumpyColumn, TorchColumn, XpnetColumn, all_columns, base, select
from bench.goals import GOALS, Goal
from bench.measure import measure
from bench.measurement import Measurement, quartiles, ratios
from bench.results import Run
from bench.rounds import QUICK
from bench.station import make_inputs
from tests.bench.runs import BASE, CASE, OWN, made_up

pytestmark = pytest.mark.host  # columns choose their own backends


# ---- a run ------------------------------------------------------------------------------------------------


def test_a_quick_run_gives_table_json_and_plots(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "run.json"
    what = ["--quick", "--rounds", "3", "--only", "tiny_mlp", "--columns", "xpnet,numpy,thinc,torch-cuda"]
    code = main([*what, "--busy", "1", "--json", str(path), "--plot", str(tmp_path / "run.png")])
    text = capsys.readouterr().out
    assert code == 0
    assert CASE in text
    assert "goals" in text
    assert "xpnet / numpy" in text  # the yardstick
    assert "geometric mean" in text
    data = json.loads(path.read_text())
    timed = [(m["column"], m["load"]) for m in data["measurements"]]
    assert timed == [("xpnet", 0), ("numpy", 0), ("xpnet", 1), ("numpy", 1)]
    assert data["settings"]["loads"] == [0, 1]
    assert "pure Python" in data["settings"]["load"]
    assert data["missing"]["jax"] == "not asked for"
    for key in ("thinc", "torch-cuda"):  # asked for, and not here
        assert key in data["missing"]
        assert data["missing"][key] in text
    assert all(len(m["seconds"]) == 3 and min(m["seconds"]) > 0 for m in data["measurements"])
    assert data["limits"]["cpu"]["bandwidth"] > 0
    assert data["machine"]["cpu"]
    assert data["versions"]["numpy"] == np.__version__
    for name in ("ratios", "cost"):
        assert (tmp_path / f"run-{name}.png").read_bytes().startswith(b"\x89PNG")
    # the file alone gives the same tables
    assert main(["--with", str(path), "--compare", str(path)]) == 0
    again = capsys.readouterr().out
    assert "0 slower" in again
    assert next(line for line in text.splitlines() if line.startswith("  xpnet ")) in again


def test_columns_are_asked_for_by_name_or_all(monkeypatch):
    present, left_out = select(None, quick=True)
    assert sorted([c.key for c in present] + list(left_out)) == sorted(c.key for c in all_columns())
    assert "--quick" in left_out["compile"]
    present, left_out = select(["xpnet", "jax"], quick=True)
    assert [c.key for c in present] == ["xpnet", "jax"]
    assert left_out["torch"] == "not asked for"
    monkeypatch.setattr(base.importlib, "import_module", lambda name: __import__("no_such_" + name))
    assert TorchColumn("cpu").missing() == "torch is not installed"  # what its process says


def test_a_case_that_a_library_cannot_express_is_named():
    class Elsewhere(NumpyColumn):
        library, library_title = "sklearn", "scikit-learn"

    case = next(c for c in cases() if c.key == "op bias_relu 128x128")
    (found,) = measure(case, [Elsewhere()], QUICK)
    assert found.missing == "scikit-learn has no such operation"
    norm = next(c for c in cases() if c.name == "bn_dropout_mlp")
    (found,) = measure(norm, [Elsewhere()], QUICK)
    assert found.missing == "MLPClassifier has no batch norm and no dropout"


def test_what_cannot_run_says_why(capsys):
    assert main(["--columns", "nonsense"]) == 2
    assert "unknown column 'nonsense'" in capsys.readouterr().err
    assert main(["--only", "nonsense"]) == 2
    assert "step tiny_mlp batch 32" in capsys.readouterr().err  # what there is instead
    assert main(["--threads", "0"]) == 2
    assert main(["--busy", "-1"]) == 2
    assert main(["--compare", "no-such-file.json"]) == 2
    assert "cannot read no-such-file.json" in capsys.readouterr().err


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "other.json"
    for text in ("{}", "[1]", "no json", '{"format": 1, "date": ""}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="is not a result file"):
            results.load(path)


HEAVY = ("cifar_mlp", "resnet20")


# ---- the check before timing ------------------------------------------------------------------------------


class Wrong(NumpyColumn):
    key = "wrong"


class Broken(NumpyColumn):
    key = "broken"
    library = "broken"


@pytest.mark.parametrize("key", ["op cross_entropy 128x10", "op bias_relu 128x128", "op adam 10k", CASE])
def test_a_column_that_computes_something_else_is_caught(monkeypatch, key):
    """An error of one part in a hundred, in one result, is enough."""
    case = next(c for c in cases() if c.key == key)
    right, build = NumpyColumn(), type(case).build

    def changed(self, column, inputs):
        program = build(self, column, inputs)
        if column.key == "wrong":
            honest = program.results

            def results():
                found = dict(honest())
                last = list(found)[-1]
                found[last] = np.asarray(found[last]) * (1 + 1e-2)
                return found

            program.results = results
        return program

    monkeypatch.setattr(type(case), "build", changed)
    good, bad = measure(case, [right, Wrong()], QUICK)
    assert good.seconds
    assert good.error <= 1
    assert not bad.seconds
    assert bad.missing.startswith("WRONG RESULT")


def test_nan_and_other_shapes_are_wrong():
    case = next(c for c in cases() if c.key == "op cross_entropy 128x10")
    reference = {"loss": np.array(1.0), "grad": np.ones((2, 2))}
    assert case.verify(reference, reference) == 0
    assert case.verify({**reference, "grad": np.full((2, 2), np.nan)}, reference) == np.inf
    assert case.verify({**reference, "grad": np.ones(4)}, reference) == np.inf
    assert case.verify({}, reference) == np.inf


def test_dropout_is_checked_for_what_it_must_do():
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 64, 64)).astype(np.float32)
    case = Dropout((64, 64))
    mask = 2 * (rng.random((64, 64)) < 0.5)
    x[mask > 0] = np.where(np.arange((mask > 0).sum()) == 7, 0, x[mask > 0])  # one kept input is 0
    reference = {"x": x, "dy": dy}
    assert case.verify({"y": x * mask, "dx": dy * mask}, reference) <= 1
    assert case.verify({"y": x * mask, "dx": dy * mask[::-1]}, reference) > 1  # another mask in backward
    assert case.verify({"y": x * mask / 2, "dx": dy * mask / 2}, reference) > 1  # not scaled
    assert case.verify({"y": x * 2, "dx": dy * 2}, reference) > 1  # nothing dropped


def test_a_failing_column_is_reported_and_the_others_run(monkeypatch):
    case = next(c for c in cases() if c.key == "op cross_entropy 128x10")

    def broken(self, inputs, column):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(type(case), "broken", broken, raising=False)
    bad, good = measure(case, [Broken(), NumpyColumn()], QUICK)
    assert bad.missing == "FAILED: ZeroDivisionError: oops"
    assert good.seconds


def test_the_hand_written_steps_agree_with_xpnet():
    """The yardstick does the same work: three steps of each network, from the same parameters."""
    own = [XpnetColumn("numpy", fused=False), NumpyColumn()]
    small = [c for c in cases("step") if c.label in ("batch 32", "batch 64") and c.name not in HEAVY]
    assert {c.name for c in small} == {"tiny_mlp", "mnist_mlp", "bn_dropout_mlp", "cnn"}
    for case in small:
        inputs = make_inputs(case, 3)
        reference = case.checked().reference(inputs)
        for column in own:
            with column.active():
                assert case.checked().verify(case.checked().build(column, inputs).results(), reference) <= 1


class Seen(CNNStep):
    """Its model and the images of its first step are kept."""

    def _tape(self, inputs, column, model, optim, loss_of):
        def look(x, y):
            self.seen = model, x
            return loss_of(x, y)

        return super()._tape(inputs, column, model, optim, look)


def test_columns_lay_images_out():
    torch = pytest.importorskip("torch")
    case = Seen(2)
    inputs = make_inputs(case, 3)
    reference = case.reference(inputs)
    ours, peer = XpnetColumn("numpy", fused=True, channels_last=True), TorchColumn("cpu", channels_last=True)
    assert case.verify(case.build(ours, inputs).results(), reference) <= 1
    model, _ = case.seen
    assert {m.memory_format for m in model.modules() if hasattr(m, "memory_format")} == {"channels_last"}
    assert case.verify(case.build(peer, inputs).results(), reference) <= 1
    model, x = case.seen
    for images in (x, model[0].weight):
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert not images.is_contiguous()
    with pytest.raises(NotExpressibleError, match="no network of images"):
        TinyMLP(2).build(peer, inputs)


# ---- goals, comparison, history ---------------------------------------------------------------------------


def test_goals_name_cases_and_columns_that_exist():
    keys, known = {c.key for c in cases(device=True)}, {c.key for c in all_columns()}
    for goal in GOALS:
        if isinstance(goal, Goal):
            assert goal.case in keys
        else:
            assert any(key.startswith(goal.cases) for key in keys)
        assert {goal.column, goal.against or goal.column} <= known


def test_a_device_s_run_measures_what_its_goals_name():
    keys = {c.key for c in device.cases(tiny=False)}
    columns = {"xpnet-cupy", "torch-cuda", *(c.key for c in device.step_columns())}
    for goal in (g for g in GOALS if g.column.startswith("xpnet-cupy")):
        assert goal.case in keys
        assert {goal.column, goal.against or goal.column} <= columns


def test_the_floor_of_a_column_is_that_of_its_products():
    """Where their rate was measured; the bytes are the same."""
    found = limits.best(
        [
            ("cpu", {"bandwidth": 1e9, "rate": 1e9}),
            ("cpu", {"bandwidth": 2e9, "rate": 5e8}),
            ("cpu", {"bf16": 3e9}),
            ("cpu", {"bf16": 4e9}),
        ]
    )["cpu"]
    assert found == limits.Limit(2e9, 1e9, {"bf16": 4e9})
    assert found.floor(2, 4000) == found.floor(2, 4000, "tf32") == (4e-6, "products")
    assert found.floor(2, 4000, "bf16") == (1e-6, "products")
    assert found.floor(4000, 4000, "bf16") == (2e-6, "bytes")
    assert "matrix product 1.00 GFLOP/s, bf16 4.00 GFLOP/s" in report.limit_text(found)
    run = made_up(1e-3)
    run.limits["cpu"] = limits.Limit(1e10, 1e11, {"bf16": 1e13})
    exact = run.floor(CASE, OWN)
    run.columns[OWN]["precision"] = "bf16"
    assert run.cases[CASE]["bytes"] / 1e10 == run.floor(CASE, OWN) < exact
    with pytest.raises(ValueError, match="select one of these too"):
        limits.best([("cpu", {"bf16": 3e9})])


def test_launches_stand_beside_the_time():
    run = made_up(1e-3)
    assert "launches" not in report.case_table(run, CASE, run.measurements)
    run.measurements[0].launches = 8
    assert report.case_table(run, CASE, run.measurements).count("of floor's speed, 8 launches") == 1


def test_a_busy_machine_is_named():
    run = made_up(1e-3)
    run.machine["others"] = 0.01
    assert report.disturbance(run) == ""
    run.machine["others"] = 0.4
    assert "other processes took 40% of the CPU time" in report.disturbance(run)


def test_the_work_of_other_processes_is_noticed():
    # 12 s of work in 10 s on all CPUs, of which this process did 7
    assert machine.others_share((100.0, 1.0), (112.0, 8.0), 10.0) == pytest.approx(5 / (10 * os.cpu_count()))
    if os.path.exists("/proc/stat"):
        before = after = machine.cpu_clock()
        while after[1] - before[1] < 0.1:  # own work counts as own, or this would not end
            after = machine.cpu_clock()
        assert after[0] > before[0]


def test_an_interrupted_turn_is_taken_again():
    """The turn that counts is the least interrupted one, even if another was faster."""
    turns = iter([(1.0, 3), (9.0, 1), (2.0, 2)])

    class Player:
        def turn(self, repeats):
            return next(turns)

    quiet, settings = [], rounds.Settings(retries=2)
    found = rounds.quiet_turn(Player(), Measurement("c", "a"), settings, float("inf"), quiet.append)
    assert found == (9.0, 1)
    assert len(quiet) == 3


def test_ratios_are_taken_round_by_round():
    a, b = Measurement("c", "a", [1.0, 10.0, 3.0]), Measurement("c", "b", [2.0, 20.0, 6.0])
    assert ratios(a, b) == [0.5, 0.5, 0.5]
    assert quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == (2.0, 3.0, 4.0)
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)


def test_compare_flags_a_regression_and_not_noise(tmp_path, capsys):
    def exit_code(new: Run, *options: str) -> int:
        results.save(made_up(0.30e-3), tmp_path / "old.json")
        results.save(new, tmp_path / "new.json")
        return main(["--with", str(tmp_path / "new.json"), "--compare", str(tmp_path / "old.json"), *options])

    assert exit_code(made_up(0.40e-3)) == 1
    assert "REGRESSION" in capsys.readouterr().out
    assert exit_code(made_up(0.40e-3), "--tolerance", "0.5") == 0
    assert exit_code(made_up(0.31e-3)) == 0  # below the tolerance
    assert exit_code(made_up(0.36e-3, noise=0.5)) == 0  # within the noise
    capsys.readouterr()
    assert exit_code(made_up(0.20e-3)) == 0
    assert "gain" in capsys.readouterr().out


def test_compare_uses_ratios_so_a_busy_machine_is_no_regression():
    old, busy = made_up(0.3e-3), made_up(0.6e-3, base=2e-3)
    changes = {c.column: c for c in results.compare(old, busy)}
    assert changes[OWN].relative
    assert not changes[OWN].is_regression(0.1)
    assert changes[BASE].is_regression(0.1)  # the baseline itself can only be compared by time
    elsewhere = [c.column for c in results.compare(old, made_up(0.3e-3, cores=64))]
    assert elsewhere == [OWN]  # and not with another machine's


def test_history_groups_by_device(tmp_path, monkeypatch, capsys):
    for i, run in enumerate((made_up(0.5e-3), made_up(0.3e-3), made_up(0.1e-3, cores=64))):
        run.date = f"2026-01-0{3 - i} 00:00"
        results.save(run, tmp_path / f"{i}.json")
    found = results.history(tmp_path)
    assert [len(runs) for runs in found.values()] == [1, 2]
    assert [run.date for run in found["test, 2 cores, 2 threads"]] == ["2026-01-02 00:00", "2026-01-03 00:00"]
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    assert main(["--history"]) == 0
    text = capsys.readouterr().out
    assert text.index("0.30x") < text.index("0.50x")  # oldest first


def test_committed_results_can_be_read():
    for runs in results.history().values():
        for run in runs:
            assert run.measurements
