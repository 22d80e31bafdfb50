"""Optimizers: first steps by hand, groups, unused and frozen parameters, state, refusals."""

import json
import math

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim
from xpnet.optim.by_name import OPTIMIZERS, make_optimizer

RULES = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.01, initial_accumulator_value=0.2),
    "adadelta": lambda p: optim.Adadelta(p),
    "rmsprop": lambda p: optim.RMSprop(p, momentum=0.5, centered=True),
    "adam": lambda p: optim.Adam(p, lr=0.05),
    "amsgrad": lambda p: optim.Adam(p, lr=0.05, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.05),
    "nadam": lambda p: optim.NAdam(p, lr=0.05),
    "radam": lambda p: optim.RAdam(p, lr=0.05),
    "adamax": lambda p: optim.Adamax(p, lr=0.05),
    "rprop": lambda p: optim.Rprop(p, lr=0.05),
    "asgd": lambda p: optim.ASGD(p, lr=0.05, t0=2),
}
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
DECAYING = {name: rule for name, rule in RULES.items() if name != "rprop"}  # it has no weight decay
each_decaying_rule = pytest.mark.parametrize("rule", DECAYING.values(), ids=DECAYING)


def leaf(*values, dtype="float64"):
    return xpnet.tensor(np.array(values, dtype=dtype), requires_grad=True)


def leaves(sizes=((3, 2), (4,), (2, 2)), seed=0):
    rng = np.random.default_rng(seed)
    return [xpnet.tensor(rng.normal(size=shape), requires_grad=True) for shape in sizes]


def feed(parameters, seed, skip=()):
    """The same random gradients for the same seed; None for the numbers in `skip`."""
    rng = np.random.default_rng(seed)
    for i, p in enumerate(parameters):
        gradient = xpnet.asarray(rng.normal(size=p.shape))
        p.grad = None if i in skip else gradient


def flat(parameters):
    return np.concatenate([p.numpy().reshape(-1) for p in parameters])


# ---- two steps by hand, gradients 2 then -1 from theta = 1, for the formulas of the papers ----

HAND = {
    "sgd": (lambda p: optim.SGD(p, lr=0.1), [1 - 0.2, 1 - 0.2 + 0.1]),
    "weight decay": (lambda p: optim.SGD(p, lr=0.1, weight_decay=0.5), [1 - 0.25, 0.75 - 0.1 * (-1 + 0.375)]),
    "momentum": (lambda p: optim.SGD(p, lr=0.1, momentum=0.5), [0.8, 0.8 - 0.1 * (0.5 * 2 - 1)]),
    "nesterov": (
        lambda p: optim.SGD(p, lr=0.1, momentum=0.5, nesterov=True),
        [1 - 0.1 * (2 + 0.5 * 2), 0.7 - 0.1 * (-1 + 0.5 * (0.5 * 2 - 1))],
    ),
    "adagrad": (lambda p: optim.Adagrad(p, lr=0.1, eps=0.0), [0.9, 0.9 + 0.1 / math.sqrt(5)]),
    "adagrad, eps inside": (
        lambda p: optim.Adagrad(p, lr=0.1, eps=5.0, eps_inside=True),
        [1 - 0.2 / 3, 1 - 0.2 / 3 + 0.1 / math.sqrt(10)],
    ),
    "adadelta": (
        lambda p: optim.Adadelta(p, lr=1.0, rho=0.5, eps=0.25),
        [
            1 - (d1 := 2 * math.sqrt(0.25) / math.sqrt(2 + 0.25)),
            1 - d1 + math.sqrt(d1**2 / 2 + 0.25) / math.sqrt(1.5 + 0.25),
        ],
    ),
    "rmsprop": (
        lambda p: optim.RMSprop(p, lr=0.1, alpha=0.5, eps=0.0),
        [1 - 0.2 / math.sqrt(2), 1 - 0.2 / math.sqrt(2) + 0.1 / math.sqrt(1.5)],
    ),
    "rmsprop, eps inside": (
        lambda p: optim.RMSprop(p, lr=0.1, alpha=0.5, eps=2.0, eps_inside=True),
        [0.9, 0.9 + 0.1 / math.sqrt(3.5)],
    ),
    "adam": (
        lambda p: optim.Adam(p, lr=0.1, betas=(0.5, 0.5), eps=0.0),
        [0.9, 0.9 - 0.1 * 0 / 1],  # m = 1/2 1 - 1/2 = 0
    ),
    "adamw": (lambda p: optim.AdamW(p, lr=0.1, betas=(0.5, 0.5), eps=0.0, weight_decay=1.0), [0.8, 0.72]),
}


