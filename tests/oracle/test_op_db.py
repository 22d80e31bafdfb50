"""PyTorch's op_db: every sample of every op that we have too, values and gradients, and what both refuse."""

import warnings
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="PyTorch's op_db needs it")

from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

import xpnet  # noqa: E402
from tests.oracle.torch_samples import (  # noqa: E402
    DTYPES,
    Inapplicable,
    Ledger,
    Row,
    backward_of_both,
    described,
    leaves,
    ours_of,
    wide,
)
from xpnet import functional as F  # noqa: E402
from xpnet.core import operators  # noqa: E402

pytestmark = pytest.mark.host

LARGEST = 20_000  # elements; the reference inputs of a million say nothing more


def reversed_(op):
    return lambda input, other: op(other, input)


def tensor(x, other):
    """What has methods: a number becomes one of the other's dtype."""
    return (
        x
        if isinstance(x, xpnet.Tensor)
        else xpnet.tensor(np.asarray(x, getattr(x, "dtype", None) or other.dtype))
    )


def add(input, other, alpha=1):
    return tensor(input, other).add(other, alpha=alpha)


def sub(input, other, alpha=1):
    return tensor(input, other).sub(other, alpha=alpha)


def div(input, other, rounding_mode=None):
    return tensor(input, other).div(other, rounding_mode=rounding_mode)


def permute(x, dims):
    return operators.transpose(x, dims)


def swap(x, dim0, dim1):
    axes = list(range(x.ndim))
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return operators.transpose(x, tuple(axes))


def reshape(x, shape):
    return operators.reshape(x, shape)


def extremum(op):
    """torch.max(x, dim) gives indices, too; only the whole array's is ours."""
    return lambda input: op(input)


