"""Augmentation: each against loops over pixels, and its random numbers."""

import numpy as np
import pytest
import scipy.stats

import xpnet
from xpnet import functional as F
from xpnet.core.places import where
from xpnet.data import (
    ColorPCA,
    Compose,
    Cutout,
    DataLoader,
    Dataset,
    Draw,
    Mixup,
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    RandomZoom,
    five_crop,
    flips,
    multi_scale,
    predict_views,
    resize,
    resize_shorter,
    ten_crop,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3, 9, 7)).astype(np.float32)
Y = np.arange(12) % 4
DATA = Dataset(X, Y)
EVERY = [
    RandomCrop((8, 6), padding=2),
    RandomFlip(),
    RandomResizedCrop(6, (8, 12)),
    RandomZoom(0.7, 1.4),
    RandomBrightness(2.0),
    RandomContrast(0.5, 2.0),
    ColorPCA().fit(X),
    Cutout(4),
    Mixup(DATA, alpha=0.4),
    Compose([RandomCrop(7, padding=1), RandomFlip(), Cutout(3)]),
]


def draw(indices=range(12), epoch=0, seed=0):
    return Draw(seed, epoch, np.array(list(indices)))


def augmented(augment, x=X, y=Y, **options):
    found, targets = augment(xpnet.asarray(x), xpnet.asarray(y), draw(**options))
    assert where(found) == where(targets) == where(xpnet.asarray([0.0]))
    return xpnet.to_numpy(found), xpnet.to_numpy(targets)


def name(augment):
    return type(augment).__name__


# ---- the random numbers ----


@pytest.mark.parametrize("augment", EVERY, ids=name)
def test_a_sample_changes_alike_in_every_batch(augment):
    whole, targets = augmented(augment)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    order = [7, 2, 11, 0]
    part, some = augmented(augment, X[order], Y[order], indices=order)
    np.testing.assert_allclose(part, whole[order], atol=1e-6)
    assert np.array_equal(some, targets[order])


@pytest.mark.parametrize("augment", EVERY, ids=name)
def test_seed_and_epoch_change_it(augment):
    first = augmented(augment)[0]
    assert np.array_equal(first, augmented(augment)[0])
    assert not np.array_equal(first, augmented(augment, epoch=1)[0])
    assert not np.array_equal(first, augmented(augment, seed=1)[0])


@pytest.mark.parametrize("augment", EVERY[:-1], ids=name)
def test_integers_become_float32_and_the_batch_stays_as_it_was(augment):
    x = RNG.integers(0, 256, X.shape, dtype=np.uint8)
    before = x.copy()
    assert augmented(augment, x)[0].dtype == np.float32
    assert np.array_equal(x, before)


def test_every_backend_draws_the_same_numbers():
    # fixed numbers: each backend must give these
    assert (draw([3, 0]).uniform(2) * 2**24).astype(int).tolist() == [[267819, 8909484], [2771326, 15050218]]


def test_equal_steps_draw_apart():
    pair = Compose([RandomBrightness(1.0), RandomBrightness(1.0)])
    once = augmented(Compose([RandomBrightness(1.0)]))[0] - X
    assert not np.allclose(augmented(pair)[0] - X, 2 * once, atol=1e-3)


@pytest.mark.host
def test_uniform_and_normal_are_uniform_and_normal():
    many = draw(range(5000))
    u, z = many.uniform(3), many.normal(3)
    assert scipy.stats.kstest(u.reshape(-1), "uniform").pvalue > 0.01
    assert scipy.stats.kstest(z.reshape(-1), "norm").pvalue > 0.01
    assert np.abs(np.corrcoef(u.T) - np.eye(3)).max() < 0.05
    assert np.abs(np.corrcoef(z.T) - np.eye(3)).max() < 0.05


# ---- where ----


def crop_places(picture, padded):
    """All places of `picture` in `padded`."""
    (_, h, w), (_, height, width) = picture.shape, padded.shape
    return [
        (i, j)
        for i in range(height - h + 1)
        for j in range(width - w + 1)
        if np.array_equal(padded[:, i : i + h, j : j + w], picture)
    ]


