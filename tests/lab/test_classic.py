"""McCulloch-Pitts units, Hebb's rule and the perceptron: truth tables, hand traces, and the mistake bound."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xpnet
from xpnet import classic
from xpnet.classic import AND, NOT, OR, XOR, hebb, mcculloch_pitts, mistake_bound, mistakes, perceptron

PAIRS = np.array(list(itertools.product([0.0, 1.0], repeat=2)), dtype=np.float32)


def columns():
    x = xpnet.asarray(PAIRS)
    return x[:, 0], x[:, 1]


@pytest.mark.parametrize(
    ("gate", "table"),
    [(AND, [0, 0, 0, 1]), (OR, [0, 1, 1, 1]), (XOR, [0, 1, 1, 0])],
    ids=["AND", "OR", "XOR"],
)
def test_truth_tables(gate, table):
    out = gate(*columns())
    assert out.dtype == columns()[0].dtype
    assert xpnet.to_numpy(out).tolist() == table


def test_not_and_three_inputs():
    a, b = columns()
    assert xpnet.to_numpy(NOT(a)).tolist() == [1, 1, 0, 0]
    assert xpnet.to_numpy(AND(a, b, a)).tolist() == [0, 0, 0, 1]
    assert xpnet.to_numpy(OR(NOT(a), b, b)).tolist() == [1, 1, 0, 1]


def test_threshold_is_reached_not_passed():
    x = xpnet.asarray([[0.5], [0.75]])
    assert xpnet.to_numpy(mcculloch_pitts(x, [2.0], 1.5)).tolist() == [0, 1]
    assert xpnet.to_numpy(mcculloch_pitts(x, [2.0], 1.0)).tolist() == [1, 1]


def test_mcculloch_pitts_wants_a_weight_for_each_input():
    with pytest.raises(ValueError, match="3 weights"):
        mcculloch_pitts(xpnet.asarray(PAIRS), [1, 1, 1], 1)


def test_with_bias():
    out = xpnet.to_numpy(classic.with_bias(xpnet.asarray(PAIRS)))
    assert np.array_equal(out, np.c_[PAIRS, np.ones(4)])


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_hebb_is_the_sum_of_correlations(n, d, seed):
    rng = np.random.default_rng(seed)
    x, t = rng.integers(-3, 4, (n, d)).astype(float), rng.integers(-2, 3, n).astype(float)
    expected = np.cumsum(t[:, None] * x, axis=0)
    assert np.array_equal(xpnet.to_numpy(hebb(xpnet.asarray(x), xpnet.asarray(t))), expected)


@given(st.integers(0, 10**6))
def test_perceptron_within_the_bound(seed):
    """Novikoff's theorem, on random separable data."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(3)
    x = rng.standard_normal((12, 3))
    x = x[np.abs(x @ w) > 0.2]
    if not len(x):
        return
    t = np.sign(x @ w)
    x, t, w = xpnet.asarray(x), xpnet.asarray(t), xpnet.asarray(w)
    run = perceptron(x, t, max_updates=10**5)
    assert run.converged
    assert int(mistakes(x, t, run.final)) == 0
    assert run.updates <= mistake_bound(x, t, w)


def test_each_update_adds_a_mistake():
    xpnet.manual_seed(3)
    x = classic.with_bias(xpnet.asarray(2 * PAIRS - 1))
    t = xpnet.asarray([-1.0, 1.0, 1.0, -1.0])  # XOR: never ends
    start = xpnet.asarray([0.5, -0.25, 1.0])
    run = perceptron(x, t, start, max_updates=50)
    assert not run.converged
    assert run.updates == 50
    w, samples = xpnet.to_numpy(run.weights), xpnet.to_numpy(x) * xpnet.to_numpy(t)[:, None]
    assert np.array_equal(w[0], [0.5, -0.25, 1.0])
    for before, after in itertools.pairwise(w):
        wrong = samples[samples @ before <= 0]
        assert any(np.allclose(after - before, s) for s in wrong)


def test_mistakes_are_picked_at_random():
    x = xpnet.asarray(np.eye(8, dtype=np.float32))  # from w = 0 all are mistakes, each is corrected once
    w = xpnet.to_numpy(perceptron(x, xpnet.asarray(np.ones(8))).weights)
    order = np.diff(w, axis=0).argmax(axis=1).tolist()
    assert sorted(order) == list(range(8))
    assert order != list(range(8))


def test_mistake_bound_of_and():
    x = classic.with_bias(xpnet.asarray(2 * PAIRS - 1))  # R^2 = 3, smallest margin 1 / sqrt(3)
    bound = mistake_bound(x, xpnet.asarray([-1.0, -1.0, -1.0, 1.0]), xpnet.asarray([1.0, 1.0, -1.0]))
    assert bound == pytest.approx(9, rel=1e-6)


def test_predict_one_and_many():
    x = xpnet.asarray([[1.0, 1.0], [-2.0, 1.0], [0.0, 1.0]])
    w = xpnet.asarray([[1.0, 0.0], [0.0, -1.0]])
    assert xpnet.to_numpy(classic.predict(x, w[0, :])).tolist() == [1, -1, 1]
    assert xpnet.to_numpy(classic.predict(x, w)).tolist() == [[1, -1, 1], [-1, -1, -1]]


def test_errors_of_bad_input():
    x = xpnet.asarray(PAIRS)
    with pytest.raises(ValueError, match=r"targets \(n,\)"):
        hebb(x, xpnet.asarray([1.0, -1.0]))
    with pytest.raises(ValueError, match="does not separate"):
        mistake_bound(x, xpnet.asarray([1.0, -1.0, -1.0, 1.0]), xpnet.asarray([1.0, 1.0]))
