"""One picture, many training pictures: every augmentation of the decks."""

import numpy as np

from xpnet import asarray, to_numpy
from xpnet.data import (
    ColorPCA,
    Compose,
    DataLoader,
    Dataset,
    Draw,
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    RandomZoom,
)
from xpnet.lab import Check, Picture, Result, experiment
from xpnet.lab.pictures import landscape, show

N = 200


@experiment("S3, S5", "data augmentation: crop, zoom, flip, Color PCA, brightness, contrast, L in [256, 480]")
def run() -> Result:
    original = landscape()
    small = original[:, :, ::8, ::8]  # 32 by 43, for the statistics
    batch = asarray(np.repeat(small, N, axis=0))
    apply = lambda augment, x: to_numpy(augment(asarray(x), None, Draw(0, 0, np.arange(x.shape[0])))[0])
    # core
    kinds = {
        "crop": RandomCrop(224),
        "zoom": RandomZoom(1.0, 1.5),
        "flip": RandomFlip(),
        "Color PCA": ColorPCA(0.5).fit(original),
        "brightness": RandomBrightness(0.3),
        "contrast": RandomContrast(0.5, 1.5),
        "L in [256, 480], crop 224": RandomResizedCrop(224, (256, 480)),
    }
    # end of core
    kinds["all of them"] = Compose(
        [kinds[k] for k in ("L in [256, 480], crop 224", "flip", "Color PCA", "contrast")]
    )
    sheet = {name: apply(augment, np.repeat(original, 5, axis=0)) for name, augment in kinds.items()}

    flipped = apply(RandomFlip(), batch)
    is_flipped = np.array([np.array_equal(p, small[0, :, :, ::-1]) for p in flipped])
    is_same = np.array([np.array_equal(p, small[0]) for p in flipped])

    crops = apply(RandomCrop(32), batch)  # 32 of 43 columns: 12 places, all rows
    windows = np.array([small[0, :, :, left : left + 32] for left in range(small.shape[3] - 31)])
    hits = (np.abs(crops[:, None] - windows[None]) == 0).all(axis=(2, 3, 4))

    # on a picture whose pixels are their columns, a picture enlarged k times grows by 1/k a pixel
    columns = np.broadcast_to(np.arange(340.0, dtype=np.float32), (N // 2, 1, 256, 340))
    growth = lambda augment: np.diff(apply(augment, columns)[:, 0, 100, 100:110], axis=1).mean(axis=1)
    zooms = 1 / growth(kinds["zoom"])
    shorter = 256 / growth(kinds["L in [256, 480], crop 224"])

    brighter = apply(RandomBrightness(0.3), batch) - small
    contrasted = apply(RandomContrast(0.5, 1.5), batch)
    factors = contrasted.std(axis=(1, 2, 3)) / small.std()

    # the same samples in other batches and in another order: the same augmentation in the same epoch
    data = Dataset(np.repeat(small, 64, axis=0), np.arange(64))

    def epoch(batch_size, shuffle, number=0):
        loader = DataLoader(data, batch_size, shuffle, seed=0, augment=kinds["contrast"])
        loader.load_state_dict({"seed": 0, "epoch": number, "batch": 0})
        pairs = [(to_numpy(x), to_numpy(y)) for x, y in loader]
        x, y = (np.concatenate(part) for part in zip(*pairs, strict=True))
        return x[y.argsort()]

    def draw(figure):
        for axis, (name, pictures) in zip(figure.subplots(len(sheet)), sheet.items(), strict=True):
            side = [p[:, :224, :224] for p in (original[0], *pictures)]  # of one size
            show(axis, np.concatenate(side, axis=2)[:, ::2, ::2], name)

    return Result(
        "Every epoch sees other versions of a picture whose class stays; what happens to a sample depends "
        "on the seed, the epoch and its number only, so two networks can be compared on the same "
        "augmentation, as S5 asks. The training crop scales the shorter side to L in [256, 480] and cuts "
        "out 224 by 224.",
        [
            Check(
                "flip: pictures that are the original or its mirror image",
                (is_flipped | is_same).mean(),
                exact=1.0,
            ),
            Check("flip: share of mirror images", is_flipped.mean(), exact=0.5, atol=0.12),
            Check(
                "crop: pictures that are exactly one window of the original",
                (hits.sum(axis=1) == 1).mean(),
                exact=1.0,
            ),
            Check("crop: windows that occur, of 12", (hits.sum(axis=0) > 0).sum(), exact=12),
            Check(
                "brightness: largest deviation from a constant shift",
                np.ptp(brighter, axis=(1, 2, 3)).max(),
                exact=0.0,
                atol=1e-6,
            ),
            Check(
                "brightness: standard deviation of the shift, uniform +-0.3",
                brighter[:, 0, 0, 0].std(),
                exact=0.3 / 3**0.5,
                rtol=0.1,
            ),
            Check(
                "contrast: largest change of a picture's mean",
                np.abs(contrasted.mean(axis=(1, 2, 3)) - small.mean()).max(),
                exact=0.0,
                atol=1e-5,
            ),
            Check(
                "contrast: smallest and largest factor in [0.5, 1.5]",
                [factors.min(), factors.max()],
                exact=[0.5, 1.5],
                atol=0.05,
            ),
            Check(
                "zoom: smallest, mean and largest factor in [1, 1.5]",
                [zooms.min(), zooms.mean(), zooms.max()],
                exact=[1.0, 1.25, 1.5],
                atol=0.04,
            ),
            Check(
                "L in [256, 480]: smallest, mean and largest L",
                [shorter.min(), shorter.mean(), shorter.max()],
                exact=[256, 368, 480],
                atol=20,
            ),
            Check(
                "L in [256, 480]: size of the crop",
                sheet["L in [256, 480], crop 224"].shape[2:],
                deck="224 224",
                exact=[224, 224],
            ),
            Check(
                "same epoch, other batches: largest difference",
                np.abs(epoch(8, True) - epoch(64, False)).max(),
                exact=0.0,
                atol=1e-6,
            ),
            Check(
                "another epoch: it differs",
                np.abs(epoch(64, False, 1) - epoch(64, False)).max(),
                at_least=0.05,
            ),
        ],
        pictures=[Picture("The original, and five draws of each augmentation", draw, (7, 11.5))],
    )
