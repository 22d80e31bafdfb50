"""Programs for several ranks: `mpiexec -n 2 python -m tests.ranks NAME [ARGUMENT ...]`; see test_parallel.py.

Each prints one line of JSON on rank 0.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable

import numpy as np

import xpnet
from xpnet import functional as F
from xpnet import nn, optim, parallel
from xpnet.data import Arrays, DataLoader, Dataset, load_digits, split
from xpnet.parallel.reducer import Reducer
from xpnet.train import (
    Callback,
    Checkpoint,
    EarlyStopping,
    GradientClipping,
    ModelCheckpoint,
    SeveralLosses,
    Trainer,
)


def data(dtype: str) -> tuple[Dataset, Dataset]:
    train, validation, _ = split(load_digits(), seed=0)
    scale = lambda d: Dataset((np.asarray(d.x) / 16).astype(dtype), d.y)
    return scale(train), scale(validation)


def network(dtype: str, norm: bool, dropout: float = 0.0) -> nn.Sequential:
    layers = [nn.Linear(64, 32, dtype=dtype)]
    if norm:
        layers.append(nn.BatchNorm1d(32, dtype=dtype))
    layers += [nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 10, dtype=dtype)]
    return nn.Sequential(*layers)


def step_of(
    model: nn.Module, optimizer: optim.Optimizer, reducer: Reducer
) -> Callable[[xpnet.Tensor, xpnet.Tensor], xpnet.Tensor]:
    """A training step of one's own, whose gradients are summed over ranks while they are made."""

    def step(x: xpnet.Tensor, y: xpnet.Tensor) -> xpnet.Tensor:
        optimizer.zero_grad()
        with reducer.during_backward():
            loss = F.cross_entropy(model(x), y)
            loss.backward()
        optimizer.step()
        return loss

    return step


def train(
    communicator: parallel.Communicator,
    dtype: str = "float64",
    norm: bool = False,
    accumulate: int = 1,
    epochs: int = 2,
    batch: int = 50,
    dropout: float = 0.0,
    callbacks: tuple[Callback, ...] = (),
    resume: str | None = None,
    step: object = None,
    capture: bool = False,
) -> dict[str, object]:
    xpnet.manual_seed(3 if communicator.is_main else 4)  # rank 0's weights count
    training, validation = data(dtype)
    model = network(dtype, norm, dropout)
    if norm:
        parallel.synchronize_batch_norm(model, communicator)
    optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
    trainer = Trainer(
        model,
        F.cross_entropy,
        optimizer,
        callbacks,
        accumulate=accumulate,
        communicator=communicator,
        step=step,
        capture=capture,
        verbose=False,
    )
    loader = DataLoader(training, batch, seed=5)
    history = trainer.fit(loader, validation, epochs, resume=resume)
    state = {name: xpnet.to_numpy(a) for name, a in model.state_dict().items()}
    work = trainer.train_step.captured
    return {
        "state": state,
        "history": dict(history),
        "stop": trainer.stop,
        "graphs": 0 if work is None or work._captured is None else work._captured.graphs,
    }


def same(accumulate: str) -> dict[str, object]:
    """How far the ranks are from one process alone, and from each other."""
    group = parallel.connect()
    ours, alone = (train(g, accumulate=int(accumulate)) for g in (group, parallel.Communicator()))
    error = max(float(np.abs(ours["state"][k] - alone["state"][k]).max()) for k in alone["state"])
    first = {name: group.broadcast_object(a) for name, a in ours["state"].items()}
    between = max(float(np.abs(first[k] - a).max()) for k, a in ours["state"].items())
    losses = [ours["history"][key] for key in ("train_loss", "val_loss")]
    lone = [alone["history"][key] for key in ("train_loss", "val_loss")]
    return {
        "error": group.largest(error),
        "between": group.largest(between),
        "loss": float(np.abs(np.subtract(losses, lone)).max()),
        "one_history": ours["history"] == group.broadcast_object(ours["history"]),
    }


