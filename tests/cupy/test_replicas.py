"""The ranks' checksum on CUDA: it arrives without anybody waiting for the device."""

import numpy as np
import pytest

from tests.parallel.test_leaving import Two
from xpnet import nn
from xpnet.core import convert
from xpnet.parallel.leaving import RanksDifferError
from xpnet.parallel.replicas import Replicas

pytestmark = pytest.mark.usefixtures("cupy")


def test_a_checksum_is_found_at_a_later_look_without_waiting(monkeypatch):
    import cupy

    group = Two()
    replicas = Replicas(nn.Linear(30, 20), group, every=10)
    monkeypatch.setattr(convert, "on_synchronise", [lambda: pytest.fail("the host has waited")])
    for step in range(1, 21):
        replicas.look(step)
    cupy.cuda.get_current_stream().synchronize()
    replicas.check()
    assert replicas.agreed == 20
    group.other = 0.5
    replicas.look(30)
    cupy.cuda.get_current_stream().synchronize()
    with pytest.raises(RanksDifferError, match=r"after update 30 \(after update 20 they were"):
        replicas.look(40)


def test_the_sum_is_that_of_the_host():
    import cupy

    sums = []

    class Group(Two):
        def all_reduce(self, array):
            super().all_reduce(array)
            sums.append(cupy.asnumpy(array)[0])

    model = nn.Linear(300, 200)
    Replicas(model, Group(), every=1).look(1)
    expected = np.sum(cupy.asnumpy(model.theta), dtype=np.float64)
    assert sums == [pytest.approx(expected, rel=1e-12)]
