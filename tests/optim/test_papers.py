"""Rules that PyTorch does not have, against their papers' algorithms written with one array a parameter."""

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim
from xpnet.optim.muon import orthogonal

SHAPES = ((4, 3), (5,), (2, 3, 2))


def start(dtype="float64"):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(dtype) for shape in SHAPES]


def gradients(t):
    rng = np.random.default_rng(100 + t)
    return [rng.normal(size=shape) * 10 ** rng.uniform(-2, 1) for shape in SHAPES]


def lion(theta, state, g, t):
    """Chen et al., 2023, algorithm 2: lr 0.1, b1 0.9, b2 0.99, weight decay 0.2."""
    m = state.setdefault("m", np.zeros_like(theta))
    c = 0.9 * m + 0.1 * g
    state["m"] = 0.99 * m + 0.01 * g
    return theta - 0.1 * (np.sign(c) + 0.2 * theta)


def lamb(theta, state, g, t):
    """You et al., 2020, algorithm 2: lr 0.1, betas 0.8 and 0.9, eps 1e-3, weight decay 0.2."""
    state["m"] = 0.8 * state.get("m", 0) + 0.2 * g
    state["v"] = 0.9 * state.get("v", 0) + 0.1 * g * g
    r = state["m"] / (1 - 0.8**t) / (np.sqrt(state["v"] / (1 - 0.9**t)) + 1e-3)
    u = r + 0.2 * theta
    lengths = np.linalg.norm(theta), np.linalg.norm(u)
    return theta - 0.1 * (lengths[0] / lengths[1] if min(lengths) > 0 else 1.0) * u


PAPERS = {
    "Lion": (lambda p: optim.Lion(p, lr=0.1, weight_decay=0.2), lion),
    "LAMB": (lambda p: optim.LAMB(p, lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.2), lamb),
}


@pytest.mark.parametrize(("make", "paper"), PAPERS.values(), ids=PAPERS)
def test_the_path_is_the_papers(make, paper):
    ours = [xpnet.tensor(a, requires_grad=True) for a in start()]
    theirs, states, rule = start(), [{} for _ in SHAPES], make(ours)
    for t in range(1, 30):
        for i, (p, g) in enumerate(zip(ours, gradients(t), strict=True)):
            p.grad = xpnet.asarray(g)
            theirs[i] = paper(theirs[i], states[i], g, t)
        rule.step()
        for p, a in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.numpy(), a, rtol=1e-10, atol=1e-12)


def test_lamb_moves_biases_of_0():
    """The ratio of lengths is 1 where one of them is 0, as in the authors' code."""
    p, theirs, state = xpnet.tensor(np.zeros(5), requires_grad=True), np.zeros(5), {}
    rule = PAPERS["LAMB"][0]([p])
    for t in range(1, 6):
        g = np.zeros(5) if t == 1 else gradients(t)[1]  # neither has a length in the first step
        p.grad = xpnet.asarray(g)
        rule.step()
        theirs = lamb(theirs, state, g, t)
        np.testing.assert_allclose(p.numpy(), theirs, rtol=1e-10, atol=1e-12)
        assert (p.numpy() != 0).all() == (t > 1)


def gradient_at(theta, t):
    """Of a bowl, and some noise: what it is depends on where the parameters are."""
    return [0.3 * a + 0.1 * g for a, g in zip(theta, gradients(t), strict=True)]


FREE = {
    "sgd": (lambda p: optim.SGDScheduleFree(p, lr=0.2, momentum=0.8, weight_decay=0.1), 0.8, False),
    "sgd, warm": (
        lambda p: optim.SGDScheduleFree(p, lr=0.2, momentum=0.8, warmup_steps=7, r=1.0),
        0.8,
        False,
    ),
    "adamw": (
        lambda p: optim.AdamWScheduleFree(p, lr=0.2, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1),
        0.8,
        True,
    ),
}


