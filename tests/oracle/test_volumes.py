"""Pools and transposed convolutions of volumes with any options: PyTorch's values, gradients and places."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import xpnet  # noqa: E402
from xpnet import functional as F  # noqa: E402
from xpnet import nn  # noqa: E402

T = torch.nn.functional
SIZES = st.tuples(*[st.integers(1, 6)] * 3)
SMALL = st.integers(1, 3)
EACH = st.one_of(SMALL, st.tuples(SMALL, SMALL, SMALL))
BATCH = st.sampled_from([(0, 2), (1, 1), (2, 3), (2,)])  # none, one of one channel, some, one without N


def close(a, b):
    np.testing.assert_allclose(xpnet.to_numpy(a), b.detach().numpy(), rtol=1e-10, atol=1e-12)


def compare(name, shapes, *arguments, whole=False, seed=0, **options):
    """Values, gradients and, where there are some, places."""
    rng = np.random.default_rng(seed)
    given = [
        rng.integers(-1, 2, shape).astype(np.float64) if whole else rng.normal(size=shape) for shape in shapes
    ]
    ours = [xpnet.tensor(a, requires_grad=True) for a in given]
    theirs = [torch.tensor(a, requires_grad=True) for a in given]
    y = getattr(F, name)(*ours, *arguments, **options)
    z = getattr(T, name)(*theirs, *arguments, **options)
    if isinstance(z, tuple):
        np.testing.assert_array_equal(xpnet.to_numpy(y[1]), z[1].numpy())
        y, z = y[0], z[0]
    close(y, z)
    weights = np.cos(np.arange(z.numel())).reshape(tuple(z.shape))
    (y * xpnet.asarray(weights)).sum().backward()
    (z * torch.tensor(weights)).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        close(a.grad, b.grad)


def accepted(name, shape, *arguments, **options):
    """Whether PyTorch takes it: a window may be larger than the volume, or its padding too much.

    A dilated window that meets nothing but padding has a maximum of -inf, whose gradient goes anywhere there.
    """
    try:
        y = getattr(T, name)(torch.zeros(shape, dtype=torch.float64), *arguments, **options)
    except RuntimeError:
        return False
    return bool(y.isfinite().all())


@settings(max_examples=60, deadline=None)
@given(BATCH, SIZES, EACH, st.none() | EACH, st.integers(0, 1), EACH, st.booleans(), st.booleans())
def test_maxima(batch, size, kernel, stride, padding, dilation, ceil_mode, whole):
    """Whole numbers from -1 to 1 have many equal maxima, of which the first is taken."""
    arguments = kernel, stride, padding, dilation
    assume(accepted("max_pool3d", (*batch, *size), *arguments, ceil_mode=ceil_mode))
    compare(
        "max_pool3d",
        [(*batch, *size)],
        *arguments,
        ceil_mode=ceil_mode,
        return_indices=True,
        whole=whole,
    )


MEAN = st.tuples(
    EACH,
    st.none() | EACH,
    st.integers(0, 1),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(1, 9),
)


@settings(max_examples=60, deadline=None)
@given(BATCH, SIZES, MEAN)
def test_means(batch, size, arguments):
    assume(accepted("avg_pool3d", (*batch, *size), *arguments))
    compare("avg_pool3d", [(*batch, *size)], *arguments)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(0,), (1,), (3,), ()]),
    st.tuples(SMALL, SMALL, SMALL),
    st.tuples(SMALL, SMALL, SMALL),
    EACH,
    st.integers(0, 1),
    st.integers(0, 1),
    st.sampled_from([1, 2]),
    EACH,
    st.booleans(),
)
def test_transposed_convolutions(batch, size, kernel, stride, padding, more, groups, dilation, bias):
    weight = (4, 3, *kernel)
    options = (stride, padding, more, groups, dilation)
    try:
        assume(T.conv_transpose3d(torch.zeros(1, 4, *size), torch.zeros(weight), None, *options).numel())
    except RuntimeError:
        assume(False)  # and an output of no elements is refused
    if bias:
        compare("conv_transpose3d", [(*batch, 4, *size), weight, (3 * groups,)], *options)
    else:
        compare("conv_transpose3d", [(*batch, 4, *size), weight], None, *options)


@settings(max_examples=30, deadline=None)
@given(BATCH.filter(lambda b: b[0]), SIZES, st.tuples(*[st.none() | SMALL] * 3), st.booleans())
def test_adaptive_maxima(batch, size, sizes, whole):
    compare("adaptive_max_pool3d", [(*batch, *size)], sizes, return_indices=True, whole=whole)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_or_infinite(value):
    x = np.random.default_rng(1).normal(size=(1, 1, 4, 4, 4))
    x[0, 0, 1, 2, 3] = x[0, 0, 2, 0, 0] = value
    y, places = F.max_pool3d(xpnet.asarray(x), 2, 1, 1, return_indices=True)
    z, expected = T.max_pool3d(torch.tensor(x), 2, 1, 1, return_indices=True)
    np.testing.assert_array_equal(xpnet.to_numpy(y), z.numpy())
    np.testing.assert_array_equal(xpnet.to_numpy(places), expected.numpy())


def test_maxima_go_back_where_they_were():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4, 6))
    y, places = nn.MaxPool3d(2, return_indices=True)(xpnet.asarray(x))
    back = nn.MaxUnpool3d(2)(y, places, output_size=(5, 4, 6))
    z, there = torch.nn.MaxPool3d(2, return_indices=True)(torch.tensor(x))
    close(back, torch.nn.MaxUnpool3d(2)(z, there, output_size=(5, 4, 6)))


MISFITS = {
    "window": (
        lambda x: F.max_pool3d(x, 5),
        r"max_pool3d: volumes of \(2, 3, 4\) .* smaller than the window \(5, 5, 5\)",
    ),
    "padding": (lambda x: F.avg_pool3d(x, 2, padding=2), r"avg_pool3d: padding \(2, 2, 2\) must be at most"),
    "axes": (lambda x: F.max_pool3d(x[0, 0], 1), r"max_pool3d: expected volumes of shape \(N, C, D, H, W\)"),
    "sizes": (lambda x: F.avg_pool3d(x, (1, 2)), "kernel_size must be an integer of at least 1, or 3 of"),
    "divisor": (lambda x: F.avg_pool3d(x, 1, divisor_override=0), "avg_pool3d: divisor_override must not"),
    "more": (
        lambda x: F.conv_transpose3d(x, np.ones((2, 1, 2, 2, 2)), output_padding=(0, 0, 1)),
        r"conv_transpose3d: output_padding \(0, 0, 1\) must be below stride or dilation",
    ),
    "channels": (
        lambda x: F.conv_transpose3d(x, np.ones((3, 1, 2, 2, 2))),
        "conv_transpose3d: an input of 2 channels does not fit",
    ),
    "nothing left": (
        lambda x: F.conv_transpose3d(x, np.ones((2, 1, 1, 2, 2)), padding=(1, 0, 0)),
        r"conv_transpose3d: padding \(1, 0, 0\) leaves nothing",
    ),
    "weight": (lambda x: F.conv_transpose3d(x, np.ones((2, 1, 2, 2))), "conv_transpose3d: expected x of"),
    "layer": (lambda x: nn.MaxPool3d((1, 2)), "MaxPool3d: kernel_size must be one number or 3"),
    "output size": (
        lambda x: nn.ConvTranspose3d(2, 1, 2, dtype="float64")(x, (9, 4, 5)),
        r"ConvTranspose3d: output_size \(9, 4, 5\) of an input",
    ),
    "one place": (
        lambda x: nn.InstanceNorm1d(3)(np.ones((2, 3, 1))),
        r"InstanceNorm1d: expected \(N, 3, L\), got \(2, 3, 1\)",
    ),
    "instances": (lambda x: nn.InstanceNorm3d(3)(x), r"InstanceNorm3d: expected \(N, 3, D, H, W\), got"),
}


@pytest.mark.host
@pytest.mark.parametrize(("call", "message"), MISFITS.values(), ids=MISFITS)
def test_misfits_are_refused(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(xpnet.asarray(np.ones((1, 2, 2, 3, 4))))
    assert "\n" not in str(caught.value)