@pytest.mark.parametrize(("rule", "path"), HAND.values(), ids=HAND)
def test_two_steps_by_hand(rule, path):
    theta = leaf(1.0)
    optimizer = rule([theta])
    for gradient, expected in zip((2.0, -1.0), path, strict=True):
        theta.grad = xpnet.asarray(np.array([gradient]))
        optimizer.step()
        np.testing.assert_allclose(theta.numpy(), [expected], rtol=1e-12)


# ---- properties ----


@each_rule
def test_a_quadratic_bowl_is_descended(rule):
    theta = leaf(1.0, -2.0, 0.5)
    optimizer = rule([theta])
    first = float((theta * theta).sum())
    for _ in range(60):
        optimizer.zero_grad()
        (theta * theta).sum().backward()
        optimizer.step()
    assert float((theta * theta).sum()) < 0.9 * first


@each_rule
def test_the_dtype_stays(rule):
    theta = leaf(1.0, 2.0, dtype="float32")
    optimizer = rule([theta])
    for _ in range(2):
        theta.grad = xpnet.asarray([0.5, -0.5])
        optimizer.step()
    assert theta.numpy().dtype == np.float32
    for name, value in optimizer.state_dict()["state"][0].items():
        assert name == "step" or xpnet.to_numpy(value).dtype == np.float32


@each_decaying_rule
def test_the_gradient_is_left_as_it_was(rule):
    parameters = leaves()
    optimizer = rule([{"params": parameters, "weight_decay": 0.1}])
    feed(parameters, 3)
    before = [xpnet.to_numpy(p.grad).copy() for p in parameters]
    optimizer.step()
    for p, gradient in zip(parameters, before, strict=True):
        np.testing.assert_array_equal(xpnet.to_numpy(p.grad), gradient)


@each_rule
def test_long_vectors_are_updated_piece_by_piece_alike(rule):
    # NumPy updates a long vector in pieces that fit the cache; every element must be in one
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=100_003), rng.normal(size=(2, 100_003))
    at = [0, *range(999, 100_003, 1000), 100_002]
    long, short = leaf(*start), leaf(*start[at])
    for theta, columns in ((long, slice(None)), (short, at)):
        optimizer = rule([theta])
        for gradient in gradients:
            theta.grad = xpnet.asarray(gradient[columns])
            optimizer.step()
    assert (long.numpy() != start).all()
    np.testing.assert_allclose(long.numpy()[at], short.numpy(), rtol=1e-13)


def test_zero_grad_forgets_and_the_next_gradient_starts_over():
    theta = leaf(3.0)
    optimizer = optim.SGD([theta], lr=0.1)
    for _ in range(2):
        (theta * theta).sum().backward()
    assert xpnet.to_numpy(theta.grad).tolist() == [12.0]
    optimizer.zero_grad()
    assert theta.grad is None
    optimizer.step()  # nothing to do
    assert theta.numpy().tolist() == [3.0]
    (theta * theta).sum().backward()
    assert xpnet.to_numpy(theta.grad).tolist() == [6.0]


# ---- groups ----


@each_decaying_rule
def test_groups_equal_separate_optimizers(rule):
    together, apart = leaves(), leaves()
    grouped = rule(
        [
            {"params": together[0], "lr": 0.5},
            {"params": [together[2], together[1]], "weight_decay": 0.3},
        ]
    )
    one, two = rule([{"params": apart[0], "lr": 0.5}]), rule([{"params": apart[1:], "weight_decay": 0.3}])
    for step in range(5):
        for parameters, optimizers in ((together, [grouped]), (apart, [one, two])):
            feed(parameters, step)
            for optimizer in optimizers:
                optimizer.step()
    np.testing.assert_allclose(flat(together), flat(apart), rtol=1e-12)