def captured(accumulate: str) -> dict[str, object]:
    """Whether captured steps leave the bits of those that are not, on each rank; batches are uneven.

    Rank 1's part of the last batch is as large as that of others, rank 0's is not.
    """
    group = parallel.connect()
    options = {"norm": True, "accumulate": int(accumulate), "epochs": 3, "batch": 73, "dropout": 0.3}
    eager, ours = (train(group, capture=capture, **options) for capture in (False, True))
    same = [np.array_equal(ours["state"][k], a) for k, a in eager["state"].items()]
    step = [_captured_step(group, capture) for capture in (False, True)]
    return {
        "differ": group.largest(len(same) - sum(same)),
        "history": all(ours["history"][k] == v for k, v in eager["history"].items() if k != "seconds"),
        "graphs": -group.largest(-ours["graphs"]),
        "step": group.largest(float(not np.array_equal(*step))),
    }


def _captured_step(group: parallel.Communicator, capture: bool) -> np.ndarray:
    """The weights after steps of one's own, whose ranks share moments and send gradients in small chunks."""
    xpnet.manual_seed(0)
    model = network("float32", norm=False)
    optimizer = parallel.shard_optimizer(optim.Adam(model, lr=0.01), group)
    step = step_of(model, optimizer, Reducer(model.parameters(), group, chunk=100, shards=optimizer.shards))
    call = xpnet.capture(step, communicator=group) if capture else step
    rng = np.random.default_rng(group.rank)
    for _ in range(12):
        call(xpnet.asarray(rng.normal(size=(8, 64)).astype("float32")), xpnet.asarray(rng.integers(0, 10, 8)))
    assert not capture or call.graphs == 1
    return xpnet.to_numpy(model.theta)


def own_step() -> dict[str, object]:
    """A step that measures something: the ranks' weights and means against those of one process."""

    def step(run, batch):
        x, y = batch
        output = run.model(x)
        return {"loss": F.cross_entropy(output, y), "largest": output.max(), "class": float(np.mean(y))}

    group = parallel.connect()
    ours, alone = (train(g, step=step) for g in (group, parallel.Communicator()))
    keys = ("train_loss", "train_class")
    means = [[found["history"][key] for key in keys] for found in (ours, alone)]
    return {
        "error": max(float(np.abs(ours["state"][k] - alone["state"][k]).max()) for k in alone["state"]),
        "means": float(np.abs(np.subtract(*means)).max()),
        "largest": [found["history"]["train_largest"][-1] for found in (ours, alone)],
    }


class _Heads(nn.Module):
    def __init__(self) -> None:
        sizes = (4, 6), (6, 3), (6, 1)
        self.first, self.kind, self.size = (nn.Linear(a, b, dtype="float64") for a, b in sizes)

    def forward(self, x: object) -> tuple[object, object]:
        h = self.first(x)
        return self.kind(h), self.size(h)


