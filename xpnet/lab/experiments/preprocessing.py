"""Centred, scaled, decorrelated, whitened: what each step does to the mean and the covariance."""

import numpy as np

from xpnet import asarray, init, to_numpy
from xpnet.data import ZCA, MeanImage, MinMax, PCAWhiten, Standardize
from xpnet.lab import Check, Picture, Result, Table, experiment

N = 1000


def covariance(x):
    return np.cov(to_numpy(x).astype(np.float64).T, bias=True)


@experiment("S1, S2, S3", "preprocessing: zero mean, unit variance, min-max, PCA, whitening")
def run() -> Result:
    mix = asarray([[3.0, 1.0], [1.0, 1.0]])
    x = init.normal((N, 2), std=1.0) @ mix + asarray([4.0, 2.0])
    new = init.normal((5, 2), std=1.0) @ mix + asarray([4.0, 2.0])
    # core
    steps = {
        "centred": MeanImage(),
        "scaled": Standardize(),
        "min-max": MinMax(),
        "decorrelated": PCAWhiten(whiten=False),
        "whitened": PCAWhiten(),
        "ZCA": ZCA(),
    }
    clouds = {name: step.fit(x).transform(x) for name, step in steps.items()}
    # end of core
    mean, std = to_numpy(x).mean(axis=0), to_numpy(x).std(axis=0)
    eigenvalues = np.linalg.eigvalsh(covariance(x))[::-1]
    moved = {
        name: np.mean((to_numpy(clouds[name]) - to_numpy(clouds["scaled"])) ** 2)
        for name in ("whitened", "ZCA")
    }

    def draw(figure):
        shown = {"original": x, **clouds}
        for axis, (name, cloud) in zip(figure.subplots(2, 4).flat, shown.items(), strict=False):
            axis.scatter(*to_numpy(cloud[:120]).T, s=6, c=np.arange(120) % 7, cmap="tab10")
            axis.axhline(0, color="k", lw=0.5)
            axis.axvline(0, color="k", lw=0.5)
            axis.set_title(name, fontsize="small")
            axis.set_aspect("equal", "datalim")
        figure.axes[-1].axis("off")
        figure.supxlabel("first feature")
        figure.supylabel("second feature")

    return Result(
        "Centring moves the mean to 0, scaling gives each feature variance 1, the principal components "
        "remove the correlation, and dividing by their deviations whitens: the covariance is the identity; "
        "ZCA whitens with the least change. All statistics are those of the training set and are stored, "
        "because new data must get the same transformation.",
        [
            Check("centred: mean", to_numpy(clouds["centred"]).mean(axis=0), exact=[0.0, 0.0], atol=1e-4),
            Check("scaled: mean", to_numpy(clouds["scaled"]).mean(axis=0), exact=[0.0, 0.0], atol=1e-4),
            Check("scaled: variance", covariance(clouds["scaled"]).diagonal(), exact=[1.0, 1.0], atol=1e-4),
            Check(
                "min-max: smallest and largest value of each feature",
                [to_numpy(clouds["min-max"]).min(axis=0), to_numpy(clouds["min-max"]).max(axis=0)],
                exact=[[0.0, 0], [1, 1]],
                atol=1e-6,
            ),
            Check(
                "decorrelated: covariance",
                covariance(clouds["decorrelated"]),
                exact=np.diag(eigenvalues),
                atol=1e-4,
            ),
            Check("whitened: covariance", covariance(clouds["whitened"]), exact=np.eye(2), atol=1e-4),
            Check("ZCA: covariance", covariance(clouds["ZCA"]), exact=np.eye(2), atol=1e-4),
            Check(
                "ZCA moves the samples less than PCA whitening: ratio",
                moved["ZCA"] / moved["whitened"],
                at_most=0.8,
            ),
            Check(
                "new data: with the stored mean and deviation",
                steps["scaled"].transform(new),
                exact=(to_numpy(new) - mean) / std,
                atol=1e-5,
            ),
            Check(
                "undone: largest error",
                max(np.abs(to_numpy(s.inverse(clouds[k])) - to_numpy(x)).max() for k, s in steps.items()),
                exact=0.0,
                atol=1e-4,
            ),
        ],
        [
            Table(
                "Covariance",
                ["", "var x", "cov", "var y"],
                [
                    [name, c[0, 0], c[0, 1], c[1, 1]]
                    for name, c in ((k, covariance(v)) for k, v in {"original": x, **clouds}.items())
                ],
            )
        ],
        [Picture("The same samples after each step", draw, (10, 5))],
    )