@pytest.mark.parametrize(("make", "beta", "adam"), FREE.values(), ids=FREE)
def test_schedule_free_is_a_mean_of_points(make, beta, adam):
    """Defazio et al., 2024, algorithms 1 and 2, with x, y and z kept apart."""
    ours = [xpnet.tensor(a, requires_grad=True) for a in start()]
    rule = make(ours)
    h = rule.param_groups[0].copy()
    x, z, v, total, largest = start(), start(), [np.zeros(s) for s in SHAPES], 0.0, 0.0
    for t in range(1, 20):
        y = [(1 - beta) * b + beta * a for a, b in zip(x, z, strict=True)]
        for p, a in zip(ours, y, strict=True):
            np.testing.assert_allclose(p.numpy(), a, rtol=1e-9, atol=1e-11)
        lr = h["lr"] * (min(1, t / h["warmup_steps"]) if h["warmup_steps"] else 1)
        largest = max(largest, lr)
        weight = t ** h["r"] * largest**2
        total += weight
        for i, g in enumerate(gradient_at(y, t)):
            ours[i].grad = xpnet.asarray(g)
            d = g
            if adam:
                v[i] = 0.9 * v[i] + 0.1 * g * g
                d = g / (np.sqrt(v[i] / (1 - 0.9**t)) + 1e-3)
            z[i] = z[i] - lr * (d + h["weight_decay"] * y[i])
            x[i] = (1 - weight / total) * x[i] + weight / total * z[i]
        rule.step()
        if t in (5, 12):
            rule.eval()
            for p, a in zip(ours, x, strict=True):
                np.testing.assert_allclose(p.numpy(), a, rtol=1e-9, atol=1e-11)
            with pytest.raises(RuntimeError, match=r"call optimizer\.train\(\) before training"):
                rule.step()
            rule.train()


@pytest.mark.parametrize("name", ["SGDScheduleFree", "AdamWScheduleFree"])
def test_schedule_free_weighs_steps_by_the_largest_rate_so_far(name):
    """Where the rate falls, steps still weigh lr_max^2, in the words of the authors' code."""
    rates = [0.1, 0.3, 0.2, 0.05, 0.01, 0.25]
    p = xpnet.tensor(start()[1], requires_grad=True)
    rule = getattr(optim, name)([p], lr=lambda t: rates[t])
    z = x = start()[1]
    v, weight_sum, lr_max = np.zeros(5), 0.0, -1.0
    for k, lr in enumerate(rates):
        g = gradients(k)[1]
        p.grad = xpnet.asarray(g)
        rule.step()
        lr_max = max(lr, lr_max)
        weight_sum += lr_max**2
        v = 0.999 * v + 0.001 * g * g
        z = z - lr * (g if name[0] == "S" else g / (np.sqrt(v / (1 - 0.999 ** (k + 1))) + 1e-8))
        x = x + lr_max**2 / weight_sum * (z - x)
        np.testing.assert_allclose(p.numpy(), 0.1 * z + 0.9 * x, rtol=1e-10, atol=1e-12)
        assert rule.param_groups[0]["lr_max"] == lr_max


@pytest.mark.parametrize("lr", [0.1, lambda t: 0.1 / (1 + t)], ids=["number", "function"])
def test_schedule_free_goes_on_from_its_state(lr):
    rules = []
    for resumed in (False, True):
        ours = [xpnet.tensor(a, requires_grad=True) for a in start()]
        rule = optim.AdamWScheduleFree(ours, lr=lr, warmup_steps=3)
        for t in range(8):
            if t == 4 and resumed:
                state = rule.state_dict()
                ours = [xpnet.tensor(p.numpy().copy(), requires_grad=True) for p in ours]
                rule = optim.AdamWScheduleFree(ours, lr=lr, warmup_steps=3)
                rule.load_state_dict(state)
            for p, g in zip(ours, gradients(t), strict=True):
                p.grad = xpnet.asarray(g)
            rule.step()
        rules.append([p.numpy() for p in ours])
    for a, b in zip(*rules, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 4), (3, 5), (4, 4)])
