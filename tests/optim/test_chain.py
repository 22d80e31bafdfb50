"""Transforms of the gradients before the update: alone, in order, with every rule, through a checkpoint."""

import copy
import json

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim
from xpnet.optim import Accumulate, ClipNorm, ClipValue, Decay, Noise, chain


def leaves(*values):
    return [xpnet.tensor(np.float32(v), requires_grad=True) for v in values]


def feed(parameters, *gradients):
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = None if g is None else xpnet.asarray(np.float32(g))


def lists(parameters):
    return [p.numpy().tolist() for p in parameters]


def test_the_order_is_that_of_the_arguments():
    for transforms, expected in (
        ([ClipNorm(1.0), Decay(2.0)], [10 - (1 + 20)]),
        ([Decay(2.0), ClipNorm(1.0)], [10 - 1]),
        ([ClipValue(0.5), Decay(0.1), ClipNorm(1.0)], [10 - 1]),
    ):
        parameters = leaves([10.0])
        feed(parameters, [8.0])
        chain(*transforms, optim.SGD(parameters, lr=1.0)).step()
        np.testing.assert_allclose(lists(parameters)[0], expected, rtol=1e-5)


def test_clipping_is_joint_and_leaves_out_what_has_no_gradient():
    parameters = leaves([0.0], [0.0, 0.0], [0.0])
    feed(parameters, [3.0], None, [4.0])
    chain(ClipNorm(1.0), optim.SGD(parameters, lr=1.0)).step()
    np.testing.assert_allclose([lists(parameters)[0][0], lists(parameters)[2][0]], [-0.6, -0.8], rtol=1e-5)
    assert lists(parameters)[1] == [0, 0]


def test_decay_is_the_weight_decay_of_the_rules():
    ours, theirs = leaves([1.0, -2.0], [3.0]), leaves([1.0, -2.0], [3.0])
    one, two = chain(Decay(0.1), optim.Adam(ours, lr=0.1)), optim.Adam(theirs, lr=0.1, weight_decay=0.1)
    for step in range(3):
        for parameters, rule in ((ours, one), (theirs, two)):
            feed(parameters, [step, 1.0], [0.5])
            rule.step()
    np.testing.assert_allclose(lists(ours)[0], lists(theirs)[0], rtol=1e-5)


def test_noise_is_that_of_gradient_noise():
    found = []
    for chained in (True, False):
        xpnet.manual_seed(3)
        parameters = leaves([0.0, 0.0, 0.0], [0.0])
        rule = optim.SGD(parameters, lr=1.0)
        noise = optim.GradientNoise(parameters, eta=0.3)
        if chained:
            rule, noise = chain(Noise(eta=0.3), rule), lambda: None
        for _ in range(2):
            feed(parameters, [0.0, 0.0, 0.0], [0.0])
            noise()
            rule.step()
        found.append(lists(parameters))
    assert found[0] == found[1]
    assert all(v != 0 for v in found[0][0] + found[0][1])


def test_accumulation_is_a_larger_batch():
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    small = chain(Accumulate(3), ClipNorm(0.5), optim.Adam(ours, lr=0.1))
    large = chain(ClipNorm(0.5), optim.Adam(theirs, lr=0.1))
    for epoch in range(2):
        for i in range(0, 12, 2):
            small.zero_grad()
            (ours(xpnet.asarray(x[i : i + 2])) ** 2).mean().backward()
            small.step()
        for i in range(0, 12, 6):
            large.zero_grad()
            (theirs(xpnet.asarray(x[i : i + 6])) ** 2).mean().backward()
            large.step()
        np.testing.assert_allclose(ours.weight.numpy(), theirs.weight.numpy(), rtol=1e-4)
        assert small.state_dict()["state"][0]["step"] == 2 * (epoch + 1)


def test_16_bit_gradients_are_transformed_at_their_size(backend):
    if backend == "array_api_strict":
        pytest.skip("the standard has no float16")
    theta = xpnet.tensor(xpnet.asarray(np.float32([0.0, 0.0]), "float16"), requires_grad=True)
    rule = chain(ClipNorm(1.0), optim.SGD([theta], lr=1.0))
    theta.grad = xpnet.asarray(np.float32([48.0, 64.0]), "float16")
    rule.half_factor = 1 / 16  # as `LossScaler.unscale` leaves it: the gradient is (3, 4)
    rule.step()
    np.testing.assert_allclose(np.float32(theta.numpy()), [-0.6, -0.8], rtol=1e-3)


