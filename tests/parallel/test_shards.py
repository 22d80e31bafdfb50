"""Moments that ranks share: the weights, states and checkpoints of an optimizer that is not shared."""

import numpy as np
import pytest

from tests.mpi import needs_mpi
from tests.parallel.test_parallel import result
from xpnet import functional as F
from xpnet import nn, optim, parallel
from xpnet.parallel.shards import Shards
from xpnet.train import Trainer

pytestmark = pytest.mark.host


class Ranks(parallel.Communicator):
    def __init__(self, rank, size):
        self.rank, self.size = rank, size


@needs_mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_every_rule_updates_as_if_alone(ranks):
    """To the bit with two ranks; three add up their gradients in another order."""
    found = result(ranks, "shared_rules")
    assert len(found) == 14
    for name, (error, part) in found.items():
        tolerance = 0 if ranks == 2 else 2e-3 if "float16" in name else 2e-5
        assert error <= tolerance, name
        assert part == pytest.approx(1 / ranks, abs=0.02), name


@needs_mpi
def test_checkpoints_of_any_number_of_ranks(tmp_path):
    """Of ranks that share, and that do not; resumed by the others, by one alone, and by three that share."""

    def run(name, epochs, how="shared", resume="", ranks=2, clip=""):
        files = [str(tmp_path / name), str(epochs), how, resume and str(tmp_path / resume), clip]
        return result(ranks, "shared", *files)

    whole = run("whole", 4)
    ours, plain = run("shared", 2), run("not", 2, "not")
    assert ours == plain  # to the bit
    assert len(plain["asked"]) == 3
    for file in ("shared", "not"):
        assert run(f"{file} 2", 4, resume=file)["weights"] == whole["weights"]
    for ranks, how in ((1, "not"), (3, "shared")):
        found = run(str(ranks), 4, how, "shared", ranks)
        for key in ("weights", "moments"):
            for a, b in zip(found[key], whole[key], strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)
    clipped = [run("clip", 1, how, clip="clip") for how in ("shared", "not")]  # which needs whole gradients
    assert clipped[0] == clipped[1]


@pytest.mark.parametrize(("n", "size"), [(1, 2), (16, 2), (1000, 3), (33, 8)])
def test_parts_cover_the_vector_once(n, size):
    model = nn.Linear(n, 1, bias=False)
    flat = nn.flat.spans(model)[0].flat
    ranks = [Shards(Ranks(rank, size)) for rank in range(size)]
    parts = [shards.part(flat) for shards in ranks]
    assert sum(b - a for a, b in parts) == n
    assert [i for a, b in parts for i in range(a, b)] == list(range(n))
    assert all(a % 4 == 0 or a == n for a, _ in parts)
    for start, stop in ((0, n), (n // 3, n // 2), (0, 0)):
        pieces = list(ranks[0].parts(flat, start, stop))
        assert [i for _, a, b in pieces for i in range(a, b)] == list(range(start, stop))
        assert all(parts[rank][0] <= a and b <= parts[rank][1] for rank, a, b in pieces)


class Own(optim.Optimizer):
    lr: float = 0.1

    def update(self, span):
        span.values[...] -= span.h.lr * span.grads


BAD = {
    "no optimizer": (lambda m: m, TypeError, "expected an optimizer, such as optim.Adam.model., got Linear"),
    "whole parameters": (optim.LAMB, TypeError, "LAMB needs whole parameters.* take optim.AdamW"),
    "around": (lambda m: optim.Lookahead(optim.SGD(m)), TypeError, "Lookahead needs whole parameters"),
    "own": (Own, TypeError, "Own needs whole parameters, or does not say .*elementwise = True"),
    "of a subclass": (type("Mine", (optim.Adam,), {"update": Own.update}), TypeError, "Mine needs whole"),
    "chain": (lambda m: optim.chain(optim.ClipNorm(1.0), optim.SGD(m)), ValueError, "ClipNorm of chain"),
}


@pytest.mark.parametrize("what", list(BAD))
def test_what_cannot_be_shared_is_said(what):
    make, kind, message = BAD[what]
    with pytest.raises(kind, match=message):
        parallel.shard_optimizer(make(nn.Linear(2, 2)), Ranks(0, 2))


def test_a_trainer_trains_with_the_ranks_that_share():
    model = nn.Linear(2, 2)
    optimizer = parallel.shard_optimizer(optim.SGD(model), Ranks(0, 2))
    with pytest.raises(ValueError, match="pass their group, communicator="):
        Trainer(model, F.cross_entropy, optimizer)
    with pytest.raises(ValueError, match="a dict of optimizers cannot be shared"):
        Trainer(model, F.cross_entropy, {"one": optimizer}, communicator=optimizer.shards.communicator)
    alone = optim.SGD(nn.Linear(2, 2))
    assert parallel.shard_optimizer(alone, parallel.connect()).shards is None