def test_muons_matrices_are_nearly_orthogonal(shape):
    x = np.random.default_rng(0).normal(size=shape)
    y = xpnet.to_numpy(orthogonal(xpnet.asarray(x), (1.5, -0.5, 0.0), 1e-7, 40))
    u, _, vt = np.linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(y, u @ vt, atol=1e-9)
    rough = xpnet.to_numpy(orthogonal(xpnet.asarray(x), (3.4445, -4.775, 2.0315), 1e-7, 5))
    assert (np.abs(np.linalg.svd(rough)[1] - 1) < 0.35).all()


def test_muon_with_adam_is_each_of_them_on_its_own_parameters():
    xpnet.manual_seed(0)
    layers = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)
    ours, other = nn.Sequential(*layers), nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3))
    other.load_state_dict(ours.state_dict())
    options = {"lr": 0.05, "weight_decay": 0.1}
    rule = optim.MuonWithAuxAdam(optim.matrices_and_others(ours, 0.1), lr=0.05)
    hidden = {"0.weight", "1.weight"}
    named = dict(other.named_parameters())
    rules = (
        optim.Muon([named[n] for n in sorted(hidden)], **options, adjust_lr_fn="match_rms_adamw"),
        optim.AdamW([named["2.weight"]], **options, betas=(0.9, 0.95), eps=1e-7),
        optim.AdamW(
            [p for n, p in named.items() if p.ndim == 1],
            lr=0.05,
            weight_decay=0.0,
            betas=(0.9, 0.95),
            eps=1e-7,
        ),
    )
    for t in range(6):
        if t == 3:  # the state of a run, in a new rule
            state = rule.state_dict()
            rule = optim.MuonWithAuxAdam(optim.matrices_and_others(ours, 0.1), lr=0.05)
            rule.load_state_dict(state)
        for p, q in zip(ours.parameters(), other.parameters(), strict=True):
            g = np.random.default_rng(t).normal(size=p.shape).astype(np.float32)
            p.grad, q.grad = xpnet.asarray(g), xpnet.asarray(g)
        rule.step()
        for each in rules:
            each.step()
    for (name, p), q in zip(ours.named_parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-6, atol=1e-7, err_msg=name)


def test_lookahead_goes_back_a_part_of_the_way():
    ours, other = ([xpnet.tensor(a, requires_grad=True) for a in start()] for _ in range(2))
    rule, plain = optim.Lookahead(optim.SGD(ours, lr=0.1), k=3, alpha=0.4), optim.SGD(other, lr=0.1)
    slow = start()
    for t in range(1, 10):
        for p, q, g in zip(ours, other, gradients(t), strict=True):
            p.grad, q.grad = xpnet.asarray(g), xpnet.asarray(g)
        rule.step()
        plain.step()
        if t % 3 == 0:
            for q, s in zip(other, slow, strict=True):
                s += 0.4 * (q.numpy() - s)
                q.data = xpnet.asarray(s.copy())
        for p, q in zip(ours, other, strict=True):
            np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-12)
    state = rule.state_dict()
    again = optim.Lookahead(optim.SGD(ours, lr=0.1), k=3, alpha=0.4)
    again.load_state_dict(state)
    assert again.made == 9
    assert rule.param_groups is rule.optimizer.param_groups


