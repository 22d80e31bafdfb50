"""Spaces against SciPy's distributions, grids against scikit-learn."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpnet import random, search
from xpnet.search import CoarseToFine, GridSearch, Space, choice, integer, loguniform, narrow, uniform

pytestmark = pytest.mark.host
stats = pytest.importorskip("scipy.stats")


def drawn(distribution, n=2000):
    space = Space({"x": distribution})
    return [space.sample(0, i)["x"] for i in range(n)]


@pytest.mark.parametrize(
    ("distribution", "reference"),
    [
        (uniform(-1, 3), stats.uniform(-1, 4)),
        (loguniform(1e-6, 1e-3), stats.loguniform(1e-6, 1e-3)),
        (loguniform(1e-5, 1e5), stats.loguniform(1e-5, 1e5)),
    ],
)
def test_draws_follow_the_distribution(distribution, reference):
    assert stats.kstest(drawn(distribution), reference.cdf).pvalue > 0.01


@pytest.mark.parametrize("log", [False, True])
def test_whole_numbers_are_as_likely_as_they_should_be(log):
    values = np.array(drawn(integer(1, 6, log=log), 4000))
    edges = np.arange(1, 8) - 0.5
    weights = np.diff(np.log(edges) if log else edges)
    expected = 4000 * weights / weights.sum()
    assert stats.chisquare(np.bincount(values, minlength=7)[1:], expected).pvalue > 0.01


def test_choices_are_as_likely():
    values = drawn(choice(["a", None, [1, 2]]), 3000)
    counts = [sum(v == c for v in values) for c in ("a", None, [1, 2])]
    assert stats.chisquare(counts).pvalue > 0.01


def test_the_53_bits_of_a_draw():
    u = random.doubles(1000, random.Key(1, 2, 3))
    assert u.dtype == np.float64
    assert stats.kstest(u, "uniform").pvalue > 0.01
    words = random.bits(2, random.Key(1, 2, 3))
    assert u[0] == ((int(words[0]) >> 5) * 2**26 + (int(words[1]) >> 6)) / 2**53  # NumPy's own recipe


def test_settings_depend_on_seed_and_number_alone():
    space = Space({"a": uniform(0, 1), "b": {"c": integer(0, 9)}})
    alone = space.sample(5, 17)
    many = [space.sample(5, i) for i in range(30)]
    assert alone == many[17]
    assert len({p["a"] for p in many}) == 30
    assert space.sample(6, 17) != alone
    assert Space({"a": uniform(0, 1)}).sample(5, 17)["a"] == alone["a"]  # a parameter more changes no other


def test_parameters_of_a_trial_are_independent():
    space = Space({"a": uniform(0, 1), "b": uniform(0, 1)})
    pairs = np.array([list(space.sample(0, i).values()) for i in range(2000)])
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.06


def test_int_is_the_word_for_whole_numbers():
    assert search.int is search.integer
    value = Space({"n": search.int(2, 4)}).sample(0, 0)["n"]
    assert type(value) is int


@given(st.floats(1e-8, 1e8), st.floats(1, 1e6), st.floats(0, 1), st.booleans())
def test_position_inverts_at(low, ratio, u, log):
    d = (loguniform if log else uniform)(low, low * ratio)
    value = d.at(u)
    assert d.low <= value <= d.high
    if ratio > 1.001:
        assert d.position(value) == pytest.approx(u, abs=1e-6)


@given(st.integers(1, 50), st.integers(0, 50), st.floats(0, 1), st.booleans())
def test_whole_numbers_stay_in_range(low, more, u, log):
    value = integer(low, low + more, log=log).at(u)
    assert isinstance(value, int)
    assert low <= value <= low + more


# ---- grids ----


def test_the_grid_of_the_deck_has_36_points():
    space = Space(
        {"lr": loguniform(1e-4, 1e-2), "net": {"reg": loguniform(1e-5, 1e-1)}, "units": integer(10, 40)}
    )
    params = GridSearch({"lr": 3, "net.reg": 3, "units": 4}).settings(space)
    assert len(params) == 36
    grid = pytest.importorskip("sklearn.model_selection").ParameterGrid(
        {"lr": [1e-4, 1e-3, 1e-2], "net.reg": [1e-5, 1e-3, 1e-1], "units": [10, 20, 30, 40]}
    )
    ours = [[p["lr"], p["net"]["reg"], p["units"]] for p in params]
    theirs = [[p["lr"], p["net.reg"], p["units"]] for p in grid]  # the last varies fastest there, too
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_a_grid_takes_all_choices_and_no_number_twice():
    space = Space({"n": integer(1, 3), "c": choice(["a", "b"]), "x": uniform(0, 1)})
    params = GridSearch({"n": 10, "x": 1}).settings(space)
    assert params == [{"n": n, "c": c, "x": 0.5} for n in (1, 2, 3) for c in "ab"]


def test_a_grid_refuses_unknown_names():
    with pytest.raises(ValueError, match=r"no width in the space; it has lr"):
        GridSearch({"width": 3}).settings(Space({"lr": loguniform(1, 2)}))
    with pytest.raises(ValueError, match="at least one point"):
        GridSearch(0).settings(Space({"lr": loguniform(1, 2)}))


# ---- narrowing and edges ----


def test_narrowing_spans_the_best_and_a_margin():
    space = Space(
        {"lr": loguniform(1e-4, 1e0), "x": uniform(0, 10), "n": integer(1, 100), "c": choice("abc")}
    )
    best = [{"lr": 1e-3, "x": 4.0, "n": 20, "c": "a"}, {"lr": 1e-2, "x": 9.9, "n": 30, "c": "c"}]
    found = narrow(space, best, margin=0.05).distributions
    assert found["lr"].low == pytest.approx(10**-3.2)
    assert found["lr"].high == pytest.approx(10**-1.8)
    assert (found["x"].low, found["x"].high) == (3.5, 10.0)  # never wider than before
    assert (found["n"].low, found["n"].high) == (15, 35)
    assert found["c"].values == ("a", "c")


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.floats(0, 0.3))
def test_a_narrowed_space_holds_the_best_and_lies_inside(fractions, margin):
    space = Space({"lr": loguniform(1e-4, 1e0), "n": integer(1, 100, log=True)})
    best = [space.at([u, 1 - u]) for u in fractions]
    for name, d in narrow(space, best, margin).distributions.items():
        before = space.distributions[name]
        assert before.low <= d.low <= min(p[name] for p in best)
        assert max(p[name] for p in best) <= d.high <= before.high


@pytest.mark.parametrize(
    ("value", "side"), [(1.05e-4, "lower"), (9.5e-2, "upper"), (1e-4, "lower"), (1e-2, None), (5e-2, None)]
)
def test_the_edge_warning(value, side):
    warnings = Space({"lr": loguniform(1e-4, 1e-1)}).edges({"lr": value})
    assert len(warnings) == (side is not None)
    if side:
        assert f"at the {side} edge" in warnings[0]
        assert "widen it" in warnings[0]


def test_a_natural_limit_is_no_edge():
    assert Space({"p": uniform(0, 0.5, limits=(0, 1))}).edges({"p": 0.001}) == []
    assert len(Space({"p": uniform(0.1, 0.5, limits=(0, 1))}).edges({"p": 0.101})) == 1
    assert len(Space({"p": uniform(0, 0.5, limits=(0, 1))}).edges({"p": 0.499})) == 1


# ---- bad input ----


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: uniform(2, 1), "uniform: expected finite low <= high, got 2.0 and 1.0"),
        (lambda: uniform(0, math.inf), "uniform: expected finite"),
        (lambda: loguniform(0, 1), "loguniform: a logarithmic range begins above 0"),
        (lambda: integer(0, 1.5), "integer: expected whole numbers"),
        (lambda: choice([]), "choice: expected at least one value"),
        (lambda: Space({"a": 1}), "nothing varies"),
        (lambda: CoarseToFine((60, 30), (5,)), "a number of trials and a budget a round"),
        (lambda: CoarseToFine(keep=0), "keep is a fraction above 0"),
    ],
)
def test_bad_spaces(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_names_are_strings_without_dots():
    with pytest.raises(TypeError, match=r"without dots, got 'a\.b'"):
        Space({"a.b": uniform(0, 1)})


def test_constants_are_kept_and_described():
    space = Space({"a": uniform(0, 1), "net": {"deep": True, "b": choice([1])}})
    assert space.sample(0, 0)["net"] == {"deep": True, "b": 1}
    assert json.loads(json.dumps(space.describe()))["net.deep"] == {"kind": "constant", "value": True}