def test_weights_decay_and_biases_do_not():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    named = model.named_parameters()
    weights, biases = ([p for n, p in named if n.endswith(kind)] for kind in ("weight", "bias"))
    optimizer = optim.SGD([{"params": weights, "weight_decay": 0.5}, {"params": biases}], lr=0.1)
    before = {n: p.numpy().copy() for n, p in named}
    for p in model.parameters():
        p.grad = xpnet.asarray(np.zeros(p.shape, np.float32))
    optimizer.step()
    for name, p in named:
        np.testing.assert_allclose(
            p.numpy(), before[name] * (0.95 if name.endswith("weight") else 1), rtol=1e-6
        )


def test_a_group_added_later_keeps_the_state_of_the_others():
    parameters, reference = leaves(), leaves()
    optimizer, other = optim.Adam(parameters[:2], lr=0.1), optim.Adam(reference[:2], lr=0.1)
    for step in range(3):
        feed(parameters[:2], step)
        feed(reference[:2], step)
        optimizer.step()
        other.step()
    optimizer.add_param_group({"params": parameters[2], "lr": 0.5})
    late = optim.Adam(reference[2:], lr=0.5)
    for step in range(3, 6):
        feed(parameters, step)
        feed(reference, step)
        for o in (optimizer, other, late):
            o.step()
    np.testing.assert_allclose(flat(parameters), flat(reference), rtol=1e-12)
    assert [optimizer.state_dict()["state"][i]["step"] for i in range(3)] == [6, 6, 3]


def test_an_option_changed_between_steps_holds_from_the_next():
    theta = leaf(1.0)
    optimizer = optim.SGD([theta], lr=0.1)
    for momentum, expected in ((0.0, 0.9), (0.5, 0.8), (0.5, 0.65)):
        optimizer.param_groups[0]["momentum"] = momentum
        theta.grad = xpnet.asarray(np.array([1.0]))
        optimizer.step()
        np.testing.assert_allclose(theta.numpy(), [expected], rtol=1e-12)
    theta = leaf(1.0)
    optimizer = optim.RMSprop([theta], lr=0.1)
    for centered in (False, True, False):
        optimizer.param_groups[0]["centered"] = centered
        optimizer.param_groups[0]["momentum"] = 0.5 * centered
        theta.grad = xpnet.asarray(np.array([1.0]))
        optimizer.step()
    assert np.isfinite(theta.numpy()).all()


def test_numpy_scalars_become_python_numbers():
    theta = leaf(1.0, dtype="float32")
    optimizer = optim.SGD([theta], lr=np.float64(0.5), momentum=np.float32(0.5))
    assert [type(optimizer.param_groups[0][k]) for k in ("lr", "momentum")] == [float, float]
    theta.grad = xpnet.asarray([1.0])
    optimizer.step()
    assert theta.numpy().tolist() == [0.5]


# ---- parameters without a gradient ----


@each_rule
def test_a_parameter_without_a_gradient_is_left_alone_moments_included(rule):
    some, alone = leaves(), leaves()
    optimizer = rule(some)
    separate = [rule([p]) for p in alone]
    for step, skip in enumerate([(), (1,), (0, 1), (2,), (), (0, 1, 2), ()]):
        feed(some, step, skip)
        feed(alone, step, skip)
        optimizer.step()
        for i, o in enumerate(separate):
            if i not in skip:
                o.step()
    np.testing.assert_allclose(flat(some), flat(alone), rtol=1e-12)
    assert [optimizer.state_dict()["state"][i]["step"] for i in range(3)] == [5, 4, 5]


def test_frozen_layers_stay_and_cost_no_rebuild():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    for p in model[0].parameters():
        p.requires_grad = False
    before = [p.numpy().copy() for p in model.parameters()]
    optimizer = optim.Adam(model, lr=0.1)
    x = xpnet.asarray(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32))
    spans = []
    for _ in range(3):
        optimizer.zero_grad()
        xpnet.functional.cross_entropy(model(x), np.arange(8) % 2).backward()
        optimizer.step()
        spans.append(optimizer._spans)
    same = [bool((p.numpy() == b).all()) for p, b in zip(model.parameters(), before, strict=True)]
    assert same == [True, True, False, False]
    assert spans[0] is spans[2]


# ---- state ----