@pytest.mark.parametrize("adaptive", [False, True])
def test_sam_steps_by_the_gradient_uphill(adaptive):
    ours = [xpnet.tensor(a, requires_grad=True) for a in start()]
    rule = optim.SAM(optim.SGD(ours, lr=0.1), rho=0.3, adaptive=adaptive)

    def closure():
        rule.zero_grad()
        loss = sum((p**4).sum() for p in ours)
        loss.backward()
        return loss

    theta = start()
    for _ in range(3):
        g = [4 * a**3 for a in theta]
        scale = [a * a if adaptive else 1.0 for a in theta]
        root = [a if adaptive else 1.0 for a in theta]
        norm = np.sqrt(sum((r * r * b * b).sum() for r, b in zip(root, g, strict=True)))
        up = [a + 0.3 * s * b / norm for a, s, b in zip(theta, scale, g, strict=True)]
        expected = sum((a**4).sum() for a in theta)
        assert float(rule.step(closure).item()) == pytest.approx(expected, rel=1e-9)
        theta = [a - 0.1 * 4 * u**3 for a, u in zip(theta, up, strict=True)]
        for p, a in zip(ours, theta, strict=True):
            np.testing.assert_allclose(p.numpy(), a, rtol=1e-9)


@pytest.mark.parametrize(
    "rule", ["LAMB", "Lion", "NAdam", "RAdam", "Adamax", "SGDScheduleFree", "AdamWScheduleFree"]
)
@pytest.mark.parametrize("maximize", [False, True])
def test_maximize_turns_the_gradient(rule, maximize):
    found = []
    for sign in (1.0, -1.0):
        p = xpnet.tensor(start()[0], requires_grad=True)
        step = getattr(optim, rule)([p], lr=0.1, maximize=maximize if sign > 0 else not maximize)
        for t in range(3):
            p.grad = xpnet.asarray(sign * gradients(t)[0])
            step.step()
        found.append(p.numpy())
    np.testing.assert_array_equal(*found)


WRONG = {
    "a vector": (
        lambda: optim.Muon(nn.Linear(2, 3)),
        ValueError,
        r"Muon: a parameter of shape \(3,\) is no matrix",
    ),
    "no model": (lambda: optim.matrices_and_others([]), TypeError, "expected a Module, got list"),
    "a vector among matrices": (
        lambda: optim.MuonWithAuxAdam(nn.Linear(2, 3)),
        ValueError,
        r"MuonWithAuxAdam: a parameter of shape \(3,\) is no matrix; put it into a group with use_muon=False",
    ),
    "a word": (
        lambda: optim.Muon([nn.Linear(2, 3).weight], adjust_lr_fn="x"),
        ValueError,
        'adjust_lr_fn must be "original" or',
    ),
    "no optimizer": (lambda: optim.Lookahead(nn.Linear(2, 3)), TypeError, "Lookahead: expected an optimizer"),
    "alpha": (
        lambda: optim.Lookahead(optim.SGD(nn.Linear(2, 3)), alpha=2),
        ValueError,
        r"alpha must be in \[0, 1\]",
    ),
    "no closure": (lambda: optim.SAM(optim.SGD(nn.Linear(2, 3))).step(), TypeError, "step needs a closure"),
    "two closures": (
        lambda: optim.SAM(optim.SAM(optim.SGD(nn.Linear(2, 3)))),
        TypeError,
        "SAM: SAM asks for a closure itself; give one whose",
    ),
    "no weight of the mean": (
        lambda: optim.SGDScheduleFree(nn.Linear(2, 3), momentum=0),
        ValueError,
        r"SGDScheduleFree: momentum must be above 0",
    ),
    "no first beta": (
        lambda: optim.AdamWScheduleFree(nn.Linear(2, 3), betas=(0, 0.9)),
        ValueError,
        r"AdamWScheduleFree: betas\[0\] must be above 0",
    ),
    "warm-up": (
        lambda: optim.AdamWScheduleFree(nn.Linear(2, 3), warmup_steps=-1),
        ValueError,
        "warmup_steps must be at least 0, got -1",
    ),
    "rho": (lambda: optim.SAM(optim.SGD(nn.Linear(2, 3)), rho=-1), ValueError, "rho must be at least 0"),
}


@pytest.mark.host
@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
