"""Rules around rules: their state, all the way in, and the direction that they look in."""

import copy

import numpy as np
import pytest

import xpnet
from xpnet import nn, optim

NESTED = {
    "SAM of Lookahead": lambda p: optim.SAM(optim.Lookahead(optim.Adam(p, lr=0.1), k=3)),
    "SAM of schedule-free": lambda p: optim.SAM(optim.AdamWScheduleFree(p, lr=0.1)),
    "SAM of Adafactor": lambda p: optim.SAM(optim.Adafactor(p, lr=0.1)),
    "Lookahead of NAdam": lambda p: optim.Lookahead(optim.NAdam(p, lr=0.1), k=3),
    "Lookahead of Lookahead": lambda p: optim.Lookahead(
        optim.Lookahead(optim.SGD(p, lr=0.1, momentum=0.9), k=3), k=2, alpha=0.7
    ),
}


def start():
    return nn.Parameter(xpnet.asarray(np.linspace(-1, 2, 12).reshape(4, 3), "float64"))


def steps(rule, p, n):
    def closure():
        rule.zero_grad()
        loss = ((p - 1) ** 4).sum() + (p * p).sum() * 0.3
        loss.backward()
        return loss

    for _ in range(n):
        if getattr(rule, "needs_closure", False):
            rule.step(closure)
        else:
            closure()
            rule.step()
    return xpnet.to_numpy(p.data).copy()


@pytest.mark.parametrize("name", list(NESTED))
def test_a_state_is_that_of_all_of_them(name):
    make, p = NESTED[name], start()
    rule = make([p])
    steps(rule, p, 4)
    state, here = copy.deepcopy(rule.state_dict()), xpnet.to_numpy(p.data).copy()
    want = steps(rule, p, 5)
    other = nn.Parameter(xpnet.asarray(here))
    resumed = make([other])
    resumed.load_state_dict(state)
    np.testing.assert_array_equal(steps(resumed, other, 5), want)


@pytest.mark.parametrize("name", list(NESTED))
def test_a_state_is_not_written_to(name):
    """Loaded twice, it leads to the same place twice."""
    p = start()
    rule = NESTED[name]([p])
    steps(rule, p, 4)
    state, here = rule.state_dict(), xpnet.to_numpy(p.data).copy()
    ends = []
    for _ in range(2):
        p.data = xpnet.asarray(here)
        rule.load_state_dict(state)
        ends.append(steps(rule, p, 5))
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("adaptive", [False, True])
def test_sam_looks_for_the_worst(adaptive):
    """To maximize -f is to minimize f, also on the way to where it is worst."""
    ends = []
    for sign in (1, -1):
        p = start()
        rule = optim.SAM(optim.SGD([p], lr=0.02, maximize=sign < 0), rho=0.3, adaptive=adaptive)

        def closure(p=p, rule=rule, sign=sign):
            rule.zero_grad()
            loss = sign * (((p - 2) ** 2).sum() + 0.1 * (p**4).sum())
            loss.backward()
            return loss

        for _ in range(3):
            rule.step(closure)
        ends.append(xpnet.to_numpy(p.data))
    np.testing.assert_array_equal(*ends)


def test_each_group_of_sam_has_a_direction_of_its_own():
    p, q = nn.Parameter(xpnet.asarray([1.0])), nn.Parameter(xpnet.asarray([1.0]))
    seen = []
    rule = optim.SAM(optim.SGD([{"params": [p]}, {"params": [q], "maximize": True}], lr=0.1), rho=2**0.5)

    def closure():
        rule.zero_grad()
        seen.append((float(p.data[0]), float(q.data[0])))
        loss = (p + q).sum()
        loss.backward()
        return loss

    rule.step(closure)
    np.testing.assert_allclose(seen[1], (2.0, 0.0), atol=1e-6)