NUMBERS = {"numbers only": lambda a: not any(hasattr(v, "shape") for v in a.values())}
SCALAR = {"an axis of no axes": lambda a: a["input"].ndim == 0}
ROW = {"one row (C)": lambda a: a["input"].ndim < 2}
TRANSPOSED = "input:x weight bias=None stride=1 padding=0 output_padding=0 groups=1 dilation=1"
BINARY = "input:a other:b"
REDUCTION = "input:x dim:axis=None keepdim:keepdims=False dtype=None"
LOSS = "weight=None ignore_index=-100 reduction='mean' label_smoothing=0.0"
ROWS = {
    "add": Row(add, "input other alpha=1", NUMBERS),
    "sub": Row(sub, "input other alpha=1", NUMBERS),
    "mul": Row(operators.multiply, BINARY, NUMBERS),
    "div no_rounding_mode": Row(div, "input other rounding_mode=None", NUMBERS),
    "div trunc_rounding": Row(div, "input other rounding_mode=None", NUMBERS),
    "div floor_rounding": Row(div, "input other rounding_mode=None", NUMBERS),
    "true_divide": Row(operators.divide, BINARY, NUMBERS),
    "pow": Row(operators.power, BINARY),
    "__radd__": Row(reversed_(operators.add), "input other"),
    "__rmul__": Row(reversed_(operators.multiply), "input other"),
    "__rsub__": Row(reversed_(operators.subtract), "input other alpha=1"),
    "__rdiv__": Row(reversed_(operators.divide), "input other"),
    "__rpow__": Row(reversed_(operators.power), "input other"),
    "__rmatmul__": Row(reversed_(operators.matmul), "input other"),
    "matmul": Row(operators.matmul, BINARY),
    "mm": Row(operators.matmul, BINARY),
    "bmm": Row(operators.matmul, BINARY),
    "mv": Row(operators.matmul, BINARY),
    "dot": Row(operators.matmul, BINARY),
    "maximum": Row(operators.maximum, BINARY),
    "max binary": Row(operators.maximum, BINARY),
    "neg": Row(operators.negative, "input:x"),
    "exp": Row(operators.exp, "input:x"),
    "log": Row(operators.log, "input:x"),
    "sqrt": Row(operators.sqrt, "input:x"),
    "abs": Row(operators.absolute, "input:x"),
    "sum": Row(operators.sum, REDUCTION, SCALAR),
    "mean": Row(operators.mean, REDUCTION, SCALAR),
    "amax": Row(operators.max, REDUCTION, SCALAR),
    "amin": Row(operators.min, REDUCTION, SCALAR),
    "max reduction_no_dim": Row(extremum(operators.max), "input"),
    "min reduction_no_dim": Row(extremum(operators.min), "input"),
    "reshape": Row(reshape, "input:x shape"),
    "view": Row(reshape, "input:x shape"),
    "T": Row(operators.transpose, "input:x"),
    "t": Row(operators.transpose, "input:x"),
    "permute": Row(permute, "input:x dims"),
    "transpose": Row(swap, "input:x dim0 dim1", SCALAR),
    "__getitem__": Row(operators.getitem, "input:x index"),
    "flatten": Row(F.flatten, "input:x start_dim end_dim=-1", preset={"start_dim": 0}),
    "sigmoid": Row(F.sigmoid, "input:x"),
    "tanh": Row(F.tanh, "input:x"),
    "softmax": Row(F.softmax, "input:x dim:axis dtype=None"),
    "softmax with_dtype": Row(F.softmax, "input:x dim:axis dtype=None"),
    "log_softmax": Row(F.log_softmax, "input:x dim:axis dtype=None"),
    "log_softmax with_dtype": Row(F.log_softmax, "input:x dim:axis dtype=None"),
    "nn.functional.relu": Row(F.relu, "input:x inplace=False"),
    "nn.functional.leaky_relu": Row(F.leaky_relu, "input:x negative_slope=0.01 inplace=False"),
    "nn.functional.elu": Row(F.elu, "input:x alpha=1.0 inplace=False"),
    "nn.functional.gelu": Row(F.gelu, "input:x approximate='none'"),
    "nn.functional.hardtanh": Row(F.hardtanh, "input:x min_val=-1.0 max_val=1.0 inplace=False"),
    "nn.functional.softplus": Row(F.softplus, "input:x beta=1 threshold=20"),
    "nn.functional.silu": Row(F.silu, "input:x inplace=False"),
    "nn.functional.mish": Row(F.mish, "input:x inplace=False"),
    "nn.functional.hardsigmoid": Row(F.hardsigmoid, "input:x inplace=False"),
    "nn.functional.hardswish": Row(F.hardswish, "input:x inplace=False"),
    "nn.functional.selu": Row(F.selu, "input:x inplace=False"),
    "nn.functional.celu": Row(F.celu, "input:x alpha=1.0 inplace=False"),
    "nn.functional.relu6": Row(F.relu6, "input:x inplace=False"),
    "nn.functional.softsign": Row(F.softsign, "input:x"),
    "nn.functional.hardshrink": Row(F.hardshrink, "input:x lambd=0.5"),
    "nn.functional.softshrink": Row(F.softshrink, "input:x lambd=0.5"),
    "nn.functional.tanhshrink": Row(F.tanhshrink, "input:x"),
    "nn.functional.threshold": Row(F.threshold, "input:x threshold value inplace=False"),
    "unflatten": Row(F.unflatten, "input:x dim sizes"),
    "nn.functional.logsigmoid": Row(F.logsigmoid, "input:x"),
    "nn.functional.prelu": Row(F.prelu, "input:x weight"),
    "nn.functional.glu": Row(F.glu, "input:x dim=-1"),
    "nn.functional.softmin": Row(F.softmin, "input:x dim=-1 dtype=None"),
    "nn.functional.embedding": Row(
        F.embedding,
        "weight input:x padding_idx=None max_norm=None norm_type=2.0 scale_grad_by_freq=False sparse=False",
    ),
    "nn.functional.embedding_bag": Row(
        F.embedding_bag,
        "weight input:x offsets=None max_norm=None norm_type=2.0 scale_grad_by_freq=False mode='mean' "
        "sparse=False per_sample_weights=None include_last_offset=False padding_idx=None",
    ),
    "nn.functional.rms_norm": Row(F.rms_norm, "input:x normalized_shape weight=None eps=None"),
    "nn.functional.scaled_dot_product_attention": Row(
        F.scaled_dot_product_attention,
        "query key value attn_mask=None dropout_p=0.0 is_causal=False scale=None enable_gqa=False",
    ),
    "nn.functional.l1_loss": Row(F.l1_loss, "input:x target reduction='mean' weight=None"),
    "nn.functional.smooth_l1_loss": Row(F.smooth_l1_loss, "input:x target reduction='mean' beta=1.0"),
    "nn.functional.huber_loss": Row(F.huber_loss, "input:x target reduction='mean' delta=1.0 weight=None"),
    "nn.functional.kl_div": Row(F.kl_div, "input:x target reduction='mean' log_target=False"),
    "nn.functional.binary_cross_entropy": Row(
        F.binary_cross_entropy, "input:x target weight=None reduction='mean'"
    ),
    "nn.functional.poisson_nll_loss": Row(
        F.poisson_nll_loss, "input:x target log_input=True full=False eps=1e-8 reduction='mean'"
    ),
    "nn.functional.gaussian_nll_loss": Row(
        F.gaussian_nll_loss, "input:x target var full=False eps=1e-6 reduction='mean'"
    ),
    "nn.functional.soft_margin_loss": Row(F.soft_margin_loss, "input:x target reduction='mean'"),
    "nn.functional.hinge_embedding_loss": Row(
        F.hinge_embedding_loss, "input:x target margin=1.0 reduction='mean'"
    ),
    "nn.functional.margin_ranking_loss": Row(
        F.margin_ranking_loss, "input1 input2 target margin=0 reduction='mean'"
    ),
    "nn.functional.cosine_embedding_loss": Row(
        F.cosine_embedding_loss, "input1 input2 target margin=0 reduction='mean'"
    ),
    "nn.functional.triplet_margin_loss": Row(
        F.triplet_margin_loss, "anchor positive negative margin=1.0 p=2 eps=1e-6 swap=False reduction='mean'"
    ),
    "nn.functional.multilabel_soft_margin_loss": Row(
        F.multilabel_soft_margin_loss, "input:x target weight=None reduction='mean'"
    ),
    "nn.functional.cosine_similarity": Row(F.cosine_similarity, "x1 x2 dim=1 eps=1e-8"),
    "nn.functional.pairwise_distance": Row(F.pairwise_distance, "x1 x2 p=2.0 eps=1e-6 keepdim=False"),
    "nn.functional.conv1d": Row(F.conv1d, "input:x weight bias=None stride=1 padding=0 dilation=1 groups=1"),
    "nn.functional.conv3d": Row(F.conv3d, "input:x weight bias=None stride=1 padding=0 dilation=1 groups=1"),
    "nn.functional.conv_transpose1d": Row(F.conv_transpose1d, TRANSPOSED),
    "nn.functional.conv_transpose2d": Row(F.conv_transpose2d, TRANSPOSED),
    "nn.functional.conv_transpose3d": Row(F.conv_transpose3d, TRANSPOSED),
    "nn.functional.max_pool1d": Row(
        F.max_pool1d,
        "input:x kernel_size stride=None padding=0 dilation=1 ceil_mode=False return_indices=False",
    ),
    "nn.functional.avg_pool1d": Row(
        F.avg_pool1d, "input:x kernel_size stride=None padding=0 ceil_mode=False count_include_pad=True"
    ),
    "nn.functional.bilinear": Row(F.bilinear, "input1 input2 weight bias=None"),
    **{
        f"nn.functional.pad {mode}": Row(F.pad, "input:x pad mode='constant' value=None")
        for mode in ("constant", "reflect", "replicate", "circular")
    },
    **{
        f"nn.functional.interpolate {mode}": Row(
            F.interpolate,
            "input:x size=None scale_factor=None mode='nearest' align_corners=None "
            "recompute_scale_factor=None antialias=False",
        )
        for mode in ("nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area")
    },
    "nn.functional.adaptive_avg_pool1d": Row(F.adaptive_avg_pool1d, "input:x output_size"),
    "nn.functional.adaptive_avg_pool2d": Row(F.adaptive_avg_pool2d, "input:x output_size"),
    "nn.functional.adaptive_avg_pool3d": Row(F.adaptive_avg_pool3d, "input:x output_size"),
    "nn.functional.adaptive_max_pool1d": Row(
        F.adaptive_max_pool1d, "input:x output_size return_indices=False"
    ),
    "nn.functional.adaptive_max_pool2d": Row(
        F.adaptive_max_pool2d, "input:x output_size return_indices=False"
    ),
    "nn.functional.adaptive_max_pool3d": Row(
        F.adaptive_max_pool3d, "input:x output_size return_indices=False"
    ),
    "nn.functional.pixel_shuffle": Row(F.pixel_shuffle, "input:x upscale_factor"),
    "nn.functional.pixel_unshuffle": Row(F.pixel_unshuffle, "input:x downscale_factor"),
    "nn.functional.dropout": Row(F.dropout, "input:x p=0.5 training=True inplace=False"),
    "nn.functional.linear": Row(F.linear, "input:x weight bias=None"),
    "nn.functional.conv2d": Row(
        F.conv2d,
        "input:x weight bias=None stride=1 padding=0 dilation=1 groups=1",
    ),
    **{
        f"nn.functional.max_pool{n}d": Row(
            getattr(F, f"max_pool{n}d"),
            "input:x kernel_size stride=None padding=0 dilation=1 ceil_mode=False return_indices=False",
        )
        for n in (2, 3)
    },
    **{
        f"nn.functional.avg_pool{n}d": Row(
            getattr(F, f"avg_pool{n}d"),
            "input:x kernel_size stride=None padding=0 ceil_mode=False count_include_pad=True "
            "divisor_override=None",
        )
        for n in (2, 3)
    },
    "nn.functional.batch_norm": Row(
        F.batch_norm,
        "input:x running_mean running_var weight=None bias=None training=False momentum=0.1 eps=1e-5",
        ROW,
    ),
    "nn.functional.layer_norm": Row(F.layer_norm, "input:x normalized_shape weight=None bias=None eps=1e-5"),
    "nn.functional.group_norm": Row(F.group_norm, "input:x num_groups weight=None bias=None eps=1e-5"),
    "nn.functional.instance_norm": Row(
        F.instance_norm,
        "input:x running_mean=None running_var=None weight=None bias=None use_input_stats=True "
        "momentum=0.1 eps=1e-5",
    ),
    "nn.functional.cross_entropy": Row(F.cross_entropy, "input:logits target " + LOSS),
    "nn.functional.nll_loss": Row(F.nll_loss, "input:log_probabilities target " + LOSS),
    "nn.functional.mse_loss": Row(F.mse_loss, "input:x target reduction='mean' weight=None"),
    "nn.functional.binary_cross_entropy_with_logits": Row(
        F.binary_cross_entropy_with_logits,
        "input:logits target weight=None reduction='mean' pos_weight=None",
    ),
    "nn.functional.multi_margin_loss": Row(
        F.multi_margin_loss, "input:scores target p=1 margin=1.0 weight=None reduction='mean'"
    ),
}
# op: why a sample differs from PyTorch's although we know it
NAN = ("the gradient at NaN", lambda a, dtype: any(has_nan(v) for v in a.values()))
# a target of another shape than the input's is refused: it is more often a mistake than meant
BROADCAST_OR_NAN = (
    "shapes that broadcast, or the gradient at NaN",
    lambda a, dtype: NAN[1](a, dtype) or len({v.shape for v in a.values() if hasattr(v, "shape")}) > 1,
)
DIFFERENT = {
    "abs": NAN,  # NaN, not 0
    "nn.functional.elu": NAN,  # NaN, not dy
    "nn.functional.selu": NAN,
    "nn.functional.celu": (
        "the gradient at NaN, or PyTorch's 1 / alpha in float64, which is float32's",
        lambda a, dtype: NAN[1](a, dtype) or (dtype == "float64" and a.get("alpha", 1) != 1),
    ),
    "nn.functional.relu6": NAN,  # dy, as of hardtanh
    "nn.functional.softsign": NAN,  # beside it infinity, where the slope is 0 and PyTorch's NaN
    "nn.functional.hardshrink": NAN,  # dy, not 0
    "nn.functional.softshrink": NAN,
    "nn.functional.hardtanh": NAN,  # dy, as of relu; PyTorch gives 0 in vectors and dy in what is left
    "nn.functional.hardsigmoid": (
        "the gradient at NaN, or PyTorch's 1/6 in float64, which is float32's",
        lambda a, dtype: NAN[1](a, dtype) or dtype == "float64",
    ),
    "nn.functional.margin_ranking_loss": BROADCAST_OR_NAN,
    "nn.functional.hinge_embedding_loss": BROADCAST_OR_NAN,
    "nn.functional.gaussian_nll_loss": BROADCAST_OR_NAN,
    "nn.functional.scaled_dot_product_attention": (
        "float16 rounds the scores and the weights",
        lambda a, dtype: dtype == "float16",
    ),
    "nn.functional.pairwise_distance": ("p below 0", lambda a, dtype: a.get("p", 2) < 0),
    "nn.functional.cross_entropy": (
        "a gradient of the target",  # refused by name: probabilities from a teacher are constants
        lambda a, dtype: a["target"].requires_grad,
    ),
}
# at most so many samples of one dtype need an option that we do not have, or differ for a reason above
LIMITS = {
    "add": (2, "numbers only"),
    "sub": (2, "numbers only"),
    "mul": (2, "numbers only"),
    "div no_rounding_mode": (2, "numbers only"),
    "div trunc_rounding": (2, "numbers only"),
    "div floor_rounding": (2, "numbers only"),
    "true_divide": (2, "numbers only"),
    "__rsub__": (2, "numbers only"),
    "abs": (4, "the gradient at NaN"),
    "transpose": (1, "an axis of no axes"),
    "nn.functional.elu": (2, "the gradient at NaN"),
    "nn.functional.selu": (2, "the gradient at NaN"),
    "nn.functional.celu": (99, DIFFERENT["nn.functional.celu"][0]),
    "nn.functional.relu6": (4, "the gradient at NaN"),
    "nn.functional.softsign": (2, "the gradient at NaN"),
    "nn.functional.hardshrink": (4, "the gradient at NaN"),
    "nn.functional.softshrink": (4, "the gradient at NaN"),
    "nn.functional.hardtanh": (4, "the gradient at NaN"),
    "nn.functional.hardsigmoid": (99, DIFFERENT["nn.functional.hardsigmoid"][0]),
    "nn.functional.margin_ranking_loss": (99, BROADCAST_OR_NAN[0]),
    "nn.functional.hinge_embedding_loss": (99, BROADCAST_OR_NAN[0]),
    "nn.functional.gaussian_nll_loss": (999, BROADCAST_OR_NAN[0]),
    "nn.functional.pairwise_distance": (1, "p below 0"),
    "nn.functional.scaled_dot_product_attention": (20, "random", "float16 rounds the scores and the weights"),
    "nn.functional.max_pool1d": (999, "no return_indices"),
    "nn.functional.adaptive_max_pool1d": (999, "no return_indices"),
    "nn.functional.adaptive_max_pool2d": (999, "no return_indices"),
    "nn.functional.adaptive_max_pool3d": (999, "no return_indices"),
    "nn.functional.dropout": (4, "random"),
    "nn.functional.batch_norm": (2, "one row (C)"),
    "nn.functional.cross_entropy": (10, "a gradient of the target"),
}
# how many error inputs of PyTorch we accept, and why
ACCEPTED = {
    "__radd__": 1,  # 2 + array: refused there only as a method of the number 2
    "__rmul__": 1,
    "__rdiv__": 1,
    "maximum": 2,  # of an array and a number
    "max binary": 2,
    "nn.functional.max_pool1d": 2,  # of no channels
    "nn.functional.max_pool3d": 1,  # of no samples, without that axis
    "t": 1,  # of more than two axes: transpose without axes reverses them, as in NumPy
}

