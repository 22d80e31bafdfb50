"""Preprocessing beyond standardisation: by formula, by what it must make of the training set, and saved."""

import json

import numpy as np
import pytest

import xpnet
from xpnet.core.convert import to_numpy
from xpnet.core.places import where
from xpnet.data import ZCA, ChannelMean, MeanImage, MinMax, PCAWhiten, Pipeline, Standardize, patch_whitening
from xpnet.data.pipeline import describe, from_description

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(6, 6))
ROWS = (RNG.normal(size=(300, 6)) * [9, 4, 2, 1, 0.5, 0.1] @ MIX + 3).astype(np.float32)
PICTURES = RNG.integers(0, 256, (40, 3, 4, 5)).astype(np.float32)


def applied(preprocessing, x):
    return xpnet.to_numpy(preprocessing.fit(x).transform(xpnet.asarray(x)))


def covariance(x):
    return np.cov(x.reshape(len(x), -1).astype(np.float64).T, bias=True)


def test_min_max_mean_image_and_channel_mean_by_formula():
    np.testing.assert_allclose(
        applied(MinMax(), ROWS), (ROWS - ROWS.min(0)) / (ROWS.max(0) - ROWS.min(0)), atol=1e-5
    )
    np.testing.assert_allclose(
        applied(MeanImage(), PICTURES), PICTURES - PICTURES.astype(float).mean(0), atol=1e-3
    )
    expected = np.empty(PICTURES.shape)
    for c in range(3):
        channel = PICTURES[:, c].astype(np.float64)
        expected[:, c] = (channel - channel.mean()) / channel.std()
    np.testing.assert_allclose(applied(ChannelMean(), PICTURES), expected, atol=1e-5)
    shifted = applied(ChannelMean(scale=False), PICTURES)
    np.testing.assert_allclose(shifted.mean(axis=(0, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(shifted.std(), PICTURES.std(), rtol=1e-2)
    wide = np.ones((1, 3, 9, 9), np.float32)  # another size is welcome
    assert ChannelMean().fit(PICTURES).transform(wide).shape == wide.shape


def test_constant_features_become_zero():
    x = np.array([[0.1, 1], [0.1, 3]], np.float32)
    assert applied(MinMax(), x).tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize("kind", [PCAWhiten, ZCA])
@pytest.mark.parametrize("x", [ROWS, PICTURES[:, :1]])
def test_whitened_training_data_have_the_identity_as_covariance(kind, x):
    white = applied(kind(), x)
    np.testing.assert_allclose(white.reshape(len(x), -1).mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(covariance(white), np.eye(x[0].size), atol=2e-3)


def test_pca_rotates_to_components_of_falling_variance():
    rotated = applied(PCAWhiten(whiten=False), ROWS)
    values = np.sort(np.linalg.eigvalsh(covariance(ROWS)))[::-1]
    np.testing.assert_allclose(covariance(rotated), np.diag(values), atol=1e-3 * values[0])
    np.testing.assert_allclose(np.diag(covariance(rotated)), values, rtol=1e-3)


def test_a_convolution_of_whitening_weights_gives_uncorrelated_components():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2, 6, 5))
    x[:, 1] += 0.9 * x[:, 0]  # channels and neighbours that depend on one another
    x[..., 1:] += 0.8 * x[..., :-1]
    weight = patch_whitening(x, 2, eps=0.0)
    assert weight.shape == (16, 2, 2, 2)
    assert weight.dtype == np.float32
    patches = [x[:, :, i : i + 2, j : j + 2].reshape(200, 8) for i in range(5) for j in range(4)]
    rows = np.concatenate(patches) @ weight.reshape(16, 8).T.astype(np.float64)
    np.testing.assert_allclose(rows[:, 8:], -rows[:, :8], atol=1e-12)
    np.testing.assert_allclose(np.cov(rows[:, :8].T, bias=True), np.eye(8), atol=1e-5)


def test_patches_without_variance_get_no_weight():
    grey = np.repeat(np.random.default_rng(0).normal(size=(200, 1, 6, 6)), 3, axis=1)  # 4 of 12 directions
    weight = patch_whitening(grey, 2, eps=0.0)
    assert np.isfinite(weight).all()
    assert np.count_nonzero(np.abs(weight[:12]).max(axis=(1, 2, 3))) == 4
    assert not patch_whitening(np.zeros((4, 3, 8, 8)), eps=0.0).any()
    with pytest.raises(ValueError, match="eps must be at least 0"):
        patch_whitening(grey, 2, eps=-1.0)


@pytest.mark.parametrize("shape", [(4, 3, 8), (0, 3, 8, 8), (4, 3, 8, 1)])
def test_only_pictures_have_patches(shape):
    with pytest.raises(ValueError, match=r"patch_whitening: expected pictures \(N, C, H, W\) of 2 pixels"):
        patch_whitening(np.zeros(shape))


def test_zca_is_the_whitening_closest_to_the_samples():
    # the inverse square root of the covariance, by Denman & Beavers' iteration
    y, z = covariance(ROWS), np.eye(6)
    for _ in range(60):
        y, z = (y + np.linalg.inv(z)) / 2, (z + np.linalg.inv(y)) / 2
    expected = (ROWS - ROWS.mean(0, dtype=float)) @ z
    np.testing.assert_allclose(applied(ZCA(), ROWS), expected, atol=5e-3)
    assert applied(ZCA(), PICTURES).shape == PICTURES.shape


def test_eps_is_added_to_the_variances():
    values = np.sort(np.linalg.eigvalsh(covariance(ROWS)))[::-1]
    np.testing.assert_allclose(
        np.diag(covariance(applied(PCAWhiten(eps=2.0), ROWS))), values / (values + 2), rtol=1e-3
    )


@pytest.mark.parametrize("kind", [PCAWhiten, ZCA])
def test_fewer_samples_than_features(kind):
    x = PICTURES[:10]
    white = applied(kind(), x)
    assert np.isfinite(white).all()
    # ten samples span nine directions around their mean: the Gram matrix is 10 times the projection on them
    flat = white.reshape(10, -1).astype(np.float64)
    np.testing.assert_allclose(flat @ flat.T, 10 * np.eye(10) - 1, atol=0.05)


@pytest.mark.parametrize(
    "preprocessing",
    [Standardize(), MinMax(), MeanImage(), ChannelMean(), PCAWhiten(), PCAWhiten(eps=0.1), ZCA(eps=0.1)],
)
def test_inverse_gives_the_samples_back(preprocessing):
    x = PICTURES[:, :1]
    there = preprocessing.fit(x).transform(xpnet.asarray(x))
    assert where(there) == where(xpnet.asarray([0.0]))
    assert "float32" in str(there.dtype)
    np.testing.assert_allclose(xpnet.to_numpy(preprocessing.inverse(there)), x, atol=0.5)


def test_leaving_components_out_leaves_the_least_error():
    pca = PCAWhiten(components=3).fit(ROWS)
    there = pca.transform(xpnet.asarray(ROWS))
    assert tuple(there.shape) == (300, 3)
    error = ROWS - xpnet.to_numpy(pca.inverse(there))
    values = np.sort(np.linalg.eigvalsh(covariance(ROWS)))
    assert (error**2).sum() / 300 == pytest.approx(values[:3].sum(), rel=1e-2)  # Eckart & Young


@pytest.mark.host
def test_components_equal_those_of_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    expected = decomposition.PCA(whiten=True).fit(ROWS.astype(float))
    found = PCAWhiten().fit(ROWS)
    signs = np.sign((found.matrix.T * expected.components_).sum(axis=1))
    # scikit-learn divides the covariance by n - 1
    theirs = expected.transform(ROWS.astype(float)) * signs * np.sqrt(300 / 299)
    np.testing.assert_allclose(found.transform(ROWS), theirs, atol=2e-3)
    assert (found.matrix.max(axis=0) >= -found.matrix.min(axis=0)).all()
    np.testing.assert_allclose(
        MinMax().fit(ROWS).transform(ROWS), preprocessing.MinMaxScaler().fit_transform(ROWS), atol=1e-6
    )


def test_a_pipeline_fits_each_step_on_what_the_one_before_makes():
    pipeline = Pipeline([ChannelMean(), ZCA(eps=0.01), Standardize(per_feature=False)])
    out = applied(pipeline, PICTURES)
    x = PICTURES
    for step in (ChannelMean(), ZCA(eps=0.01), Standardize(per_feature=False)):
        x = xpnet.to_numpy(step.fit(x).transform(x))
    np.testing.assert_allclose(out, x, atol=1e-5)
    back = pipeline.inverse(xpnet.asarray(out))
    np.testing.assert_allclose(xpnet.to_numpy(back), PICTURES, atol=1)


@pytest.mark.parametrize(
    "preprocessing",
    [
        Standardize(per_feature=False),
        MinMax(),
        MeanImage(),
        ChannelMean(scale=False),
        PCAWhiten(components=4, eps=0.5),
        ZCA(eps=0.5),
        Pipeline([MeanImage(), Pipeline([ChannelMean()]), PCAWhiten(whiten=False)]),
    ],
)
def test_statistics_survive_saving(preprocessing):
    expected = applied(preprocessing, PICTURES[:, :1])
    description = json.loads(json.dumps(describe(preprocessing)))
    state = {k: np.array(v) for k, v in preprocessing.state_dict().items()}
    restored = from_description(description)
    restored.load_state_dict(state)
    again = restored.transform(xpnet.asarray(PICTURES[:, :1]))
    assert np.array_equal(xpnet.to_numpy(again), expected)
    assert describe(restored) == description


@pytest.mark.host
def test_preprocessing_refuses():
    with pytest.raises(RuntimeError, match=r"ZCA: no statistics yet; call fit"):
        ZCA().transform(ROWS)
    with pytest.raises(ValueError, match=r"MinMax: fitted on samples of shape \(6,\), got .* \(5,\)"):
        MinMax().fit(ROWS).transform(ROWS[:, :5])
    with pytest.raises(ValueError, match=r"PCAWhiten: fitted on samples of shape \(6,\), got .* \(3,\)"):
        PCAWhiten(3).fit(ROWS).transform(ROWS[:, :3])
    with pytest.raises(ValueError, match="ChannelMean: fitted on samples of shape"):
        ChannelMean().fit(PICTURES).transform(PICTURES[:, :2])
    with pytest.raises(ValueError, match="ChannelMean: expected samples"):
        ChannelMean().fit(np.ones(3))
    with pytest.raises(ValueError, match="there are 6 components, 7 were asked for"):
        PCAWhiten(7).fit(ROWS)
    with pytest.raises(ValueError, match="components must be at least 1"):
        PCAWhiten(0)
    with pytest.raises(ValueError, match="eps must be at least 0"):
        ZCA(-1)
    with pytest.raises(ValueError, match="MeanImage: its statistics are mean, the state has a"):
        MeanImage().load_state_dict({"a": np.ones(2)})
    with pytest.raises(ValueError, match="unknown preprocessing 'Magic'"):
        from_description({"kind": "Magic"})
    with pytest.raises(ValueError, match="nothing to fit"):
        PCAWhiten().fit(np.zeros((0, 2)))


# ---- a large offset, a small spread -----------------------------------------------------------------------


def standardized(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


KINDS = {
    "Standardize": (Standardize, standardized),
    "one mean for all": (lambda: Standardize(per_feature=False), lambda x: (x - x.mean()) / x.std()),
    "MinMax": (MinMax, lambda x: (x - x.min(axis=0)) / np.ptp(x, axis=0)),
    "MeanImage": (MeanImage, lambda x: x - x.mean(axis=0)),
    "ChannelMean": (ChannelMean, standardized),
    "Pipeline": (
        lambda: Pipeline([MeanImage(), Standardize()]),
        lambda x: (x - x.mean(axis=0)) / x.std(axis=0),
    ),
}
RAW = np.random.default_rng(0).normal(size=(50, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offset", [0.0, 52.5, 101325.0, -273.15, 1.7e9])
@pytest.mark.parametrize("spread", [1e-5, 0.01, 1.0])
def test_float64_data_keep_their_digits(kind, offset, spread):
    make, oracle = KINDS[kind]
    x = offset + spread * RAW
    scaler = make().fit(x)
    digits = np.spacing(abs(offset) + 1) / spread * 8  # what float64 itself cannot tell apart
    for values in (x, xpnet.asarray(x)):
        y = scaler.transform(values)
        assert "float64" in str(y.dtype)
        np.testing.assert_allclose(
            to_numpy(y), oracle(x), rtol=1e-9, atol=1e-9 + digits * np.abs(oracle(x)).max()
        )
        np.testing.assert_allclose(to_numpy(scaler.inverse(y)), x, rtol=1e-12, atol=1e-12)
    copy = make()
    copy.load_state_dict(scaler.state_dict())
    np.testing.assert_array_equal(copy.transform(x), scaler.transform(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
def test_large_whole_numbers_keep_theirs(kind, dtype):
    make, oracle = KINDS[kind]
    x = (1_700_000_000 + np.arange(30).reshape(10, 3)).astype(dtype)
    y = make().fit(x).transform(xpnet.asarray(x))
    assert "float32" in str(y.dtype)
    np.testing.assert_allclose(to_numpy(y), oracle(x.astype(np.float64)), rtol=1e-6, atol=1e-6)


def test_saved_statistics_keep_theirs(tmp_path):
    pytest.importorskip("safetensors")
    scaler = Standardize().fit(1.7e9 + RAW)
    xpnet.save(xpnet.nn.Linear(3, 1), tmp_path / "m", scaler)
    loaded = xpnet.load(tmp_path / "m").preprocessing
    np.testing.assert_array_equal(loaded.transform(1.7e9 + RAW), scaler.transform(1.7e9 + RAW))


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_statistics_of_short_types_stay_float32(dtype):
    scaler = Standardize().fit((np.abs(RAW) * 20).astype(dtype))
    assert scaler.mean.dtype == scaler.std.dtype == np.float32
