"""How many updates a step makes: spans break at the group, the presence of a gradient and the step count."""

import copy

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim
from xpnet.optim import moments as moments_file

LAYERS = 50


def deep(layers=LAYERS, dtype="float32"):
    xpnet.manual_seed(0)
    return nn.Sequential(*[nn.Linear(4, 4, dtype=dtype) for _ in range(layers)])


def feed(model, seed, skip=()):
    rng = np.random.default_rng(seed)
    for i, p in enumerate(model.parameters()):
        gradient = xpnet.asarray(rng.normal(size=p.shape), p.dtype)
        p.grad = None if i in skip else gradient


def host(parameters):
    return np.concatenate([np.float64(p.numpy()).ravel() for p in parameters])


class Counted(optim.Adam):
    """Adam that notes the parameters of each update."""

    def update(self, span):
        vars(self).setdefault("seen", []).append(len(span.parameters))
        super().update(span)

    def made(self):
        return vars(self).pop("seen", [])


RULES = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1, lr_decay=0.1),
    "adadelta": lambda p: optim.Adadelta(p),
    "rmsprop": lambda p: optim.RMSprop(p, momentum=0.5, centered=True),
    "amsgrad": lambda p: optim.Adam(p, lr=0.05, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.05),
}
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def test_a_whole_model_is_one_update():
    model = deep()
    rule = Counted(model)
    for step in range(3):
        feed(model, step)
        rule.step()
        assert rule.made() == [2 * LAYERS]


def test_a_frozen_weight_makes_two_spans():
    model = deep()
    model[20].weight.requires_grad = False
    rule = Counted(model)
    x = xpnet.asarray(np.ones((2, 4), np.float32))
    before = model[20].weight.numpy().copy()
    for _ in range(3):
        rule.zero_grad()
        model(x).sum().backward()
        rule.step()
        assert rule.made() == [40, 2 * LAYERS - 41]
    np.testing.assert_array_equal(model[20].weight.numpy(), before)
    model[20].weight.requires_grad = True
    for _ in range(2):  # it has made fewer steps than its neighbours, and keeps a span of its own
        rule.zero_grad()
        model(x).sum().backward()
        rule.step()
        assert rule.made() == [40, 1, 2 * LAYERS - 41]


def test_alternating_parts_need_no_new_moments(monkeypatch):
    built = []
    block = moments_file.Block.__init__
    monkeypatch.setattr(
        moments_file.Block, "__init__", lambda self, *args: built.append(1) or block(self, *args)
    )
    model = deep(6)
    rule = Counted(model)
    first, second = set(range(6)), set(range(6, 12))
    for step in range(6):
        feed(model, step, skip=first if step % 2 else second)
        rule.step()
        assert rule.made() == [6]
    feed(model, 6)
    rule.step()
    assert rule.made() == [12]  # both have made three steps: neighbours again
    assert len(built) == 1
    assert [rule.state_dict()["state"][i]["step"] for i in (0, 11)] == [4, 4]


def test_groups_break_spans():
    model = deep(4)
    weights = [p for p in model.parameters() if p.ndim == 2]
    biases = [p for p in model.parameters() if p.ndim == 1]
    rule = Counted([{"params": weights, "weight_decay": 0.1}, {"params": biases}])
    feed(model, 0)
    rule.step()
    assert rule.made() == [4, 4]


def test_one_vector_a_dtype():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, dtype="float64"), nn.Linear(4, 4))
    rule, copied = Counted(model), copy.deepcopy(model)
    alone = [optim.Adam([p]) for p in copied.parameters()]
    for step in range(3):
        feed(model, step, skip=[5] if step == 1 else [])
        feed(copied, step, skip=[5] if step == 1 else [])
        rule.step()
        for o in alone:
            o.step()
    np.testing.assert_allclose(host(model.parameters()), host(copied.parameters()), rtol=1e-6)
    assert len({id(p._flat) for p in model.parameters()}) == 2


PRESENCE = [(), (3,), (0, 1, 2), (3,), (), (4, 5, 6, 7), (0, 7), (), tuple(range(8)), ()]