def test_random_crop_cuts_out_of_the_padded_picture_everywhere():
    x = np.repeat(X[:1], 300, axis=0)
    crops, _ = augmented(RandomCrop((8, 6), padding=2, value=5.0), x, np.zeros(300), indices=range(300))
    padded = np.full((3, 13, 11), 5.0, np.float32)
    padded[:, 2:11, 2:9] = X[0]
    places = [crop_places(crop, padded) for crop in crops]
    assert all(len(found) == 1 for found in places)
    assert len({found[0] for found in places}) == 36  # all of 6 by 6


def test_random_flip_mirrors_half_of_the_pictures():
    x = np.repeat(X[:1], 400, axis=0)
    out, _ = augmented(RandomFlip(), x, np.zeros(400), indices=range(400))
    same = [np.array_equal(o, X[0]) for o in out]
    mirrored = [np.array_equal(o, X[0][:, :, ::-1]) for o in out]
    assert sum(same) + sum(mirrored) == 400
    assert abs(sum(same) - 200) < 50
    assert np.array_equal(augmented(RandomFlip(0.0))[0], X)
    assert np.array_equal(augmented(RandomFlip(1.0))[0], X[..., ::-1])


def bilinear_by_loops(picture, rows, columns):
    """Triangle filters, pixel by pixel: `rows` and `columns` are (start, length, outputs)."""

    def axis(values, start, length, outputs):
        n, step, out = len(values), length / outputs, []
        for i in range(outputs):
            centre = min(max(start + (i + 0.5) * step, 0.5), n - 0.5)
            weights = [max(0.0, 1 - abs(j + 0.5 - centre) / max(step, 1.0)) for j in range(n)]
            out.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
        return np.array(out)

    down = np.stack([axis(list(c), *rows) for c in picture])
    return np.stack([axis(list(c.T), *columns).T for c in down])


def test_random_resized_crop_is_a_crop_of_the_scaled_picture():
    out, _ = augmented(RandomResizedCrop(6, (8, 12)))
    u = draw().uniform(3)
    sides = set()
    for k in range(12):
        side = 8 + int(u[k, 0] * 5)
        sides.add(side)
        pixel = 7 / side  # the shorter side is the width, 7
        top = int(u[k, 1] * (round(9 / pixel) - 6 + 1))
        left = int(u[k, 2] * (side - 6 + 1))
        expected = bilinear_by_loops(X[k], (top * pixel, 6 * pixel, 6), (left * pixel, 6 * pixel, 6))
        np.testing.assert_allclose(out[k], expected, atol=1e-5)
    assert len(sides) > 2


def test_zoom_enlarges_the_centre():
    out, _ = augmented(RandomZoom(0.7, 1.4))
    u = draw().uniform(1)[:, 0]
    for k in range(12):
        factor = 0.7 + 0.7 * float(u[k])
        expected = bilinear_by_loops(
            X[k], (4.5 - 4.5 / factor, 9 / factor, 9), (3.5 - 3.5 / factor, 7 / factor, 7)
        )
        np.testing.assert_allclose(out[k], expected, atol=1e-5)
    np.testing.assert_allclose(augmented(RandomZoom(1.0, 1.0))[0], X, atol=1e-6)


@pytest.mark.parametrize("size", [(9, 7), (18, 21), (4, 3), (5, 11)])
def test_resize_is_that_of_pillow(size):
    image = pytest.importorskip("PIL.Image")
    found = xpnet.to_numpy(resize(xpnet.asarray(X), size))
    for k in range(3):
        picture = image.fromarray(X[0, k], mode="F").resize(size[::-1], image.Resampling.BILINEAR)
        np.testing.assert_allclose(found[0, k], np.asarray(picture), atol=1e-5)


def test_resize_shorter_keeps_the_shape():
    assert tuple(resize_shorter(xpnet.asarray(X), 14).shape) == (12, 3, 18, 14)
    assert tuple(resize_shorter(xpnet.asarray(X.transpose(0, 1, 3, 2)), 5).shape) == (12, 3, 5, 6)


# ---- how bright ----


