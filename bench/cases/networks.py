"""Training steps of convolutional networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from bench.cases import jax_rules
from bench.cases.base import CHECKED_SETS, Arrays, Inputs, Program, Sweep, normal
from bench.cases.handwritten import CNN
from bench.cases.steps import FLOAT, TRAFFIC, Step
from bench.columns.base import Column
from bench.columns.torch import TorchColumn


class CNNStep(Step):
    """Stages of two 3x3 convolutions with batch norm and ReLU, then 2x2 max pooling; global mean; linear.

    The network of `xpnet train cifar10 --model cnn` without its dropout: RGB pictures of 32 by 32, ten
    classes, channels 16, 32, 64; SGD with Nesterov's momentum.
    """

    name, rule, lr, images = "cnn", "nesterov", 1e-2, True
    channels: ClassVar[tuple[int, ...]] = (3, 16, 16, 32, 32, 64, 64)
    side: ClassVar[int] = 32
    classes: ClassVar[int] = 10
    # three steps magnify the rounding of sums over 65,000 pixels; a ReLU or a maximum may tip over
    tolerance: ClassVar[dict[str, float]] = {"losses": 1e-4, "change": 2e-2}

    @property
    def convolutions(self) -> list[tuple[int, int, int]]:
        """(inputs, outputs, side) of each."""
        pairs = zip(self.channels, self.channels[1:], strict=False)
        return [(a, b, self.side >> i // 2) for i, (a, b) in enumerate(pairs)]

    @property
    def bytes(self) -> int:
        parameters = sum(9 * a * b + 2 * b for a, b, _ in self.convolutions)
        return self.footprint + TRAFFIC[self.rule] * FLOAT * parameters

    @property
    def flops(self) -> int:
        """Three products a convolution, without the gradient of the pictures."""
        work = [9 * a * b * side * side for a, b, side in self.convolutions]
        return 2 * self.size * (3 * sum(work) - work[0])

    @property
    def footprint(self) -> int:
        return self.size * (self.channels[0] * self.side**2 * FLOAT + 8)

    def shared(self, rng: np.random.Generator) -> Arrays:
        parameters = []
        for a, b, _ in self.convolutions:
            parameters += [normal(rng, b, a, 3, 3) * np.float32((2 / (9 * a)) ** 0.5)]
            parameters += [1 + 0.1 * normal(rng, b), 0.1 * normal(rng, b)]
        last = self.channels[-1]
        return {
            "parameters": [
                *parameters,
                normal(rng, self.classes, last) / last**0.5,
                normal(rng, self.classes),
            ]
        }

    def inputs(self, rng: np.random.Generator) -> Arrays:
        shape = (self.size, self.channels[0], self.side, self.side)
        return {"x": normal(rng, *shape), "y": rng.integers(0, self.classes, self.size)}

    def numpy(self, inputs: Inputs, column: Column) -> Program:
        cnn = CNN(inputs.shared["parameters"], self.rule, self.lr)
        sets = [(s["x"], s["y"]) for s in inputs.sets]
        return self.program(inputs, column, lambda i: cnn.step(*sets[i]), lambda: [cnn.theta])

    def network(self, nn: Any) -> list[Any]:
        layers: list[Any] = []
        for i, (a, b, _) in enumerate(self.convolutions):
            if i in (2, 4):
                layers.append(nn.MaxPool2d(2))
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        return [
            *layers,
            nn.AvgPool2d(self.side // 4),
            nn.Flatten(),
            nn.Linear(self.channels[-1], self.classes),
        ]

    def forward(self, theta: list[Any], x: Any, key: Any) -> tuple[Any, list[Any]]:
        import jax

        *parameters, weight, bias = theta
        statistics = []
        for i in range(len(self.convolutions)):
            if i in (2, 4):
                x = jax_rules.max_pool(x)
            w, gamma, beta = parameters[3 * i : 3 * i + 3]
            x, seen = jax_rules.batch_norm(jax_rules.convolution(x, w), gamma, beta)
            statistics.append(seen)
            x = jax.nn.relu(x)
        return x.mean((2, 3)) @ weight.T + bias, statistics


@dataclasses.dataclass
class ResNetStep(CNNStep):
    """ResNet-20 of `xpnet train cifar10 --model resnet` (He et al., 2016, section 4.2), same pictures."""

    name = "resnet20"
    blocks: int = 3  # a stage
    tolerance: ClassVar[dict[str, float]] = {"losses": 1e-3, "change": 5e-2}
    numpy = None  # type: ignore[assignment]

    @property
    def convolutions(self) -> list[tuple[int, int, int]]:
        """(inputs, outputs, side) of those with 3x3 windows; the shortcuts are a hundredth of the work."""
        widths = [16 << stage for stage in range(3) for _ in range(2 * self.blocks)]
        pairs = [(self.channels[0], 16), *zip([16, *widths], widths, strict=False)]
        return [(a, b, self.side * 16 // b) for a, b in pairs]

    def shared(self, rng: np.random.Generator) -> Arrays:
        import xpnet

        with xpnet.use_backend("numpy"):
            xpnet.manual_seed(0)
            return {"parameters": [np.array(p.data) for p in self.model().parameters()]}

    def reference(self, inputs: Inputs) -> Mapping[str, Any]:
        """PyTorch's on the CPU, in float64: there is no hand-written one."""
        sets = [{**s, "x": s["x"].astype(np.float64)} for s in inputs.sets[:CHECKED_SETS]]
        return self.torch(Inputs(inputs.shared, sets), TorchColumn("cpu")).results()

    def model(self) -> Any:
        from xpnet import nn

        return nn.small_resnet(self.classes, blocks=self.blocks)

    def torch(self, inputs: Inputs, column: Column) -> Program:
        import torch
        from torch import nn
        from torch.nn import functional as F

        def conv(a: int, b: int, kernel: int = 3, stride: int = 1) -> list[Any]:
            return [nn.Conv2d(a, b, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(b)]

        class Residual(nn.Module):
            def __init__(self, a: int, b: int, stride: int) -> None:
                super().__init__()
                self.body = nn.Sequential(*conv(a, b, 3, stride), nn.ReLU(), *conv(b, b))
                self.shortcut = nn.Identity() if a == b else nn.Sequential(*conv(a, b, 1, stride))

            def forward(self, x: Any) -> Any:
                return self.body(x) + self.shortcut(x)

        layers, width = [*conv(self.channels[0], 16), nn.ReLU()], 16
        for stage in range(3):
            for block in range(self.blocks):
                layers += [Residual(width, 16 << stage, 2 if stage and not block else 1), nn.ReLU()]
                width = 16 << stage
        layers += [nn.AvgPool2d(self.side // 4), nn.Flatten(), nn.Linear(width, self.classes)]
        dtype = torch.from_numpy(inputs.sets[0]["x"]).dtype
        model = nn.Sequential(*layers).to(column.device, dtype)
        return self._tape(inputs, column, model, torch.optim, lambda x, y: F.cross_entropy(model(x), y))

    def forward(self, theta: list[Any], x: Any, key: Any) -> tuple[Any, list[Any]]:
        import jax

        left, statistics = list(theta), []

        def normed(x: Any, stride: int = 1) -> Any:
            y, seen = jax_rules.batch_norm(
                jax_rules.convolution(x, left.pop(0), stride), left.pop(0), left.pop(0)
            )
            statistics.append(seen)
            return y

        x = jax.nn.relu(normed(x))
        for stage in range(3):
            for block in range(self.blocks):
                stride = 2 if stage and not block else 1
                y = normed(jax.nn.relu(normed(x, stride)))
                x = jax.nn.relu(y + (normed(x, stride) if stride > 1 else x))
        weight, bias = left
        return x.mean((2, 3)) @ weight.T + bias, statistics


NETWORKS = [Sweep(CNNStep, [32], [8, 128], [512]), Sweep(ResNetStep, [32], [8], [128])]