@each_rule
@pytest.mark.parametrize("views", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_any_presence_of_gradients_equals_one_optimizer_a_parameter(rule, views, dtype, backend, monkeypatch):
    if dtype == "float16" and backend == "array_api_strict":
        pytest.skip("the standard has no float16")
    together, apart = deep(4, dtype), deep(4, dtype)
    if not views:
        for name in ("flat", "module"):
            monkeypatch.setattr(f"xpnet.nn.{name}.has_views", lambda backend: False)
    whole, alone = rule(together), [rule([p]) for p in apart.parameters()]
    for step, skip in enumerate(PRESENCE):
        feed(together, step, skip)
        feed(apart, step, skip)
        whole.step()
        for o in alone:
            o.step()
        if step == 4:  # through a checkpoint
            state = whole.state_dict()
            whole = rule(together)
            whole.load_state_dict(state)
    np.testing.assert_allclose(host(together.parameters()), host(apart.parameters()), rtol=1e-12)
    counts = [whole.state_dict()["state"][i]["step"] for i in range(8)]
    assert counts == [sum(i not in skip for skip in PRESENCE) for i in range(8)]


@each_rule
def test_moments_follow_parameters_that_move_one_by_one(rule):
    together, apart = deep(3), deep(3)
    whole, alone = rule(together), [rule([p]) for p in apart.parameters()]
    for step in range(8):
        feed(together, step)
        feed(apart, step)
        if step == 2:
            _ = nn.Sequential(together[1], nn.Linear(2, 2)).theta
        if step == 4:
            _ = together.theta
        if step == 6:
            together[0].to("float64").to("float32")
        whole.step()
        for o in alone:
            o.step()
    np.testing.assert_allclose(host(together.parameters()), host(apart.parameters()), rtol=2e-6)


def test_an_eps_of_zero_makes_no_nan_between_parameters():
    parameters = [xpnet.tensor(np.ones(n, np.float32), requires_grad=True) for n in (3, 1, 5)]
    rule = optim.Adagrad(parameters, lr=0.1, eps=0.0)
    with np.errstate(all="raise"):
        for _ in range(3):
            for p in parameters:
                p.grad = xpnet.asarray(np.ones(p.shape, np.float32))
            rule.step()
    flat = parameters[0]._flat
    assert not flat.packed
    assert np.isfinite(xpnet.to_numpy(flat.values)).all()


def test_a_step_that_fails_is_not_counted():
    class Failing(optim.SGD):
        def update(self, span):
            raise FloatingPointError

    model = deep(1)
    rule = Failing(model, momentum=0.9)
    feed(model, 0)
    with pytest.raises(FloatingPointError):
        rule.step()
    assert rule.state_dict()["state"][0]["step"] == 0


# ---- declared hyperparameters ----


@pytest.mark.host
def test_a_rule_is_a_class_body():
    class Halving(optim.Optimizer):
        """theta <- theta - lr rate g."""

        lr: float = 0.5
        rate: float = 2.0

        def update(self, span):
            span.values[...] = span.values - span.h.lr * span.h.rate * span.grads

    class Slower(Halving):
        rate: float = 1.0
        power: int = 3

    x = xpnet.tensor([1.0], requires_grad=True)
    rule = Slower([x], 0.25)
    assert rule.defaults == {"lr": 0.25, "rate": 1.0, "power": 3}
    assert not hasattr(rule, "rate")  # it would hold for nothing
    x.grad = xpnet.asarray([1.0])
    rule.step()
    assert x.numpy().tolist() == [0.75]
    copied, (y,) = copy.deepcopy((rule, [x]))
    y.grad = xpnet.asarray([1.0])
    copied.step()
    assert y.numpy().tolist() == [0.5]
    with pytest.raises(TypeError, match="Slower: got an unexpected keyword argument 'speed'"):
        Slower([x], speed=1)
    with pytest.raises(TypeError, match="Adagrad: too many positional arguments"):
        optim.Adagrad([x], 0.1, 0.0, 0.0, 0.0, 1e-3, True)
    with pytest.raises(TypeError, match=r"missing .*'params'"):
        optim.Adam()


@pytest.mark.host
def test_a_subclass_with_a_constructor_of_its_own():
    class Plain(optim.Optimizer):
        def __init__(self, params, lr, factor=2.0):
            super().__init__(params, lr=lr, factor=factor)

        def update(self, span):
            span.values[...] -= span.h.lr * span.h.factor * span.grads

    class Warm(optim.Adam):
        def __init__(self, params):
            super().__init__(params, lr=0.25, eps=0.0)

    for make, expected in ((lambda p: Plain(p, 0.25), 0.5), (Warm, 0.75)):
        x = xpnet.tensor([1.0], requires_grad=True)
        rule = make([x])
        x.grad = xpnet.asarray([1.0])
        rule.step()
        assert x.numpy().tolist() == [expected]


@pytest.mark.host
def test_signatures_are_pytorchs():
    import inspect

    assert str(inspect.signature(optim.Adagrad)).replace("'", "") == (
        "(params, lr: Rate = 0.01, lr_decay: float = 0.0, weight_decay: float = 0.0, "
        "initial_accumulator_value: float = 0.0, eps: float = 1e-10, *, eps_inside: bool = False, "
        "maximize: bool = False)"
    )
    assert list(inspect.signature(optim.AdamW).parameters) == [
        *("params", "lr", "betas", "eps", "weight_decay", "amsgrad", "maximize"),
        "decoupled_weight_decay",
    ]
    assert inspect.signature(optim.AdamW).parameters["weight_decay"].default == 0.01
    assert inspect.signature(optim.Adam).parameters["weight_decay"].default == 0.0


# ---- a learning rate that is a function ----


def test_a_rate_may_be_a_function_of_the_steps_made():
    asked = []

    def rate(step):
        asked.append(step)
        return 1.0 / (1 + step)

    x, y = (xpnet.tensor(np.zeros(1), requires_grad=True) for _ in range(2))
    rule = optim.SGD([{"params": [x]}, {"params": [y], "lr": 0.5}], lr=rate, momentum=0.5)
    path = []
    for step in range(4):
        for p in (x, y):
            p.grad = xpnet.asarray(np.ones(1))
        rule.step()
        path.append((x.item(), y.item(), rule.param_groups[0]["lr"], rule.param_groups[1]["lr"]))
        if step == 1:  # a checkpoint keeps its place
            state = rule.state_dict()
            assert state["param_groups"][0]["lr"] == 0.5
            rule = optim.SGD([{"params": [x]}, {"params": [y], "lr": 0.5}], lr=rate, momentum=0.5)
            rule.load_state_dict(state)
    velocity = [1.0, 1.5, 1.75, 1.875]
    rates = [1.0, 1 / 2, 1 / 3, 1 / 4]
    np.testing.assert_allclose([p[0] for p in path], -np.cumsum(np.multiply(velocity, rates)))
    np.testing.assert_allclose([p[1] for p in path], -0.5 * np.cumsum(velocity))
    assert [p[2:] for p in path] == [(r, 0.5) for r in rates]
    assert sorted(set(asked)) == [0, 1, 2, 3]
    assert rule.settings()["lr"] == "rate"


@pytest.mark.host
def test_a_schedule_of_a_function_is_refused():
    x = xpnet.tensor([0.0], requires_grad=True)
    rule = optim.Adam([x], lr=lambda step: 0.1)
    with pytest.raises(ValueError, match="StepLR: the learning rate is a function already"):
        optim.StepLR(rule, 1)
    with pytest.raises(ValueError, match="Adam: lr must be at least 0, got -1"):
        optim.Adam([x], lr=lambda step: -1)


@pytest.mark.host
@pytest.mark.parametrize("later", [-1.0, float("nan")])
def test_a_function_that_gives_no_rate_later_is_refused(later):
    x = xpnet.tensor([1.0], requires_grad=True)
    rule = optim.SGD([x], lr=lambda step: later if step else np.float64(0.1))
    (x * x).sum().backward()
    rule.step()
    assert type(rule.param_groups[0]["lr"]) is float
    with pytest.raises(ValueError, match=f"SGD: lr must be at least 0, got {later}"):
        rule.step()
    np.testing.assert_allclose(x.numpy(), [0.8], rtol=1e-6)
    assert rule.state_dict()["state"][0]["step"] == 1


@pytest.mark.parametrize("views", [True, False])
@pytest.mark.parametrize("kind", [xpnet.tensor, nn.Parameter])
def test_values_assigned_between_steps_are_trained(kind, views, monkeypatch):
    """The optimizer has the parameters in one vector, if any: `data` that is assigned goes there."""
    if not views:
        monkeypatch.setattr("xpnet.nn.flat.has_views", lambda backend: False)
    x, y = kind(xpnet.asarray([1.0, 2.0])), kind(xpnet.asarray([1.0]))
    x.requires_grad = y.requires_grad = True
    rule = optim.SGD([x, y], lr=0.5, momentum=0.5)
    for value in ([1.0, 2.0], [10.0, 20.0]):
        x.data = xpnet.asarray(value)
        rule.zero_grad()
        (x * 1).sum().backward()
        rule.step()
    np.testing.assert_allclose(xpnet.to_numpy(x.data), [9.25, 19.25])


def test_gradients_that_somebody_keeps_are_not_stepped_with_again():
    """A kept gradient is what it was; the next ones are in other memory, where the step looks."""
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = xpnet.asarray([[0.0, 0.0]])
    rule = optim.SGD(model, lr=1.0)
    for factor in (1.0, 10.0):
        rule.zero_grad()
        (model.weight * factor).sum().backward()
        rule.step()
        kept = model.weight.grad
    np.testing.assert_array_equal(xpnet.to_numpy(model.weight.data), [[-11.0, -11.0]])
    np.testing.assert_array_equal(xpnet.to_numpy(kept), [[10.0, 10.0]])


def test_a_rate_follows_the_steps_of_the_group_not_of_a_frozen_weight():
    x, y = (xpnet.tensor([0.0], requires_grad=True) for _ in range(2))
    rule = optim.SGD([x, y], lr=lambda step: 1.0 / (1 + step))
    for _ in range(3):
        x.grad = xpnet.asarray([1.0])
        rule.step()
    assert rule.param_groups[0]["lr"] == pytest.approx(1 / 3)


def test_eps_may_become_0_between_steps():
    """The elements between aligned parameters then stay 0, not 0 / 0."""
    x, y = (xpnet.tensor(v, requires_grad=True) for v in ([1.0, 2.0, 3.0], [4.0]))
    rule = optim.Adam([x, y], lr=0.1)
    for eps in (1e-8, 0.0):
        rule.param_groups[0]["eps"] = eps
        for p in (x, y):
            p.grad = xpnet.asarray(np.ones(p.shape, np.float32))
        with np.errstate(invalid="raise"):
            rule.step()
    np.testing.assert_allclose(xpnet.to_numpy(x.data), [0.8, 1.8, 2.8], rtol=1e-5)