def test_brightness_shifts_and_contrast_scales():
    shift = augmented(RandomBrightness(2.0))[0] - X
    amounts = shift.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(shift, np.broadcast_to(amounts[:, None, None, None], X.shape), atol=1e-5)
    assert np.abs(amounts).max() <= 2
    assert np.ptp(amounts) > 1
    out = augmented(RandomContrast(0.5, 2.0))[0]
    for before, after in zip(X.astype(float), out, strict=True):
        assert after.mean() == pytest.approx(before.mean(), abs=1e-5)
        factor = after.std() / before.std()
        assert 0.5 <= factor <= 2
        np.testing.assert_allclose(after - after.mean(), factor * (before - before.mean()), atol=1e-4)


def test_color_pca_shifts_along_the_components():
    n, mix = 20000, np.array([[4, 1, 0], [0, 2, 1], [0, 0, 0.5]])
    pixels = RNG.normal(size=(n, 3)) @ mix + [100, 50, 20]
    x = pixels.reshape(100, 10, 20, 3).transpose(0, 3, 1, 2).astype(np.float32)
    augment = ColorPCA(sigma=0.5).fit(x)
    blank = np.zeros((4000, 3, 1, 1), np.float32)
    shift = augmented(augment, blank, np.zeros(4000), indices=range(4000))[0][:, :, 0, 0]
    # sum_i a_i s_i p_i with independent a_i has sigma^2 times the covariance of the pixels
    np.testing.assert_allclose(np.cov(shift.T, bias=True), 0.25 * np.cov(pixels.T, bias=True), atol=0.3)
    np.testing.assert_allclose(shift.mean(axis=0), 0, atol=0.15)
    literal = ColorPCA(sigma=0.5, variance=True).fit(x).directions
    lengths, squares = (np.linalg.norm(d, axis=1) for d in (augment.directions, literal))
    np.testing.assert_allclose(squares, lengths**2, rtol=1e-4)
    whole = augmented(augment, x[:5], np.zeros(5), indices=range(5))[0] - x[:5]
    assert np.ptp(whole, axis=(2, 3)).max() < 1e-3  # the same for every pixel of a picture


# ---- beyond the decks ----


def test_cutout_sets_one_square():
    n = 300
    x = np.ones((n, 3, 9, 7), np.float32)
    out, _ = augmented(Cutout(4, value=-1.0), x, np.zeros(n), indices=range(n))
    centres = set()
    u = draw(range(n)).uniform(2)
    for k in range(n):
        row, column = int(u[k, 0] * 9), int(u[k, 1] * 7)
        centres.add((row, column))
        expected = np.ones((3, 9, 7))
        for i in range(9):
            for j in range(7):
                if -2 <= i - row < 2 and -2 <= j - column < 2:
                    expected[:, i, j] = -1
        assert np.array_equal(out[k], expected)
    assert len(centres) > 55  # of 63


def test_mixup_mixes_samples_and_targets_alike():
    n = 400
    data = Dataset(np.arange(n, dtype=np.float32)[:, None, None, None] ** 2, np.arange(n) % 5)
    mixed, targets = augmented(Mixup(data, alpha=1.0), data.x, data.y, indices=range(n))
    assert targets.shape == (n, 5)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    u = draw(range(n)).uniform(1)[:, 0]
    others = (u.astype(float) * n).astype(int)
    weights = []
    for k in range(n):
        own, other = float(k) ** 2, float(others[k]) ** 2
        if abs(own - other) > 100:
            w = (mixed[k, 0, 0, 0] - other) / (own - other)
            weights.append(w)
            expected = w * np.eye(5)[k % 5] + (1 - w) * np.eye(5)[others[k] % 5]
            np.testing.assert_allclose(targets[k], expected, atol=2e-3)
    assert scipy.stats.kstest(weights, "uniform").pvalue > 0.01  # Beta(1, 1)
    loss = F.cross_entropy(xpnet.asarray(np.zeros((n, 5), np.float32)), xpnet.asarray(targets))
    assert float(loss) == pytest.approx(np.log(5), rel=1e-5)


@pytest.mark.host
@pytest.mark.parametrize("alpha", [0.1, 0.4, 2.0])
def test_mixup_weights_are_of_the_beta_distribution(alpha):
    from xpnet.data.augment import _beta

    drawn = _beta(alpha, draw(range(4000)))
    assert scipy.stats.kstest(drawn, "beta", args=(alpha, alpha)).pvalue > 0.01
    assert np.array_equal(_beta(alpha, draw([5, 3])), drawn[[5, 3]])


