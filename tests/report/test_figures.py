"""What the figures show: the numbers in them are those they were given."""

import re

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from xpnet.diagnostics.layers import BAND
from xpnet.diagnostics.observe import Layer, Observation, Weight
from xpnet.report import figures
from xpnet.train import History

pytestmark = pytest.mark.host


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were made, by name; their layout has been done."""
    found = {}

    def keep(figure, name, svg=figures.svg):
        found[name] = figure
        return svg(figure, name)

    monkeypatch.setattr(figures, "svg", keep)
    return found


def history(epochs, **columns):
    found = History()
    for epoch in range(epochs):
        row = {"train_loss": 2.0 - epoch / 4, "lr": 0.1 / (1 + epoch), "seconds": 9.0}
        found.append({**row, **{key: values[epoch] for key, values in columns.items()}})
    return found


def lines(axis):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axis.get_lines()}


def words(axis):
    legend = axis.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def test_learning_curves(drawn):
    figures.learning_curves(history(3, val_loss=[3, 2, 1], val_accuracy=[0.5, 0.75, 1]))
    loss, validation, rate = drawn["learning-curves"].axes
    assert lines(loss) == {
        "train loss": ([1, 2, 3], [2.0, 1.75, 1.5]),
        "val loss": ([1, 2, 3], [3, 2, 1]),
    }
    assert lines(validation) == {"val accuracy": ([1, 2, 3], [0.5, 0.75, 1])}
    assert lines(rate) == {"lr": ([1, 2, 3], [0.1, 0.05, 0.1 / 3])}
    assert [axis.get_ylabel() for axis in (loss, validation, rate)] == ["loss", "validation", "learning rate"]
    assert {axis.get_xlabel() for axis in (loss, validation, rate)} == {"epoch"}
    assert words(loss) == ["train loss", "val loss"]
    assert words(validation) == ["val accuracy"]
    assert words(rate) == []
    assert rate.get_ylim()[0] == 0
    assert loss.get_ylim()[0] > 0  # losses differ at their end


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_few_epochs_are_seen_as_points(drawn, epochs):
    """A line through one point shows nothing."""
    figures.learning_curves(history(epochs))
    loss, rate = drawn["learning-curves"].axes  # nothing was validated
    assert all((line.get_marker() == ".") == (epochs < 3) for a in (loss, rate) for line in a.get_lines())


def test_a_history_without_a_rate(drawn):
    found = History()
    found.append({"train_loss": 1.0})
    figures.learning_curves(found)
    assert [len(lines(axis)) for axis in drawn["learning-curves"].axes] == [1, 0]


def test_confusion(drawn):
    matrix = np.array([[6, 2, 0], [0, 0, 0], [1, 0, 1]])
    figures.confusion(matrix, ["a", "b", "$c"])
    (axis,) = drawn["confusion-matrix"].axes
    np.testing.assert_allclose(axis.images[0].get_array(), [[0.75, 0.25, 0], [0, 0, 0], [0.5, 0, 0.5]])
    assert axis.images[0].get_clim() == (0, 1)
    found = {(text.get_position()[::-1], text.get_text(), text.get_color()) for text in axis.texts}
    assert found == {
        ((0, 0), "6", "white"),
        ((0, 1), "2", "black"),
        ((2, 0), "1", "black"),
        ((2, 2), "1", "black"),
    }
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted", "true")
    for ticks, labels in (
        (axis.get_xticks(), axis.get_xticklabels()),
        (axis.get_yticks(), axis.get_yticklabels()),
    ):
        assert ticks.tolist() == [0, 1, 2]
        assert [label.get_text() for label in labels] == ["a", "b", "$c"]
        assert not any(label.get_parse_math() for label in labels)
    assert {label.get_rotation() for label in axis.get_xticklabels()} == {0}
    figures.confusion(matrix, ["a", "b", "long"])
    assert {t.get_rotation() for t in drawn["confusion-matrix"].axes[0].get_xticklabels()} == {90}


@pytest.mark.parametrize(("classes", "written"), [(20, 20), (21, 0)])
def test_numbers_up_to_20_classes(drawn, classes, written):
    figures.confusion(np.eye(classes, dtype=np.int64), [str(k) for k in range(classes)])
    assert len(drawn["confusion-matrix"].axes[0].texts) == written


@pytest.mark.parametrize(
    ("shape", "grid"),
    [((3, 1, 4, 5), (1, 3)), ((9, 3, 4, 5), (2, 8)), ((8, 4, 5), (1, 8)), ((1, 4, 5), (1, 1))],
)
def test_mistakes(drawn, shape, grid):
    pictures = np.random.default_rng(0).uniform(-0.5, 1.5, shape)
    figures.mistakes(pictures, [f"$title_{i}" for i in range(len(pictures))])
    axes = drawn["worst-mistakes"].axes
    assert axes[0].get_gridspec().get_geometry() == grid
    assert not any(axis.axison for axis in axes)
    for i, picture in enumerate(np.clip(pictures, 0, 1)):
        shown = axes[i].images[0]
        colours = picture.ndim == 3 and len(picture) == 3
        expected = np.moveaxis(picture, 0, -1) if colours else picture.reshape(4, 5)
        np.testing.assert_array_equal(shown.get_array(), expected)
        assert colours or (shown.get_clim() == (0, 1) and shown.get_cmap().name == "gray")
        assert axes[i].get_title() == f"$title_{i}"
        assert not axes[i].title.get_parse_math()
    assert not any(axis.images for axis in axes[len(pictures) :])


def seen(steps, layers):
    """Observations of layers: name -> (kind, a sample for each step)."""
    return [
        Observation(step, [Layer(name, kind, samples[i]) for name, (kind, samples) in layers.items()])
        for i, step in enumerate(steps)
    ]


def test_histograms(drawn):
    rng = np.random.default_rng(0)
    steps = [1, 50, 100, 150]
    values = [rng.normal(i, 1 + i, 256).astype(np.float32) for i in range(4)]
    values[2][:3] = np.nan, np.inf, -np.inf
    layers = {str(i): ("Linear", values) for i in range(5)}
    figures.histograms(seen(steps, {"d": ("Dropout", values), "f": ("Flatten", values), **layers}))
    figure = drawn["activation-histograms"]
    assert [axis.get_title() for axis in figure.axes] == [f"{i} Linear" for i in range(5)] + [""] * 3
    assert [axis.axison for axis in figure.axes] == [True] * 5 + [False] * 3
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 4)
    axis = figure.axes[0]
    low, high = np.percentile(np.concatenate([v[np.isfinite(v)] for v in values]), [0.5, 99.5])
    shown = axis.images[0]
    assert shown.get_extent() == [0, 4, low, high]
    assert (shown.origin, axis.get_aspect(), shown.get_cmap().name) == ("lower", "auto", "Greys")
    counts = np.asarray(shown.get_array()) ** 2
    assert counts.shape == (32, 4)  # a column for each step
    for column, sample in zip(counts.T, values, strict=True):
        finite = sample[np.isfinite(sample)]
        assert column.sum() == pytest.approx(len(finite))  # the tails are in the outermost bins
        inner = np.histogram(finite, 32, (low, high))[0]
        np.testing.assert_allclose(column[1:-1], inner[1:-1], atol=1e-9)
    assert axis.get_xticks().tolist() == [0.5, 2.5, 3.5]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "100", "150"]
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("update", "output")
    dark = np.percentile(np.asarray(shown.get_array()), 98)
    assert shown.get_clim() == (0, pytest.approx(max(1.0, dark)))


@pytest.mark.parametrize(
    ("value", "low", "high"), [(2.0, 1.5, 2.5), (np.nan, 0.0, 1.0)], ids=["constant", "nothing finite"]
)
def test_histograms_of_one_value_or_none(drawn, value, low, high):
    figures.histograms(seen([7], {"0": ("ReLU", [np.full(9, value, np.float32)])}))
    shown = drawn["activation-histograms"].axes[0].images[0]
    assert shown.get_extent() == [0, 1, low, high]
    assert np.square(shown.get_array()).sum() == pytest.approx(9 if value == value else 0)
    dark = np.percentile(np.asarray(shown.get_array()), 98)
    assert shown.get_clim() == (0, pytest.approx(max(1.0, dark)))


def weight(name, axes, ratio):
    return Weight(name, axes, np.ones(2, np.float32), np.ones(2, np.float32), ratio)


def test_a_line_for_each_weight(drawn):
    ratios = {"a": [0.1, 0.2, 0.3], "b": [None, 0.4, np.nan], "c": [0.0, np.inf, None], "d": [0.5, -1, 0.6]}
    looks = [
        Observation(
            step, [], [weight("bias", 1, 0.1), *(weight(name, 2, r[i]) for name, r in ratios.items())]
        )
        for i, step in enumerate([1, 10, 20])
    ]
    figures.by_layer(looks, lambda w: w.ratio, "ratio", "update-ratios")
    (axis,) = drawn["update-ratios"].axes
    assert lines(axis) == {
        "a": ([1, 10, 20], [0.1, 0.2, 0.3]),
        "b": ([10], [0.4]),
        "d": ([1, 20], [0.5, 0.6]),
    }
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_yscale()) == ("update", "ratio", "log")
    (band,) = axis.patches
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx(BAND)
    (legend,) = drawn["update-ratios"].legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "d"]
    figures.by_layer(looks, lambda w: w.ratio, "std", "gradients")
    assert len(drawn["gradients"].axes[0].patches) == 0  # the band is of update ratios
    figures.by_layer([Observation(1)], lambda w: w.ratio, "std", "gradients")
    assert drawn["gradients"].legends == []


def test_sixteen_lines_differ(drawn):
    look = Observation(1, [], [weight(f"{i:02}", 2, 0.1) for i in range(40)])
    figures.by_layer([look], lambda w: w.ratio, "ratio", "update-ratios")
    shown = drawn["update-ratios"].axes[0].get_lines()
    names = [line.get_label() for line in shown]
    assert len(names) == len({(line.get_color(), line.get_linestyle()) for line in shown}) == 16
    assert (names[0], names[-1]) == ("00", "39")
    assert set(np.diff([int(name) for name in names])) == {2, 3}  # evenly chosen
    assert figures._some(["x"] * 16) == ["x"] * 16


def test_figures_stand_in_one_page():
    """Ids begin with the name of the figure, and whatever refers to them does."""
    text = figures.learning_curves(history(3))
    assert text.startswith("<svg ")
    assert 'role="img" aria-label="learning curves"' in text
    ids = set(re.findall(r'\bid="([^"]*)"', text))
    assert all(name.startswith("learning-curves-") for name in ids)
    assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text)) <= {
        pair for name in ids for pair in ((name, ""), ("", name))
    }
    assert "<metadata>" not in text
    assert ">epoch</text>" in text  # text is text