@each_rule
@pytest.mark.parametrize("through", ["same", "numpy"])
def test_a_restored_optimizer_goes_on_as_the_saved_one(rule, through):
    parameters = leaves()
    optimizer = rule([{"params": parameters[:2]}, {"params": parameters[2], "lr": 0.3}])
    for step, skip in enumerate([(), (1,), ()]):
        feed(parameters, step, skip)
        optimizer.step()
    state = optimizer.state_dict()
    if through == "numpy":  # as a file would give it: another backend, text keys
        values = {
            str(i): {k: v if k == "step" else xpnet.to_numpy(v) for k, v in s.items()}
            for i, s in state["state"].items()
        }
        state = {"state": values, "param_groups": json.loads(json.dumps(state["param_groups"]))}
    others = leaves()
    for p, q in zip(others, parameters, strict=True):
        p.data[...] = q.data
    resumed = rule([{"params": others[:2]}, {"params": others[2]}])
    feed(others, 99)
    resumed.load_state_dict(state)
    for step in range(3, 6):
        feed(parameters, step)
        feed(others, step)
        optimizer.step()
        resumed.step()
    np.testing.assert_array_equal(flat(others), flat(parameters))


def test_saved_state_is_a_copy():
    parameters = leaves()
    optimizer = optim.SGD(parameters, lr=0.1, momentum=0.9)
    feed(parameters, 0)
    optimizer.step()
    saved = optimizer.state_dict()
    before = xpnet.to_numpy(saved["state"][0]["momentum_buffer"]).copy()
    feed(parameters, 1)
    optimizer.step()
    np.testing.assert_array_equal(xpnet.to_numpy(saved["state"][0]["momentum_buffer"]), before)
    other = leaves()
    resumed = optim.SGD(other, lr=0.1, momentum=0.9)
    resumed.load_state_dict(saved)
    feed(other, 1)
    resumed.step()
    np.testing.assert_array_equal(xpnet.to_numpy(saved["state"][0]["momentum_buffer"]), before)


def test_a_state_of_another_shape_is_refused_and_changes_nothing():
    parameters = leaves()
    optimizer = optim.SGD(parameters, lr=0.1, momentum=0.9)
    feed(parameters, 0)
    optimizer.step()
    before = optimizer.state_dict()
    others = leaves(((3, 2), (5,), (2, 2)))
    bad = optim.SGD(others, lr=0.7, momentum=0.9)
    feed(others, 0)
    bad.step()
    with pytest.raises(ValueError, match=r"momentum_buffer of parameter 1 is \(5,\), expected \(4,\)"):
        optimizer.load_state_dict(bad.state_dict())
    with pytest.raises(ValueError, match=r"groups of \[2\] parameters, this optimizer of \[3\]"):
        optimizer.load_state_dict(optim.SGD(others[:2], lr=0.7).state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1
    after = optimizer.state_dict()["state"]
    for i, values in before["state"].items():
        buffer = xpnet.to_numpy(after[i]["momentum_buffer"])
        np.testing.assert_array_equal(buffer, xpnet.to_numpy(values["momentum_buffer"]))


# ---- refusals ----

PARAMETER = xpnet.tensor([1.0], requires_grad=True)


@pytest.mark.host
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: optim.SGD(p, lr=-0.1), ValueError, "SGD: lr must be at least 0, got -0.1"),
        (lambda p: optim.SGD(p, lr=math.nan), ValueError, "SGD: lr must be at least 0, got nan"),
        (lambda p: optim.SGD(p, momentum=-1), ValueError, "SGD: momentum must be at least 0, got -1"),
        (lambda p: optim.SGD(p, weight_decay=-1), ValueError, "weight_decay must be at least 0, got -1"),
        (lambda p: optim.SGD(p, nesterov=True), ValueError, "nesterov needs momentum > 0 and dampening 0"),
        (
            lambda p: optim.SGD(p, momentum=0.9, dampening=0.1, nesterov=True),
            ValueError,
            "nesterov needs momentum > 0 and dampening 0",
        ),
        (lambda p: optim.Adagrad(p, lr_decay=-1), ValueError, "Adagrad: lr_decay must be at least 0"),
        (
            lambda p: optim.Adagrad(p, initial_accumulator_value=-1),
            ValueError,
            "initial_accumulator_value must be at least 0",
        ),
        (lambda p: optim.Adadelta(p, rho=1.5), ValueError, r"Adadelta: rho must be in \[0, 1\), got 1.5"),
        (lambda p: optim.RMSprop(p, alpha=1.0), ValueError, r"RMSprop: alpha must be in \[0, 1\), got 1.0"),
        (lambda p: optim.RMSprop(p, eps=-1e-8), ValueError, "RMSprop: eps must be at least 0, got -1e-08"),
        (
            lambda p: optim.Adam(p, betas=(0.9, 1.0)),
            ValueError,
            r"Adam: betas must be .*\[0, 1\), got \(0.9, 1.0\)",
        ),
        (lambda p: optim.Adam(p, betas=0.9), ValueError, "Adam: betas must be .*got 0.9"),
        (lambda p: optim.Adam(p, betas=(0.9,)), ValueError, "Adam: betas must be .*got "),
        (lambda p: optim.AdamW(p, betas=(-0.1, 0.9)), ValueError, "AdamW: betas must be "),
        (lambda p: optim.Adam(p, lr="0.1"), TypeError, "Adam: lr must be a number, got '0.1'"),
        (lambda p: optim.Adam([{"params": p, "lr": -1}]), ValueError, "Adam: lr must be at least 0, got -1"),
        (
            lambda p: optim.Adam([{"params": p, "momentum": 0.9}]),
            ValueError,
            "Adam: unknown option 'momentum'; options are lr, betas, eps, weight_decay, amsgrad",
        ),
        (lambda p: optim.SGD([]), ValueError, "params is empty: there is nothing to train"),
        (lambda p: optim.SGD(p[0]), TypeError, r"got one Tensor; pass \[tensor\]"),
        (lambda p: optim.SGD([np.zeros(2)]), TypeError, "expected parameters, got ndarray"),
        (lambda p: optim.SGD([p[0] * 2]), TypeError, "only a leaf"),
        (lambda p: optim.SGD([p[0], p[0]]), ValueError, "a parameter appears"),
        (lambda p: optim.SGD([{"params": p}, {"params": p}]), ValueError, "a parameter appears"),
        (lambda p: optim.SGD([{"lr": 0.1}]), ValueError, "a group must be a dict with 'params'"),
        (lambda p: optim.SGD([{"params": p}, p[0]]), ValueError, "a group must be a dict with 'params'"),
    ],
)
def test_wrong_options_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make([PARAMETER])


