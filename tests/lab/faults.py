"""Planted faults: each breaks one line of xpnet, and an experiment of the lab must notice.

    python -m tests.lab.faults                run all of them; exit code 1 if one is not noticed
    python -m tests.lab.faults NAME ...       run some

A fault is a text in a module, what replaces it, and the experiments that should see it. Nothing is written:
a fresh process imports the module with the text replaced. Compiled kernels would run instead of most of these
lines, so they are switched off, but for the faults in `xpnet.cpu`, which hands the kernels their work. What
is compiled is compared with these lines by tests/cpu.

Before any fault, the experiments must have nothing to notice in either way of running.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import PathFinder, SourceFileLoader
from typing import Any, NamedTuple


class Fault(NamedTuple):
    """One wrong line."""

    module: str  # below xpnet
    right: str
    wrong: str
    seen_by: str  # experiments, separated by spaces


FAULTS = {
    # activations
    "relu passes gradients everywhere": Fault(
        "functional.activations", "lambda dy: keep(dy, y != 0)", "lambda dy: dy", "saturation dead-relu"
    ),
    "elu: slope for alpha 1 only": Fault("functional.activations", "y + alpha)", "y + 1)", "activations"),
    "elu: cases swapped": Fault(
        "functional.activations", "xp.where(x > 0, x, alpha", "xp.where(x < 0, x, alpha", "activations"
    ),
    "sigmoid: slope g": Fault(
        "functional.activations", "dy * y * (1 - y)\n", "dy * y\n", "saturation activations"
    ),
    "tanh: slope 1 - g": Fault(
        "functional.activations", "dy * (1 - y * y)", "dy * (1 - y)", "backpropagation"
    ),
    "LeCun's tanh: 2/3 forgotten in the slope": Fault(
        "functional.activations", "1.7159 * 2 / 3 *", "1.7159 *", "activations"
    ),
    "hard tanh: gradient outside": Fault(
        "functional.activations", "keep(dy, ~((x <= min_val) | (x >= max_val)))", "dy", "activations"
    ),
    "maxout: the smallest": Fault(
        "functional.activations", "y = xp.max(groups, axis=-1)", "y = xp.min(groups, axis=-1)", "activations"
    ),
    "leaky ReLU: slope not used": Fault(
        "functional.activations",
        "return x * derivative, lambda dy: dy * derivative",
        "return x * derivative, lambda dy: dy",
        "activations",
    ),
    # losses and penalties
    "cross-entropy: gradient without e(y)": Fault(
        "functional.losses",
        "add_to_columns(exp * (scale / total)[:, None], y, -scale)",
        "exp * (scale / total)[:, None]",
        "softmax backpropagation",
    ),
    "cross-entropy: not shifted by the maximum": Fault(
        "functional.losses",
        "shifted = logits - max_last(logits)\n    exp =",
        "shifted = logits\n    exp =",
        "softmax",
    ),
    "hinge: counts the right class": Fault(
        "functional.losses",
        "active = ~(hinge <= 0) & (one_hot(y, classes, scores.dtype) == 0)",
        "active = ~(hinge <= 0)",
        "hinge-and-cross-entropy",
    ),
    "hinge: the right class pushed once": Fault(
        "functional.losses",
        "-xp.sum(active, axis=1, dtype=scores.dtype))\n        dx = derivative * (scale[:, None] if",
        "-xp.astype(xp.any(active, axis=1), scores.dtype))\n        dx = derivative * (scale[:, None] if",
        "hinge-and-cross-entropy",
    ),
    "L2: gradient lambda w": Fault(
        "functional.regularizers", "(2 * strength) * wide", "strength * wide", "penalties"
    ),
    "L1: slope 1 at 0": Fault(
        "functional.regularizers",
        "strength * xp.sign(wide)",
        "strength * xp.astype(2 * (wide >= 0) - 1, wide.dtype)",
        "penalties",
    ),
    "penalties on biases": Fault("functional.regularizers", "if p.ndim >= 2]", "]", "penalties"),
    # normalisation and dropout
    "batch norm: biased running variance": Fault(
        "functional.normalization",
        "unbiased = var * (count / (count - 1))\n            _move(running_mean, mean, momentum)",
        "unbiased = var\n            _move(running_mean, mean, momentum)",
        "batch-norm-statistics",
    ),
    "batch norm: running statistics in training": Fault(
        "functional.normalization",
        "if training or running_mean is None or running_var is None:",
        "if running_mean is None or running_var is None:",
        "batch-norm-regularises",
    ),
    "dropout: gradient without 1/(1-p)": Fault(
        "cpu.dropout",
        "lambda dy: apply(dy, True)",
        "lambda dy: apply(dy, True) * (1 - p)",
        "dropout-monte-carlo",
    ),
    "dropout: gradient not masked": Fault(
        "cpu.dropout", "lambda dy: apply(dy, True)", "lambda dy: dy * (1 / (1 - p))", "dropout-monte-carlo"
    ),
    "dropout: not scaled": Fault(
        "cpu.dropout", "return apply(x, False)", "return apply(x, False) * (1 - p)", "dropout-monte-carlo"
    ),
    "dropout: p is kept": Fault(
        "cpu.dropout",
        "threshold, kernel = keep_threshold(p)",
        "threshold, kernel = keep_threshold(1 - p)",
        "dropout-monte-carlo",
    ),
    # optimizers
    "SGD: momentum forgets the gradient's sign": Fault(
        "optim.sgd",
        "velocity *= h.momentum",
        "velocity *= -h.momentum",
        "momentum-forms",
    ),
    "SGD: Nesterov is momentum": Fault(
        "optim.sgd", "(g + h.momentum * velocity if h.nesterov else velocity)", "velocity", "momentum-forms"
    ),
    "SGD: rate inside the velocity": Fault(
        "optim.sgd",
        "velocity += g if not h.dampening else (1 - h.dampening) * g\n    theta -= h.lr *",
        "velocity += h.lr * g if step > 1 else g\n    theta -= ",
        "momentum-forms",
    ),
    "SGD: a step up": Fault(
        "optim.sgd", "theta -= h.lr * g\n", "theta += h.lr * g\n", "gradient-descent-1d step-size"
    ),
    "SGD: no decay with momentum": Fault(
        "optim.sgd",
        "    if velocity is None:\n",
        "    g = grad if velocity is not None else g\n    if velocity is None:\n",
        "penalties",
    ),
    "AdaGrad: a running mean": Fault(
        "optim.adagrad",
        "total += g * g",
        "total[...] = 0.9 * total + 0.1 * g * g",
        "epsilon-and-bias-correction",
    ),
    "Adam: no bias correction of the mean": Fault(
        "optim.adam", "h.lr / (1 - beta1**step)", "h.lr", "epsilon-and-bias-correction"
    ),
    "Adam: no bias correction of the square": Fault(
        "optim.adam", "1 / math.sqrt(1 - beta2**step)", "1.0", "epsilon-and-bias-correction"
    ),
    "RMSProp: the new square weighs alpha": Fault(
        "optim.rmsprop",
        "square += (1 - h.alpha) * (g * g)",
        "square += h.alpha * (g * g)",
        "epsilon-and-bias-correction",
    ),
    "AdaDelta: forgets its steps": Fault(
        "optim.adadelta", "delta += (1 - h.rho) * (d * d)", "pass", "epsilon-and-bias-correction"
    ),
    "AdaDelta: steps of the gradient's unit": Fault(
        "optim.adadelta",
        "d = xp.sqrt(delta + h.eps)",
        "d = xp.sqrt(h.eps + 0 * delta)",
        "epsilon-and-bias-correction",
    ),
    "weight decay: half of it": Fault(
        "optim.formula",
        "grad + h.weight_decay * theta if",
        "grad + 0.5 * h.weight_decay * theta if",
        "penalties",
    ),
    "maximize: ignored": Fault(
        "optim.moments",
        'self.upward = getattr(self.h, "maximize", False)',
        "self.upward = False",
        "turning-points",
    ),
    "gradient noise does not fall": Fault(
        "optim.gradients", "math.sqrt(eta / (1 + t) ** gamma)", "math.sqrt(eta)", "gradient-noise"
    ),
    "gradient noise: eta as deviation": Fault(
        "optim.gradients", "math.sqrt(eta / (1 + t) ** gamma)", "eta / (1 + t) ** gamma", "gradient-noise"
    ),
    # schedules
    "step decay: one epoch late": Fault(
        "optim.schedules",
        "self.gamma ** (t // self.step_size)",
        "self.gamma ** ((t - 1) // self.step_size)",
        "schedules",
    ),
    "exponential decay: linear": Fault(
        "optim.schedules", "return self.gamma**t\n", "return 1 - (1 - self.gamma) * t\n", "schedules"
    ),
    "1/t decay: 1/t^2": Fault(
        "optim.schedules", "1 / (1 + self.k * t)", "1 / (1 + self.k * t) ** 2", "schedules"
    ),
    "cosine without the half": Fault(
        "optim.schedules",
        "(1 + math.cos(math.pi * t / self.T_max)) / 2\n",
        "(1 + math.cos(math.pi * t / self.T_max))\n",
        "schedules",
    ),
    "plateau: patience off by one": Fault(
        "optim.plateau", "if self.bad > self.patience:", "if self.bad >= self.patience:", "schedules"
    ),
    "plateau: no smallest rate": Fault(
        "optim.plateau",
        'max(group["lr"] * self.factor, self.least[min(i, len(self.least) - 1)])',
        'group["lr"] * self.factor',
        "schedules",
    ),
    # stopping
    "H2O: tolerance ignored": Fault(
        "train.stopping", "best - self.tolerance * abs(best)", "best", "early-stopping"
    ),
    "H2O: no average": Fault(
        "train.stopping",
        "self.sign * sum(values[i - k : i]) / k",
        "self.sign * values[i - 1]",
        "early-stopping",
    ),
    "patience off by one": Fault(
        "train.stopping",
        "return self._waited >= self.patience",
        "return self._waited > self.patience",
        "early-stopping",
    ),
    "best weights not put back": Fault(
        "train.stopping",
        "if self._state is not None:\n            trainer.show",
        "if False:\n            trainer.show",
        "early-stopping",
    ),
    "divergence: factor ignored": Fault(
        "train.stopping",
        "not cost > self.factor * abs(self.first)",
        "not cost > 1e9 * abs(self.first)",
        "learning-rate-too-low-or-high",
    ),
    # initialisation
    "He's rule without the 2": Fault(
        "init",
        "normal(shape, math.sqrt(2 / fans(shape)[0])",
        "normal(shape, math.sqrt(1 / fans(shape)[0])",
        "init-rules activation-statistics",
    ),
    "He's rule by fan-out": Fault(
        "init",
        "normal(shape, math.sqrt(2 / fans(shape)[0])",
        "normal(shape, math.sqrt(2 / fans(shape)[1])",
        "init-rules",
    ),
    "Glorot with fan-in alone": Fault(
        "init", "math.sqrt(2 / sum(fans(shape)))", "math.sqrt(1 / fans(shape)[0])", "init-rules"
    ),
    "Glorot uniform: bound of the variance": Fault(
        "init", "math.sqrt(6 / sum(fans(shape)))", "math.sqrt(2 / sum(fans(shape)))", "init-rules"
    ),
    "Torch's rule: variance 1/n": Fault(
        "init", "bound = fan_in**-0.5", "bound = (3 / fan_in) ** 0.5", "init-rules"
    ),
    "orthogonal: columns not orthogonal": Fault(
        "init", "q *= np.sign(np.diag(r))", "q = gaussian / len(gaussian) ** 0.5", "init-rules"
    ),
    "uniform: one-sided": Fault(
        "init", "dtype, high - low, low, gaussian=False", "dtype, high, 0.0, gaussian=False", "init-rules"
    ),
    # data
    "HOG without its clip": Fault(
        "data.features", "_l2(xp.minimum(y, xp.full_like(y, 0.2)))", "y", "hog-features"
    ),
    "HOG: votes not shared": Fault(
        "data.features",
        "weight = 1 - distance if bins > 1",
        "weight = xp.astype(distance < 0.5, distance.dtype) if bins > 1",
        "hog-features",
    ),
    "HOG: angle of the edge, not the gradient": Fault(
        "data.features", "xp.atan2(rows, columns)", "xp.atan2(columns, rows)", "hog-features"
    ),
    "zoom inverted": Fault(
        "data.augment",
        "triangle_weights(n, n, n / 2 * (1 - 1 / factor), n / factor)",
        "triangle_weights(n, n, n / 2 * (1 - factor), n * factor)",
        "augmentation",
    ),
    "L always 256": Fault(
        "data.augment",
        "side = self.shorter[0] + _whole(",
        "side = self.shorter[0] + 0 * _whole(",
        "augmentation",
    ),
    "contrast around 0": Fault(
        "data.augment", "return mean + c * (x - mean)", "return c * x", "augmentation"
    ),
    "brightness one-sided": Fault(
        "data.augment",
        "(2 * draw.uniform(1) - 1) * self.amount",
        "draw.uniform(1) * self.amount",
        "augmentation",
    ),
    "flip always": Fault(
        "data.augment", "xp.where(chosen, xp.flip(x, axis=-1), x)", "xp.flip(x, axis=-1)", "augmentation"
    ),
    "multi-scale ignores the scale": Fault(
        "data.views", "views(resize_shorter(x, side))", "views(resize_shorter(x, shorter[0]))", "ten-crop"
    ),
    "ten crops: corners twice": Fault(
        "data.views", "for picture in flips(x) for", "for picture in [x, x] for", "ten-crop"
    ),
    "five crops: centre off": Fault(
        "data.views", "centre = (round((height - h) / 2)", "centre = (round((height - h) / 3)", "ten-crop"
    ),
    "Color PCA: components as columns": Fault(
        "data.augment", "(vectors * scale).T.astype", "(vectors * scale).astype", "color-pca"
    ),
    "curriculum: hardest first": Fault(
        "data.samplers", 'np.argsort(host, kind="stable")', 'np.argsort(-host, kind="stable")', "curriculum"
    ),
    "curriculum does not grow": Fault(
        "data.samplers",
        "min(1.0, self.start + (1 - self.start) * epoch / self.epochs)",
        "self.start",
        "curriculum",
    ),
    "hard examples: outliers not held": Fault(
        "data.samplers", "weights[outliers] = 1.0", "pass", "hard-examples"
    ),
    "interleaved: only shuffled": Fault(
        "data.samplers",
        "return shuffled[by_rank_in_class(self.labels[shuffled])]",
        "return shuffled",
        "class-order",
    ),
    "folds overlap": Fault(
        "data.split",
        "ranked[bounds[i] : bounds[i + 1]]",
        "ranked[bounds[i] : bounds[i + 1] + 1]",
        "cross-validation",
    ),
    "standardise by the variance": Fault(
        "data.preprocessing",
        "x.std(axis=axis, dtype=np.float64)",
        "x.var(axis=axis, dtype=np.float64)",
        "preprocessing",
    ),
    # classic
    "perceptron: always the first mistake": Fault(
        "classic", "i = int(wrong[pick])", "i = int(wrong[0])", "perceptron"
    ),
    "perceptron: half a correction": Fault(
        "classic",
        "w = w + x[i, :] * target[i]\n        trace.append(w)\n\n",
        "w = w + x[i, :] * target[i] / 2\n        trace.append(w)\n\n",
        "perceptron",
    ),
    "McCulloch-Pitts: above the threshold": Fault(
        "classic", "total >= float(threshold)", "total > float(threshold)", "mcculloch-pitts"
    ),
    "perceptron: passes at 0": Fault(
        "classic", "target * (x @ w) <= 0", "target * (x @ w) < 0", "perceptron"
    ),
    "mistake bound without the square": Fault("classic", "/ margin**2", "/ margin", "perceptron"),
    "predict: 0 is negative": Fault("classic", "scores >= 0", "scores > 0", "perceptron hebb"),
    # what the compiled kernels are told
    "kernel of SGD: momentum forgets the gradient's sign": Fault(
        "cpu.optimizers", "step == 1, h.lr, h.momentum", "step == 1, h.lr, -h.momentum", "momentum-forms"
    ),
    "kernel of SGD: Nesterov is momentum": Fault(
        "cpu.optimizers", "1 - h.dampening, h.nesterov", "1 - h.dampening, False", "momentum-forms"
    ),
    "kernel of SGD: a step up": Fault(
        "cpu.optimizers", "step == 1, h.lr", "step == 1, -h.lr", "gradient-descent-1d step-size"
    ),
    "kernel of SGD: no decay": Fault(
        "cpu.optimizers", "h.nesterov, h.weight_decay)", "h.nesterov, 0.0)", "penalties"
    ),
    "kernel of SGD: the first step is not the first": Fault(
        "cpu.optimizers", "arrays, step == 1, h.lr", "arrays, step >= 1, h.lr", "momentum-forms"
    ),
    "kernel of AdaGrad: eps on the other side of the root": Fault(
        "cpu.optimizers",
        "lr, h.eps, h.eps_inside",
        "lr, h.eps, not h.eps_inside",
        "epsilon-and-bias-correction",
    ),
    "kernel of Adam: no bias correction": Fault(
        "cpu.optimizers", "adam.unbiased(h, step)", "adam.unbiased(h, 10**6)", "epsilon-and-bias-correction"
    ),
    "kernel of batch norm: biased running variance": Fault(
        "cpu.batch_norm",
        "momentum * var * (count / (count - 1))",
        "momentum * var",
        "batch-norm-statistics",
    ),
    "kernel of batch norm: the batch's statistics in prediction": Fault(
        "cpu.batch_norm", "x.ndim < 2 or not training", "x.ndim < 2", "batch-norm-statistics"
    ),
    "kernel of batch norm: gradient without eps": Fault(
        "cpu.batch_norm", "1 / np.sqrt(var + eps)", "1 / (var + eps)", "batch-norm-identity"
    ),
    "kernel of cross-entropy: the sum": Fault(
        "cpu.cross_entropy", "scale = 1 / rows if", "scale = 1.0 if", "initial-loss overfit-20"
    ),
    # search, ensembles
    "ensemble: the largest probability": Fault(
        "nn.container",
        "F.softplus(F.log_softmax(output) - total)",
        "F.relu(F.log_softmax(output) - total)",
        "bagging",
    ),
    "bootstrap: without replacement": Fault(
        "ensemble",
        "random.integers(len(data), len(data), random.Key(seed, random.BOOTSTRAP, i))",
        "random.permutation(len(data), random.Key(seed, random.BOOTSTRAP, i))",
        "bagging",
    ),
}


def plant(fault: Fault) -> None:
    """From now on, the module is imported with the fault.

    Raises:
        LookupError: the text is not in the module exactly once.
    """
    name = f"xpnet.{fault.module}"

    class Loader(SourceFileLoader):
        def get_code(self, fullname: str) -> Any:
            source = self.get_data(self.path).decode()
            if source.count(fault.right) != 1:
                raise LookupError(f"{name}: found {source.count(fault.right)} times: {fault.right}")
            return compile(source.replace(fault.right, fault.wrong), self.path, "exec")

    class Finder(PathFinder):
        @classmethod
        def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
            spec = super().find_spec(fullname, path, target) if fullname == name else None
            if spec is not None and spec.origin is not None:
                spec.loader = Loader(fullname, spec.origin)
            return spec

    sys.meta_path.insert(0, Finder)


def first_notice(experiments: str) -> str:
    """Run experiments: the first check that is not right, or the first error; "" if all is well."""
    import warnings

    import numpy as np

    warnings.simplefilter("ignore")
    from xpnet.lab import catalogue

    for name in experiments.split():
        try:
            with np.errstate(all="ignore"):
                result = catalogue()[name]()
        except Exception as error:
            return f"{name}: {type(error).__name__}: {error}"
        for check in result.checks:
            if not check.ok:
                return f"{name}: {check.what}"
    return ""


def compiled(fault: Fault) -> bool:
    """Whether its line runs with the compiled kernels; the other lines run without."""
    return fault.module.startswith("cpu.")


def control(with_kernels: bool) -> str:
    """What the experiments notice without a fault: nothing."""
    faults = [fault for fault in FAULTS.values() if compiled(fault) == with_kernels]
    names = dict.fromkeys(name for fault in faults for name in fault.seen_by.split())
    return _inside(" ".join(names), with_kernels, "control")


def run(name: str) -> str:
    """A fault in a fresh process: what noticed it, or ""."""
    return _inside(FAULTS[name].seen_by, compiled(FAULTS[name]), name)


def _inside(experiments: str, with_kernels: bool, name: str) -> str:
    found = subprocess.run(
        [sys.executable, "-m", "tests.lab.faults", "--inside", name, experiments],
        env={**os.environ, "XPNET_FUSED": str(int(with_kernels))},
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise RuntimeError(f"{name}: {found.stderr.strip().splitlines()[-1]}")
    return found.stdout.strip()


def main(names: list[str]) -> int:
    """Run faults, two at a time."""
    if names[:1] == ["--inside"]:
        if names[1] in FAULTS:
            plant(FAULTS[names[1]])
        print(first_notice(names[2]))
        return 0
    missed = []
    if not names:
        missed = [f"without a fault: {notice}" for notice in (control(True), control(False)) if notice]
        print(*missed, sep="\n", end="\n" if missed else "", flush=True)
    names = names or list(FAULTS)
    with ThreadPoolExecutor(2) as pool:
        for name, notice in zip(names, pool.map(run, names), strict=True):
            print(f"{'noticed' if notice else 'MISSED ':<9}{name}: {notice}", flush=True)
            missed += [] if notice else [name]
    print(f"{len(names)} faults, {len(missed)} not noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
