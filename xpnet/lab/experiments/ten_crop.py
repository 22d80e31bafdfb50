"""At test time: ten crops of 224 by 224, several scales, and the mean of what the model says."""

import numpy as np

from xpnet import asarray, nn, to_numpy
from xpnet import functional as F
from xpnet.data import five_crop, multi_scale, predict_views, resize_shorter, ten_crop
from xpnet.lab import Check, Picture, Result, experiment
from xpnet.lab.pictures import landscape, show
from xpnet.train import predict


@experiment("S3, S5", "test-time augmentation: 10 fixed crops, 4 corners and the centre, flipped; N scales")
def run() -> Result:
    original = landscape()  # 256 by 340
    places = {
        "top left": (0, 0),
        "top right": (0, 116),
        "bottom left": (32, 0),
        "bottom right": (32, 116),
        "centre": (16, 58),
    }
    # core
    views, errors = [to_numpy(v) for v in ten_crop(asarray(original), 224)], []
    for k, (top, left) in enumerate(places.values()):
        window = slice(top, top + 224), slice(left, left + 224)
        errors.append(np.abs(views[k][0] - original[0][:, *window]).max())
        errors.append(np.abs(views[5 + k][0] - original[0][:, :, ::-1][:, *window]).max())
    # end of core

    scales = (256, 288, 320)
    # each pixel of this picture is its column: scaled to width w, pixel j shows (j + 1/2) 340 / w - 1/2
    columns = np.broadcast_to(np.arange(340.0, dtype=np.float32), (1, 3, 256, 340))
    enlarged = [to_numpy(v)[0, 0, 100] for v in multi_scale(asarray(columns), scales, lambda x: [x])]
    many = [v.shape for v in multi_scale(asarray(original), scales, lambda x: ten_crop(x, 224))]

    # the mean of the views' probabilities
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 4))
    small = resize_shorter(asarray(original), 32)
    together = to_numpy(predict_views(model, small, lambda x: ten_crop(x, 28)))[0]
    one_by_one = np.mean([to_numpy(F.softmax(predict(model, v)))[0] for v in ten_crop(small, 28)], axis=0)

    def draw(figure):
        axes = figure.subplots(2, 6)
        for row, title in zip(axes, ("original", "flipped"), strict=True):
            show(row[0], original[0] if title == "original" else original[0][:, :, ::-1], title)
        for k, view in enumerate(views):
            show(axes[k // 5, 1 + k % 5], view[0], list(places)[k % 5])

    return Result(
        "A network trained on crops needs crops of that size at test time: the four corners and the centre, "
        "each also flipped, are ten views, whose probabilities are averaged; several scales multiply the "
        "views and the cost. Flips alone are S5's 2 views, one image its 1.",
        [
            Check("views of a picture", len(views), deck="10", exact=2 * (4 + 1)),
            Check("of which without flips", len(five_crop(asarray(original), 224)), exact=4 + 1),
            Check("size of a view", views[0].shape[2:], deck="224 224", exact=[224, 224]),
            Check("largest difference from the window it should be", max(errors), exact=0.0, atol=0),
            Check("views at three scales", len(many), exact=30),
            *(
                Check(
                    f"shorter side {s}: columns 50 to 60 show",
                    row[50:60],
                    exact=(np.arange(50, 60) + 0.5) * 340 / (340 * s // 256) - 0.5,
                    atol=1e-3,
                )
                for s, row in zip(scales, enlarged, strict=True)
            ),
            Check("all of one size", len(set(many)), exact=1),
            Check("mean of the ten views' probabilities", together, exact=one_by_one, atol=1e-6),
        ],
        pictures=[Picture("The ten crops", draw, (10, 3.8))],
    )
