"""Color PCA (AlexNet): shift the colours of a picture along the directions in which colours vary."""

import numpy as np

from xpnet import asarray, to_numpy
from xpnet.data import ColorPCA, Draw
from xpnet.lab import Check, Picture, Result, Table, experiment
from xpnet.lab.pictures import landscape, show

N, SIGMA = 4000, 0.1


@experiment("S3", "Color PCA")
def run() -> Result:
    # core
    original = landscape()
    pixels = original[0].reshape(3, -1).astype(np.float64)
    covariance = np.cov(pixels, bias=True)
    augment = ColorPCA(SIGMA).fit(original)
    x = np.repeat(original[:, :, :2, :2], N, axis=0)
    shifts = to_numpy(augment(asarray(x), None, Draw(0, 0, np.arange(N)))[0]) - x
    measured = np.cov(shifts[:, :, 0, 0].astype(np.float64).T, bias=True)
    # end of core
    values = np.linalg.eigvalsh(covariance)[::-1]

    strong = ColorPCA(1.0).fit(original)
    sheet = to_numpy(strong(asarray(np.repeat(original, 5, axis=0)), None, Draw(0, 0, np.arange(5)))[0])

    def draw(figure):
        for k, axis in enumerate(figure.subplots(1, 6)):
            show(axis, original[0] if k == 0 else sheet[k - 1], "" if k else "original")

    return Result(
        "Each picture gets one shift, a_1 s_1 p_1 + a_2 s_2 p_2 + a_3 s_3 p_3, with p the principal "
        "components of the pixels' colours, s their deviations and a from N(0, 0.1^2): the shifts vary as "
        "the colours do, only less, so their covariance is 0.01 times that of the pixels.",
        [
            Check(
                "covariance of the shifts",
                measured,
                exact=SIGMA**2 * covariance,
                atol=0.06 * SIGMA**2 * covariance.max(),
            ),
            Check(
                "mean shift",
                shifts.mean(axis=(0, 2, 3)),
                exact=np.zeros(3),
                atol=4 * SIGMA * covariance.max() ** 0.5 / N**0.5,
            ),
            Check(
                "one shift a picture: largest difference between pixels",
                np.ptp(shifts, axis=(2, 3)).max(),
                exact=0.0,
                atol=1e-6,
            ),
        ],
        [
            Table(
                "Principal components of the colours",
                ["component", "variance", "share"],
                [[k + 1, v, v / values.sum()] for k, v in enumerate(values)],
            )
        ],
        [Picture("Color PCA with sigma = 1, ten times AlexNet's", draw, (10, 1.8))],
    )
