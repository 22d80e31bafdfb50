"""The error of an ensemble of k models: sigma^2 / k if their errors are uncorrelated."""

import numpy as np

from xpnet import asarray, init, nn, optim, to_numpy
from xpnet import functional as F
from xpnet.data import Dataset, load_digits, split
from xpnet.ensemble import bagging, bootstrap, ensemble_variance
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.train import Trainer, evaluate, predict

SIZES, CORRELATIONS, SIGMA, DRAWS = (1, 2, 5, 10, 20), (0.0, 0.3, 1.0), 2.0, 20000
MEMBERS, POINTS = 10, 40


def truth(x):
    return np.sin(3 * x)


def train_on(data):
    """A small network for one bootstrap sample of the curve."""
    model = nn.Sequential(nn.Linear(1, 30), nn.Tanh(), nn.Linear(30, 1))
    optimizer = optim.Adam(model, lr=0.03)
    x, y = asarray(data.x), asarray(data.y)
    for _ in range(200):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    return model


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def classifier(data, number):
    """A network for one bootstrap sample of the digits."""
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    Trainer(model, F.cross_entropy, optim.Adam(model, lr=0.01)).fit(data, epochs=10)
    return model


@experiment("S5", "bagging and ensembles: the error against the number of models k")
def run() -> Result:
    common = to_numpy(init.normal((DRAWS, 1), std=SIGMA)).astype(np.float64)
    own = to_numpy(init.normal((DRAWS, max(SIZES)), std=SIGMA)).astype(np.float64)
    measured = {}
    for rho in CORRELATIONS:
        errors = rho**0.5 * common + (1 - rho) ** 0.5 * own  # variance sigma^2, correlation rho
        measured[rho] = [float(np.mean(errors[:, :k].mean(axis=1) ** 2)) for k in SIZES]

    # bagging: networks on samples drawn with replacement from one training set
    x = np.linspace(-2, 2, POINTS)[:, None]
    y = truth(x) + to_numpy(init.normal((POINTS, 1), std=0.5))
    grid = np.linspace(-2, 2, 200)[:, None]
    outputs, distinct = [], []
    curve = Dataset(x.astype(np.float32), y.astype(np.float32))
    # core
    for member in range(MEMBERS):
        sample = bootstrap(curve, member)
        distinct.append(len(np.unique(sample.x)) / POINTS)
        outputs.append(to_numpy(train_on(sample)(asarray(grid, "float32")))[:, 0].astype(np.float64))
    errors = np.array(outputs) - truth(grid[:, 0])
    products = errors @ errors.T / errors.shape[1]  # mean products: the diagonal holds squared errors
    single = products.diagonal().mean()
    ensemble = np.mean(errors.mean(axis=0) ** 2)
    # end of core
    rho = (products.sum() - products.trace()) / (MEMBERS * (MEMBERS - 1)) / single

    train, validation = split(load_digits().map(lambda x: (x - 4.9) / 6), (0.2, 0.8))
    digits = bagging(classifier, train, k=5)
    accuracy = evaluate(digits, validation, F.cross_entropy)["accuracy"]
    members = [evaluate(model, validation, F.cross_entropy)["accuracy"] for model in digits.models]

    def draw(figure):
        axes = figure.subplots(1, 2)
        k = np.arange(1, max(SIZES) + 1)
        for c, found in measured.items():
            (line,) = axes[0].plot(k, ensemble_variance(SIGMA**2, k, c), label=f"correlation {c}")
            axes[0].plot(SIZES, found, "o", color=line.get_color())
        axes[0].set(xlabel="models k", ylabel="squared error", ylim=(0, None))
        axes[0].legend()
        axes[1].plot(grid, np.array(outputs).T, color="C0", alpha=0.3)
        axes[1].plot(grid, np.mean(outputs, axis=0), color="C3", label="mean of ten")
        axes[1].plot(grid, truth(grid), "k--", label="truth")
        axes[1].plot(x, y, "k.", ms=4)
        axes[1].set(xlabel="x", ylabel="y")
        axes[1].legend()

    return Result(
        "The mean of k models has the squared error rho sigma^2 + (1 - rho) sigma^2 / k: with uncorrelated "
        "errors it falls as 1/k (S5's 'linearly with the ensemble size' cannot be meant: it would be "
        "negative soon), with correlated ones it stops at rho sigma^2. Ten networks on bootstrap samples of "
        "one training set have correlated errors, and the formula gives their ensemble's error exactly.",
        [
            Check(
                f"squared error, k = 1, 2, 5, 10, 20, correlation {c}",
                [ensemble_variance(SIGMA**2, k, c) for k in SIZES],
                deck=[SIGMA**2 * (1 - (k - 1) / 2) for k in SIZES] if c == 0 else None,
                exact=[c * SIGMA**2 + (1 - c) * SIGMA**2 / k for k in SIZES],
                kind="reading",
                slip="'linearly with the ensemble size': it falls as 1/k; a straight line is soon negative",
            )
            for c in CORRELATIONS
        ]
        + [
            Check(
                f"the same, simulated, correlation {c}",
                measured[c],
                exact=[c * SIGMA**2 + (1 - c) * SIGMA**2 / k for k in SIZES],
                rtol=0.05,
            )
            for c in CORRELATIONS
        ]
        + [
            Check(
                "digits: the ensemble's probabilities are the mean of its members'",
                to_numpy(digits.predict_proba(validation.x[:50])),
                exact=np.mean(
                    [softmax(to_numpy(predict(m, validation.x[:50]))) for m in digits.models], axis=0
                ),
                atol=1e-6,
            ),
            Check(
                "digits: accuracy of five bagged networks - mean of one",
                accuracy - np.mean(members),
                at_least=0.005,
            ),
            Check("bagging: error of the ensemble / of one network", ensemble / single, at_most=0.9),
            Check(
                "bootstrap: share of distinct samples",
                np.mean(distinct),
                exact=1 - (1 - 1 / POINTS) ** POINTS,
                atol=0.06,
            ),
        ],
        [
            Table(
                "Bagging ten networks",
                ["error of one", "correlation of the errors", "error of the ensemble", "formula"],
                [[single, rho, ensemble, rho * single + (1 - rho) * single / MEMBERS]],
            )
        ],
        [Picture("Ensembles: theory (lines) and simulation; ten bagged networks", draw, (9, 3.5))],
    )