OPS = {f"{op.name} {op.variant_test_name}".strip(): op for op in op_db}
each_op = pytest.mark.parametrize("name", ROWS)


def has_nan(value):
    return any(leaf.isnan().any() for leaf in leaves(value))


def is_random(named):
    return named.get("training", True) and named.get("p", 0.5) not in (0.0, 1.0)


def samples_of(name, dtype):
    """The samples of an op: input, args, kwargs."""
    op, kind = OPS[name], getattr(torch, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in op.reference_inputs("cpu", kind, requires_grad=True):  # the sample inputs and more
            everything = (sample.input, *sample.args), sample.kwargs
            if max((leaf.numel() for leaf in leaves(everything)), default=0) <= LARGEST:
                yield everything


def compare(name, dtype, args, kwargs):
    """One sample on both sides."""
    row = ROWS[name]
    named = row.named(args, kwargs)
    if (name == "nn.functional.dropout" and is_random(named)) or named.get("dropout_p"):
        raise Inapplicable("random")
    ours = {k: ours_of(v) for k, v in named.items()}
    wide_args, wide_kwargs = wide((args, kwargs))
    z = OPS[name].op(*wide_args, **wide_kwargs)
    if z is NotImplemented:  # a method of a number
        raise Inapplicable("numbers only")
    tensors = leaves(list(row.named(wide_args, wide_kwargs).values()))
    with np.errstate(all="ignore"):
        y = row.call(named, ours)
        if isinstance(z, tuple):  # with return_indices
            (y, places), (z, expected) = y, z
            np.testing.assert_array_equal(places, expected)
        result = str(named.get("dtype", dtype)).removeprefix("torch.")
        backward_of_both(y, z, leaves(list(ours.values())), tensors, dtype, result)


def ledger_of(name, dtype):
    ledger = Ledger()
    reason, matches = DIFFERENT.get(name, (None, None))
    for args, kwargs in samples_of(name, dtype):
        differs = reason if reason and matches(ROWS[name].named(args, kwargs), dtype) else None
        ledger.judge(described((args, kwargs)), partial(compare, name, dtype, args, kwargs), differs)
    return ledger


@pytest.mark.parametrize("dtype", DTYPES)
@each_op
def test_samples(name, dtype):
    ledger_of(name, dtype).verdict(*LIMITS.get(name, ()))


@pytest.mark.parametrize("name", [n for n in ROWS if OPS[n].error_inputs_func is not None])
def test_refuses_what_pytorch_refuses(name):
    row, accepted = ROWS[name], []
    for error in OPS[name].error_inputs("cpu"):
        sample = error.sample_input
        try:
            named = row.named((sample.input, *sample.args), sample.kwargs)
            row.call(named, ours_of(named))
        except (Inapplicable, TypeError, ValueError, IndexError, xpnet.DeviceError):
            continue
        accepted.append(described(((sample.input, *sample.args), sample.kwargs)))
    assert len(accepted) <= ACCEPTED.get(name, 0), f"accepted, though PyTorch refuses them: {accepted}"