def test_the_base_class_has_no_rule():
    theta = leaf(1.0)
    theta.grad = xpnet.asarray(np.array([1.0]))
    with pytest.raises(NotImplementedError):
        optim.Optimizer([theta], lr=0.1).step()


@each_rule
def test_a_leaf_without_a_common_vector_is_updated_with_its_newest_gradient(rule, monkeypatch):
    """Outside of a vector a leaf adopts the array of each step: nothing may keep an earlier one."""
    results = []
    for views in (True, False):
        if not views:
            monkeypatch.setattr("xpnet.nn.flat.has_views", lambda backend: False)
        x = leaf(1.0, -2.0, 3.0)
        optimizer = rule([x])
        for factor in (1.0, -3.0, 0.5, 2.0):
            optimizer.zero_grad()
            (x * xpnet.asarray(np.array([factor, 1.0, -factor]))).sum().backward()
            optimizer.step()
        results.append(x.numpy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


# ---- by name ----


@pytest.mark.host
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_by_name_is_of_weights_only(name):
    """Of matrices and kernels; biases and norms keep what they have."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    plain, *others = make_optimizer(name, model).param_groups
    assert len(others) == (1 if name == "muon" else 0)  # which has filters and tables apart
    assert sum(len(group["params"]) for group in (plain, *others)) == 6
    assert {group["weight_decay"] for group in (plain, *others)} == {0.0}
    decayed, rest = make_optimizer(name, model, 0.25, 0.125).param_groups
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in rest["params"]] == [1] * 4
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.125, 0.0)
    assert decayed["lr"] == rest["lr"] == 0.25
    assert plain["lr"] == OPTIMIZERS[name][2]


@pytest.mark.host
def test_a_checkpoint_from_before_an_option_is_of_the_same_rule():
    """It lacks the option, which then had its default."""
    name, model = "decoupled_weight_decay", nn.Linear(2, 2)
    for rule, usual in ((optim.Adam, False), (optim.AdamW, True)):
        assert name not in rule(model).settings()
        assert rule(model, decoupled_weight_decay=not usual).settings()[name] is not usual