def test_a_state_goes_through_a_file_and_copies():
    def made(parameters):
        return chain(Accumulate(2), Noise(0.5), optim.SGD(parameters, lr=1.0, momentum=0.5))

    xpnet.manual_seed(1)
    parameters = leaves([1.0, 2.0])
    rule = made(parameters)
    for _ in range(4):
        rule.zero_grad()
        feed(parameters, [1.0, 1.0])
        rule.step()
    state = rule.state_dict()
    assert json.loads(json.dumps(state["transforms"])) == [{"t": 0}, {"t": 2}]
    assert rule.settings()["transforms"] == [
        {"transform": "Accumulate", "every": 2},
        {"transform": "Noise", "eta": 0.5, "gamma": 0.55},
    ]
    others = leaves(parameters[0].numpy())
    resumed = made(others)
    resumed.load_state_dict(state)
    copied, copied_parameters = copy.deepcopy((rule, parameters))
    generators = xpnet.random.generator_state()
    results = []
    for o, group in ((rule, parameters), (resumed, others), (copied, copied_parameters)):
        xpnet.random.set_generator_state(generators)
        for _ in range(2):
            o.zero_grad()
            feed(group, [1.0, 1.0])
            o.step()
        results.append(lists(group))
    assert results[0] == results[1] == results[2]
    assert "transforms" not in optim.SGD(others).state_dict()
    with pytest.raises(ValueError, match="state has 2 transforms, this optimizer 0"):
        optim.SGD(leaves([1.0, 2.0]), momentum=0.5).load_state_dict(state)


def test_a_transform_of_ones_own():
    class Sign(optim.Transform):
        def update(self, spans):
            for span in spans:
                span.grads[...] = xpnet.namespace(span.grads).sign(span.grads)
            return True

    parameters = leaves([0.0, 0.0])
    feed(parameters, [7.0, -0.1])
    chain(Sign(), optim.SGD(parameters, lr=0.5)).step()
    assert lists(parameters) == [[-0.5, 0.5]]


@pytest.mark.host
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ClipNorm(-1), ValueError, "ClipNorm: max_norm must be at least 0, got -1"),
        (lambda: ClipValue(0), ValueError, "ClipValue: clip_value must be above 0, got 0"),
        (lambda: Noise(-1), ValueError, "Noise: eta must be at least 0, got -1"),
        (lambda: Decay(-1), ValueError, "Decay: weight_decay must be at least 0, got -1"),
        (lambda: Accumulate(0), ValueError, "Accumulate: every must be at least 1, got 0"),
        (lambda: chain(ClipNorm(1.0)), TypeError, "chain: expected an optimizer at the end, got ClipNorm"),
        (lambda: chain(), TypeError, "chain: expected an optimizer at the end"),
        (
            lambda: chain(print, optim.SGD(leaves([1.0]))),
            TypeError,
            "chain: expected transforms before the optimizer, got builtin_function_or_method",
        ),
    ],
)
def test_mistakes_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("waiting", [True, False])
def test_a_state_has_the_gradients_that_a_step_waits_for(waiting):
    """Whatever was being added up when it is loaded is forgotten."""

    def made():
        x = xpnet.tensor([1.0, 2.0], requires_grad=True)
        unused = xpnet.tensor([5.0], requires_grad=True)
        return x, unused, chain(Accumulate(2), optim.SGD([x, unused], lr=0.1, momentum=0.9))

    def passes(x, rule, factors):
        for factor in factors:
            rule.zero_grad()
            (x * factor).sum().backward()
            rule.step()

    x, _, rule = made()
    first, rest = ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) if waiting else ([1.0, 2.0], [3.0, 4.0])
    passes(x, rule, first)
    state, values = rule.state_dict(), xpnet.to_numpy(x.data).copy()
    assert ("grad" in state["state"][0]) == waiting
    assert "grad" not in state["state"].get(1, {})
    y, unused, other = made()
    passes(y, other, [100.0])  # in the middle of something else
    (unused * 7).sum().backward()
    y.data = xpnet.asarray(values)
    other.load_state_dict(state)
    passes(x, rule, rest)
    passes(y, other, rest)
    np.testing.assert_array_equal(xpnet.to_numpy(x.data), xpnet.to_numpy(y.data))
    np.testing.assert_array_equal(xpnet.to_numpy(unused.data), [5.0])


def test_accumulation_counts_the_gradients_that_wait():
    """The count is what a checkpoint holds, whoever goes on from it."""
    parameters = leaves([0.0])
    rule = chain(Accumulate(3), optim.SGD(parameters, lr=1.0))
    for waiting in (1, 2, 0, 1):
        feed(parameters, [1.0])
        rule.step()
        assert rule.state_dict()["transforms"] == [{"t": waiting}]
