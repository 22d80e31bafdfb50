"""`python -m bench.language --path FILE`: a GPT on a text, beside the same model in PyTorch.

Both begin from the same weights, see the same batches and take the same AdamW steps; the validation losses at
the end, and the time of a step each, are printed. FILE is any text of a megabyte or so.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import Vocabulary
from xpnet.data.vocabulary import windows


def torch_gpt(ours: nn.GPT) -> Any:
    """The same model in PyTorch, with the same weights."""
    import torch

    t = torch.nn

    class GPT(t.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = t.Embedding(ours.vocab_size, ours.width)
            self.place = t.Embedding(ours.context, ours.width)
            sizes = (ours.width, ours.heads, 4 * ours.width, 0.0, "gelu")
            block = lambda: t.TransformerEncoderLayer(*sizes, batch_first=True, norm_first=True)
            self.blocks = t.ModuleList([block() for _ in range(ours.depth)])
            self.norm = t.LayerNorm(ours.width)
            later = torch.full((ours.context, ours.context), float("-inf")).triu(1)
            self.register_buffer("later", later, persistent=False)

        def forward(self, x: Any) -> Any:
            y = self.token(x) + self.place.weight[: x.shape[1]]
            for block in self.blocks:
                y = block(y, self.later[: x.shape[1], : x.shape[1]], is_causal=True)
            return self.norm(y) @ self.token.weight.T

    model = GPT()
    model.load_state_dict({name: torch.tensor(np.array(a)) for name, a in ours.state_dict().items()})
    return model


class Ours:
    """What both are asked for, of xpnet's."""

    def __init__(self, model: nn.GPT, lr: float) -> None:
        self.model, self.rule = model, optim.AdamW(model, lr=lr, weight_decay=0.01)

    def loss(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Of a batch."""
        scores: Any = self.model(x)
        return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        """One update; the loss before it."""
        self.rule.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        self.rule.step()
        return float(loss.item())

    def measure(self, x: np.ndarray, y: np.ndarray) -> float:
        """The loss without an update."""
        with xpnet.no_grad():
            return float(self.loss(x, y).item())


class Theirs(Ours):
    """Of PyTorch's."""

    def __init__(self, model: Any, lr: float) -> None:
        import torch

        self.torch, self.model = torch, model
        self.rule: Any = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)

    def loss(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Of a batch."""
        scores = self.model(self.torch.tensor(x))
        cross_entropy = self.torch.nn.functional.cross_entropy
        return cross_entropy(scores.reshape(-1, scores.shape[-1]), self.torch.tensor(y).reshape(-1))

    def measure(self, x: np.ndarray, y: np.ndarray) -> float:
        """The loss without an update."""
        with self.torch.no_grad():
            return float(self.loss(x, y))


QUIET = 0.05
"""Seconds before a turn: the other library's threads spin a while after their work."""


def main() -> None:
    """Train both, and compare."""
    parser = argparse.ArgumentParser(prog="python -m bench.language", description=__doc__.splitlines()[0])
    parser.add_argument("--path", required=True, help="a file with a text")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    text = Path(options.path).read_text(encoding="utf-8")
    vocabulary = Vocabulary().fit(text)
    numbers = vocabulary.transform(text)
    cut = 9 * len(numbers) // 10
    (x, y), (vx, vy) = (windows(part, options.context) for part in (numbers[:cut], numbers[cut:]))
    xpnet.manual_seed(0)
    ours = nn.GPT(len(vocabulary), options.context, options.depth, 6, options.width)
    pair = {"PyTorch": Theirs(torch_gpt(ours), options.lr), "xpnet": Ours(ours, options.lr)}
    seconds: dict[str, list[float]] = {name: [] for name in pair}
    rng = np.random.default_rng(0)
    for step in range(options.steps):
        rows = rng.integers(0, len(x), options.batch_size)
        losses = {}
        for name, one in pair.items():
            time.sleep(QUIET)
            start = time.perf_counter()
            losses[name] = one.step(x[rows], y[rows])
            seconds[name].append(time.perf_counter() - start)
        if step < 3 or step % 20 == 19:
            print(step + 1, {name: round(loss, 4) for name, loss in losses.items()}, flush=True)
    parts = [slice(i, i + 32) for i in range(0, min(len(vx), 320), 32)]
    ends = {name: np.mean([one.measure(vx[p], vy[p]) for p in parts]) for name, one in pair.items()}
    for name, loss in ends.items():
        median = float(np.median(seconds[name]))
        print(f"{name:8} validation loss {loss:.4f} after {options.steps} steps, {median:.3f} s a step")
    print(f"difference {ends['xpnet'] / ends['PyTorch'] - 1:+.3%}")


if __name__ == "__main__":
    main()