def several(capture: str) -> dict[str, object]:
    """Losses of which one ignores labels: the ranks' weights and means against those of one process."""
    rng = np.random.default_rng(0)
    x, kind = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
    # the ranks' parts of a batch have many, few or none of the labels
    kind[(np.arange(60) % 10 < 4) | (np.arange(60) // 20 == 1)] = -100
    weight = np.asarray([1.0, 10.0, 0.1])
    losses = {"kind": lambda z, y: F.cross_entropy(z, y, weight=weight), "size": F.mse_loss}

    def train(group: parallel.Communicator) -> tuple[nn.Module, dict[str, list[float]]]:
        xpnet.manual_seed(0)
        model = _Heads()
        step = SeveralLosses(losses, {"kind": 0.7})
        options = {"communicator": group, "capture": capture == "yes", "verbose": False}
        trainer = Trainer(model, None, optim.SGD(model, lr=0.1), step=step, **options)
        loader = DataLoader(Arrays((x, (kind, x[:, :1]))), 10, shuffle=False)
        return model, dict(trainer.fit(loader, (x, (kind, x[:, :1])), epochs=3))

    group = parallel.connect()
    (ours, history), (alone, lone) = (train(g) for g in (group, parallel.Communicator()))
    keys = [f"{part}_{name}" for part in ("train", "val") for name in ("loss", "kind", "size")]
    return {
        "error": float(np.abs(xpnet.to_numpy(ours.theta) - xpnet.to_numpy(alone.theta)).max()),
        "means": float(np.abs(np.subtract(*([h[key] for key in keys] for h in (history, lone)))).max()),
    }


def parity() -> list[tuple[str, float, bool]]:
    """What `xpnet parity --ranks` reports."""
    return [(d.dtype, d.error, d.ok) for d in parallel.compare_ranks(parallel.connect())]


def chunks() -> dict[str, object]:
    """The order in which chunks are sent, how many of them before the walk has ended, and the sums."""
    group = parallel.connect()
    model = nn.Sequential(*[nn.Linear(8, 8, dtype="float64") for _ in range(3)])
    unused = nn.Linear(8, 8, dtype="float64")
    parameters = [*model.parameters(), *unused.parameters()]
    reducer = Reducer(parameters, group, chunk=72)  # a layer
    order, early = [], []
    start = group.start

    def noted(array, root=None):
        order.append(_offset(array, parameters[0]._flat.grads) // 72)
        start(array, root)

    group.start = noted
    x = np.random.default_rng(group.rank).normal(size=(4, 8))
    with reducer.during_backward():
        (model(x) * model(x)).sum().backward()  # every layer is used twice
        early.append(len(order))
    together = model.grad.copy()
    model.zero_grad()
    (model(x) * model(x)).sum().backward()
    alone = model.grad.copy()
    group.all_reduce(alone)
    return {
        "order": order,
        "before_the_end": early[0],
        "error": float(np.abs(together[: alone.size] - alone).max()),
    }


def _offset(array: np.ndarray, base: np.ndarray) -> int:
    return (array.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // array.itemsize


def masks() -> dict[str, object]:
    """Whether each rank draws dropout masks of its own, and whether training then still agrees."""
    group = parallel.connect()
    ours = train(group, dropout=0.5, epochs=1)
    mask = F.dropout(np.ones((4, 100), np.float32), 0.5)
    masks = group.world.allgather(xpnet.to_numpy(mask).tolist())
    states = group.world.allgather({k: a.tolist() for k, a in ours["state"].items()})
    return {"equal_masks": masks[0] == masks[1], "equal_states": states[0] == states[1]}


class _Die(Callback):
    def __init__(self, rank: int, how: str) -> None:
        self.rank, self.how = rank, how

    def on_batch_end(self, trainer: Trainer) -> None:
        if trainer.communicator.rank == self.rank and trainer.epoch == 1 and trainer.step > 30:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("a fault on this rank alone")


def die(how: str, path: str) -> dict[str, object]:
    """Rank 1 ends in the second epoch."""
    train(parallel.connect(), epochs=4, callbacks=(_Die(1, how), ModelCheckpoint(path)))
    return {"finished": True}


def resume(path: str) -> dict[str, object]:
    """Go on from the checkpoint; the weights' sum of squares."""
    found = train(
        parallel.connect(),
        epochs=4,
        callbacks=(_Die(-1, ""), ModelCheckpoint(path)),
        resume=f"{path}/last.safetensors",
    )
    return {
        "state": {k: a.tolist() for k, a in found["state"].items()},
        "epochs": len(found["history"]["lr"]),
    }


def whole() -> dict[str, object]:
    """Four epochs at once."""
    found = train(parallel.connect(), epochs=4)
    return {"state": {k: a.tolist() for k, a in found["state"].items()}}


def stopping() -> dict[str, object]:
    """Early stopping ends all ranks in one epoch."""
    group = parallel.connect()
    stop = EarlyStopping(1, min_delta=10.0)
    found = train(group, epochs=9, callbacks=(stop,))
    return {"epochs": group.world.allgather(len(found["history"]["lr"]))}


RULES = {
    "SGD": lambda m: optim.SGD(m, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "Adam": lambda m: optim.Adam(m, lr=0.01, amsgrad=True),
    "AdamW": lambda m: optim.AdamW(m, lr=0.01),
    "Adagrad": lambda m: optim.Adagrad(m, lr=0.05, initial_accumulator_value=0.1),
    "Adadelta": lambda m: optim.Adadelta(m),
    "RMSprop": lambda m: optim.RMSprop(m, lr=0.01, centered=True, momentum=0.5),
    "NAdam": lambda m: optim.NAdam(m, lr=0.01),
    "RAdam": lambda m: optim.RAdam(m, lr=0.01, maximize=True),
    "Adamax": lambda m: optim.Adamax(m, lr=0.01),
    "Lion": lambda m: optim.Lion(m, lr=0.001),
    "Adan": lambda m: optim.Adan(m, lr=0.01),
    "groups": lambda m: optim.Adam(
        [{"params": [p for p in m.parameters() if p.ndim > 1], "weight_decay": 0.1},
         {"params": [p for p in m.parameters() if p.ndim < 2], "lr": lambda t: 0.02 / (1 + t)}], lr=0.01,
    ),
}  # fmt: skip


def shared_rules() -> dict[str, object]:
    """Each rule with moments that are shared, and not: distance of weights and states; bytes of moments."""
    group, found = parallel.connect(), {}
    x = np.random.default_rng(group.rank).normal(size=(8, 64)).astype(np.float32)
    for name, rule in RULES.items():
        for dtype in ("float32", "float16") if name in ("Adam", "SGD") else ("float32",):
            states, sizes = [], []
            for shared in (True, False):
                xpnet.manual_seed(0)
                model = network(dtype, norm=False)
                optimizer = rule(model)
                optimizer = parallel.shard_optimizer(optimizer, group) if shared else optimizer
                reducer = Reducer(model.parameters(), group, 100, shards=optimizer.shards)
                for i in range(5):
                    optimizer.zero_grad()
                    with reducer.during_backward():
                        (model(x.astype(dtype)) ** 2).mean().backward()
                    if i == 2:  # a parameter without a gradient
                        model[0].bias.grad = None
                    optimizer.step()
                arrays = [a for b in optimizer._blocks for a in (*b.moments, b.master) if a is not None]
                sizes.append(sum(a.nbytes for a in arrays))
                state = optimizer.state_dict()["state"]
                states.append([model.theta, *(v for s in state.values() for v in s.values())])
            error = max(float(np.abs(np.subtract(a, b)).max()) for a, b in zip(*states, strict=True))
            found[f"{name} {dtype}"] = group.largest(error), group.largest(sizes[0] / sizes[1])
    return found


class _Ask(Callback):
    """Rank 0 asks for the state after some updates, and keeps what it was."""

    main_only = True

    def __init__(self) -> None:
        self.steps: list[object] = []

    def on_batch_end(self, trainer: Trainer) -> None:
        if trainer.step % 7 == 0:
            self.steps.append(trainer.optimizer.state_dict()["state"][0]["exp_avg"].sum())


def shared(
    path: str, epochs: str, shards: str = "shared", resume: str = "", clip: str = ""
) -> dict[str, object]:
    """Train with shared moments, or not, with checkpoints within epochs; weights and moments."""
    group = parallel.connect()
    xpnet.manual_seed(3 if group.is_main else 4)
    training, validation = data("float64")
    model = network("float64", False)
    optimizer = optim.Adam(model, lr=0.01)
    if shards == "shared":
        parallel.shard_optimizer(optimizer, group)
    ask = _Ask()
    callbacks = [ask, Checkpoint(path, every_steps=5), *([GradientClipping(0.5)] if clip else [])]
    trainer = Trainer(
        model, F.cross_entropy, optimizer, callbacks, accumulate=2, communicator=group, verbose=False
    )
    trainer.fit(DataLoader(training, 50, seed=5), validation, int(epochs), resume=resume or None)
    state = optimizer.state_dict()["state"]
    return {
        "weights": model.theta.tolist(),
        "moments": [np.ravel(v).tolist() for s in state.values() for v in s.values()],
        "asked": [float(a) for a in ask.steps],
    }


if __name__ == "__main__":
    result = globals()[sys.argv[1]](*sys.argv[2:])
    if parallel.connect().is_main:
        print(json.dumps(result))
