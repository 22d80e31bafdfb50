"""A user's script: it passes `mypy --strict` and pyright, and runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import xpnet
import xpnet.functional as F
from xpnet import nn, optim
from xpnet.data import DataLoader, Dataset, load_digits, split
from xpnet.train import EarlyStopping, Trainer


class Net(nn.Module):
    def __init__(self, hidden: int, classes: int = 10) -> None:
        self.hidden = nn.Linear(64, hidden)
        self.norm = nn.BatchNorm1d(hidden, momentum=None)
        self.blocks = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(2)])
        self.out = nn.Sequential(nn.Dropout(0.1), nn.Linear(hidden, classes))
        self.scale = nn.Parameter(np.ones(hidden, np.float32))

    def forward(self, x: xpnet.Tensor) -> xpnet.Tensor:
        h = F.relu(self.norm(self.hidden(x))) * self.scale
        for block in self.blocks:
            h = h + F.gelu(block(h), approximate="tanh")
        return self.out(h)


def by_hand(model: nn.Module, train: Dataset, rate: float) -> float:
    loss = xpnet.tensor(0.0)
    for x, y in DataLoader(train, batch_size=64):
        loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
        loss.backward()
        with xpnet.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    p -= rate * p.grad
        model.zero_grad()
    return loss.item() + float(loss) - round(loss.item(), 2)


def arithmetic(a: xpnet.Tensor) -> xpnet.Tensor:
    b = (2 * a + a / 3 - 1) ** 2 @ a.T
    b = b.reshape(-1, 2).transpose(0, 1)[0, 1:] + abs(-b.sum(dim=0).mean())
    values, indices = a.max(dim=1)
    b[0] = 1.0
    return b * values.sum() + int(indices[0])


def main() -> None:
    xpnet.manual_seed(0)
    train, validation, _ = split(load_digits())
    model = Net(32).train()
    by_hand(model, train, rate=0.1)
    optimizer = optim.Adam(model, lr=0.01)
    schedule = optim.CosineAnnealingLR(optimizer, 10)
    schedule.step()
    trainer = Trainer(model, F.cross_entropy, optimizer, [EarlyStopping(patience=2)])
    history = trainer.fit(DataLoader(train, 64), validation, epochs=2)
    print(f"{history['val_accuracy'][-1]:.3f}", arithmetic(xpnet.tensor([[1.0, 2.0], [3.0, 4.0]])).shape)
    keys = model.eval().load_state_dict(model.state_dict(), strict=False)
    xpnet.save(nn.Sequential(xpnet.nn.Linear(64, 10)), Path(tempfile.mkdtemp()) / "m.safetensors")
    assert not keys.missing_keys


main()