# ---- views ----


def test_ten_crop_by_hand():
    views = [xpnet.to_numpy(v) for v in ten_crop(xpnet.asarray(X), (4, 3))]
    mirrored = X[..., ::-1]
    expected = [p[:, :, i : i + 4, j : j + 3] for p in (X, mirrored) for i, j in
                ((0, 0), (0, 4), (5, 0), (5, 4), (2, 2))]  # fmt: skip
    assert len(views) == 10
    assert all(np.array_equal(v, e) for v, e in zip(views, expected, strict=True))


def test_multi_scale_shows_each_scale():
    shapes = [tuple(v.shape) for v in multi_scale(xpnet.asarray(X), [7, 14])]
    assert shapes == [(12, 3, 9, 7)] * 2 + [(12, 3, 18, 14)] * 2


def test_predictions_are_the_mean_over_views():
    model = xpnet.nn.small_cnn(3, width=4)
    x = xpnet.asarray(X)
    views = lambda x: [*flips(x), *multi_scale(x, [10])]
    found = xpnet.to_numpy(predict_views(model, x, views, batch_size=5))
    model.eval()
    each = [scipy.special.softmax(xpnet.to_numpy(model(v)), axis=1) for v in views(x)]
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


# ---- in a loader ----


def test_a_loader_augments_by_sample_then_transforms():
    seen = {}
    for size in (5, 12):
        loader = DataLoader(DATA, size, seed=3, augment=RandomBrightness(1.0), transform=lambda x: 10 * x)
        for epoch in range(2):
            order = loader.order(epoch)
            batches = np.concatenate([xpnet.to_numpy(x) for x, _ in loader])
            for index, picture in zip(order, batches, strict=True):
                seen.setdefault((epoch, index), []).append(picture)
    assert len(seen) == 24
    for (_, index), pictures in seen.items():
        np.testing.assert_allclose(pictures[0], pictures[1], atol=1e-5)
        assert np.ptp(pictures[0] - 10 * X[index]) < 1e-4
    assert not np.allclose(seen[0, 0][0], seen[1, 0][0])


@pytest.mark.host
def test_augmentation_refuses():
    with pytest.raises(
        ValueError, match=r"RandomFlip: expected pictures of shape \(N, C, H, W\), got \(2, 3\)"
    ):
        RandomFlip()(np.zeros((2, 3)), np.zeros(2), draw([0, 1]))
    with pytest.raises(ValueError, match=r"RandomCrop: \(20, 20\) is larger than the padded pictures"):
        RandomCrop(20)(X, Y, draw())
    with pytest.raises(ValueError, match="RandomCrop: size: expected an integer of at least 1"):
        RandomCrop(0)
    with pytest.raises(ValueError, match="padding must be at least 0"):
        RandomCrop(3, -1)
    with pytest.raises(ValueError, match=r"p must be in \[0, 1\]"):
        RandomFlip(2)
    with pytest.raises(ValueError, match="expected size <= L"):
        RandomResizedCrop(224, (200, 300))
    with pytest.raises(ValueError, match="0 < low <= high"):
        RandomZoom(0)
    with pytest.raises(ValueError, match="0 <= low <= high"):
        RandomContrast(2, 1)
    with pytest.raises(RuntimeError, match="call fit"):
        ColorPCA()(X, Y, draw())
    with pytest.raises(ValueError, match="fitted on 3 channels, got 1"):
        ColorPCA().fit(X)(X[:, :1], Y, draw())
    with pytest.raises(ValueError, match="size must be at least 1"):
        Cutout(0)
    with pytest.raises(ValueError, match=r"alpha must be in \(0, 4\]"):
        Mixup(DATA, 5.0)
    with pytest.raises(ValueError, match="at most 15 steps"):
        Compose([RandomFlip()] * 16)
    with pytest.raises(ValueError, match=r"five_crop: pictures of \(9, 7\) are smaller"):
        five_crop(X, 8)
    with pytest.raises(ValueError, match="gave no views"):
        predict_views(xpnet.nn.Flatten(), X, lambda x: [])
