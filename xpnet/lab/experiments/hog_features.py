"""Histograms of oriented gradients: a known picture falls into a known bin."""

import math

import numpy as np

from xpnet import asarray, nn, optim, to_numpy
from xpnet import functional as F
from xpnet.data import Standardize, hog, load_digits, split
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.pictures import landscape, show
from xpnet.train import Trainer

BINS, SIZE = 9, 32
ANGLES = np.arange(10, 180, 20)  # the middle of each of nine bins


def ramp(degrees):
    """A picture that grows in one direction: (1, 1, 32, 32)."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    t = math.radians(degrees)
    return ((x * math.cos(t) + y * math.sin(t)) / 50)[None, None].astype(np.float32)


def accuracies(features, train, validations):
    """Softmax regression on features of the training pictures, judged on several validation sets."""
    scaler = Standardize().fit(features(train.x))
    prepare = lambda data: data.map(lambda x: asarray(scaler.transform(features(x)))).to_backend()
    model = nn.Linear(scaler.mean.size, 10)
    trainer = Trainer(model, F.cross_entropy, optim.Adam(model, lr=0.01))
    trainer.fit(prepare(train), epochs=8)
    return [trainer.evaluate(prepare(data))["accuracy"] for data in validations]


@experiment("S1", "exercise 1: features from histograms of gradients (HOG)")
def run() -> Result:
    # core
    one = {
        "orientations": BINS,
        "pixels_per_cell": (8, 8),
        "cells_per_block": (1, 1),
        "feature_vector": False,
    }
    # a cell away from the edge
    inner = lambda x, **options: to_numpy(hog(asarray(x), **one, **options))[0, 1, 1, 0, 0]
    bins = [int(np.argmax(inner(ramp(a)))) for a in ANGLES]
    # end of core
    shares = [float(np.max(h) / np.sum(h)) for h in (inner(ramp(a), block_norm="L1") for a in ANGLES)]
    # half way between two centres: shared by both, if each pixel is divided among the nearest bins
    shared = inner(ramp(40.0), block_norm="L1", trilinear=True)[:4]
    edge = np.zeros((1, 1, SIZE, SIZE), np.float32)
    edge[..., 12:] = 1.0  # a step from left to right inside the second column of cells

    bright = np.abs(inner(ramp(50) * 3 + 1) - inner(ramp(50))).max()
    # slope 1 in the left cells of a block and 3 in the right ones: 9 and 24 of gradient, all in one bin
    kink = np.minimum(np.arange(32.0), 15) + 3 * np.maximum(np.arange(32.0) - 15, 0)
    kink = np.broadcast_to(kink, (1, 1, 32, 32)).astype(np.float32) / 64
    options = {
        "orientations": BINS,
        "pixels_per_cell": (8, 8),
        "cells_per_block": (2, 2),
        "feature_vector": False,
    }
    norms = {
        n: to_numpy(hog(asarray(kink), block_norm=n, **options))[0, 1, 1].max(axis=-1).reshape(-1)
        for n in ("L2", "L2-Hys")
    }
    pair = np.array([9.0, 24, 9, 24]) / np.hypot(9, 24) / 2**0.5

    train, validation = split(load_digits(flatten=False), (0.8, 0.2))
    sets = [validation, validation.map(lambda x: 0.4 * x + 8)]  # and the same on grey paper, in pale ink
    pixels = accuracies(lambda x: x.reshape(len(x), -1), train, sets)
    with_hog = accuracies(lambda x: to_numpy(hog(asarray(x), 8, (2, 2), (2, 2))), train, sets)

    picture = landscape(128, 128)
    cells = to_numpy(hog(asarray(picture), **one))[0, :, :, 0, 0]

    def draw(figure):
        from matplotlib.collections import LineCollection

        axes = figure.subplots(1, 2)
        show(axes[0], picture[0], "picture")
        lines, weights = [], []
        for i, j in np.ndindex(cells.shape[:2]):
            for angle, length in zip(np.radians(ANGLES), cells[i, j], strict=True):
                dx, dy = (
                    -np.sin(angle) * length / 2,
                    np.cos(angle) * length / 2,
                )  # an edge lies across its gradient
                lines.append([(j - dx, i - dy), (j + dx, i + dy)])
                weights.append(min(1.0, float(length)))
        axes[1].add_collection(LineCollection(lines, colors="k", alpha=weights))
        axes[1].set(aspect="equal", xlim=(-0.6, 15.6), ylim=(15.6, -0.6), title="HOG, cells of 8 by 8")
        axes[1].axis("off")

    return Result(
        "Each cell counts its gradients by direction, weighted by their length: a ramp at angle a puts all "
        "of it into the bin that holds a, and brightness or contrast change nothing, because blocks are "
        "normalised. On digits in paler ink on grey paper, softmax regression on pixels fails and on HOG "
        "does not; S1's exercise on CIFAR-10 is python -m bench.images hog --path DIR.",
        [
            Check("bin of ramps at 10, 30, ..., 170 degrees", bins, exact=list(range(9))),
            Check("share of that bin", shares, exact=np.ones(9), atol=1e-4),
            Check("a ramp at 40 degrees, shared: bins 0 to 3", shared, exact=[0.0, 0.5, 0.5, 0.0], atol=1e-3),
            Check("a vertical edge: bin of horizontal gradients", int(np.argmax(inner(edge))), exact=0),
            Check("a block of 9, 24, 9, 24: norm L2", norms["L2"], exact=pair, atol=1e-3),
            Check(
                "the same, L2-Hys: all clipped at 0.2, then 1/2", norms["L2-Hys"], exact=[0.5] * 4, atol=1e-3
            ),
            Check("brightness and contrast: largest change", bright, exact=0.0, atol=1e-4),
            Check(
                "features of a CIFAR-10 picture, cells of 8, blocks of 2",
                hog(np.zeros((1, 3, 32, 32)), 9, (8, 8), (2, 2)).shape[1],
                exact=3 * 3 * 2 * 2 * 9,
            ),
            Check("accuracy on the validation digits: pixels, HOG", [pixels[0], with_hog[0]], at_least=0.93),
            Check("in pale ink on grey paper: HOG", with_hog[1], exact=with_hog[0], atol=0.02),
            Check("in pale ink on grey paper: pixels", pixels[1], at_most=0.8),
        ],
        [
            Table(
                "Accuracy of softmax regression",
                ["features", "validation digits", "in pale ink on grey paper"],
                [["64 pixels", *pixels], ["288 HOG", *with_hog]],
            )
        ],
        [Picture("Histograms of oriented gradients, drawn along the edges", draw, (8, 4))],
    )
