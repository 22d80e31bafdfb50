"""PyTorch's module_db: every sample of every layer that we have too, in training and evaluation."""

import itertools
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="PyTorch's module_db needs it")

from torch.testing._internal.common_modules import module_db  # noqa: E402

from tests.oracle.torch_samples import (  # noqa: E402
    DTYPES,
    Inapplicable,
    Ledger,
    Row,
    backward_of_both,
    close,
    described,
    leaves,
    ours_of,
    wide,
)
from xpnet import nn  # noqa: E402

pytestmark = pytest.mark.host

POOL = "kernel_size stride=None padding=0"
MEAN = POOL + " ceil_mode=False count_include_pad=True divisor_override=None"
NORM = "num_features eps=1e-5 momentum=0.1 affine=True track_running_stats=True bias=True"
INSTANCE = "num_features eps=1e-5 momentum=0.1 affine=False track_running_stats=False bias=True"
CONV = "in_channels out_channels kernel_size stride=1 padding=0 dilation=1 groups=1 bias=True"
CONV += " padding_mode='zeros'"
TRANSPOSED = (
    "in_channels out_channels kernel_size stride=1 padding=0 output_padding=0 groups=1 bias=True dilation=1"
)
ROWS = {
    "Linear": Row(nn.Linear, "in_features out_features bias=True"),
    "Conv2d": Row(nn.Conv2d, CONV),
    "AvgPool2d": Row(nn.AvgPool2d, MEAN),
    "AvgPool3d": Row(nn.AvgPool3d, MEAN),
    "MaxPool2d": Row(nn.MaxPool2d, POOL + " dilation=1 return_indices=False ceil_mode=False"),
    "MaxPool3d": Row(nn.MaxPool3d, POOL + " dilation=1 return_indices=False ceil_mode=False"),
    "BatchNorm1d": Row(nn.BatchNorm1d, NORM),
    "BatchNorm2d": Row(nn.BatchNorm2d, NORM),
    "BatchNorm3d": Row(nn.BatchNorm3d, NORM),
    **{f"InstanceNorm{n}d": Row(getattr(nn, f"InstanceNorm{n}d"), INSTANCE) for n in (1, 2, 3)},
    "GroupNorm": Row(nn.GroupNorm, "num_groups num_channels eps=1e-5 affine=True bias=True"),
    "LayerNorm": Row(nn.LayerNorm, "normalized_shape eps=1e-5 elementwise_affine=True bias=True"),
    "ReLU": Row(nn.ReLU, "inplace=False"),
    "ReLU6": Row(nn.ReLU6, "inplace=False"),
    "SELU": Row(nn.SELU, "inplace=False"),
    "CELU": Row(nn.CELU, "alpha=1.0 inplace=False"),
    "Softsign": Row(nn.Softsign, ""),
    "Hardshrink": Row(nn.Hardshrink, "lambd=0.5"),
    "Softshrink": Row(nn.Softshrink, "lambd=0.5"),
    "Tanhshrink": Row(nn.Tanhshrink, ""),
    "Threshold": Row(nn.Threshold, "threshold value inplace=False"),
    "Softmin": Row(nn.Softmin, "dim:axis"),
    "LeakyReLU": Row(nn.LeakyReLU, "negative_slope=0.01 inplace=False"),
    "ELU": Row(nn.ELU, "alpha=1.0 inplace=False"),
    "GELU": Row(nn.GELU, "approximate='none'"),
    "Sigmoid": Row(nn.Sigmoid, ""),
    "Tanh": Row(nn.Tanh, ""),
    "Hardtanh": Row(nn.Hardtanh, "min_val=-1.0 max_val=1.0 inplace=False"),
    "Softplus": Row(nn.Softplus, "beta=1.0 threshold=20.0"),
    "Softmax": Row(nn.Softmax, "dim:axis"),
    "LogSoftmax": Row(nn.LogSoftmax, "dim:axis"),
    **{f"Conv{n}d": Row(getattr(nn, f"Conv{n}d"), CONV) for n in (1, 3)},
    **{f"ConvTranspose{n}d": Row(getattr(nn, f"ConvTranspose{n}d"), TRANSPOSED) for n in (1, 2, 3)},
    "MaxPool1d": Row(nn.MaxPool1d, POOL + " dilation=1 return_indices=False ceil_mode=False"),
    "AvgPool1d": Row(nn.AvgPool1d, POOL + " ceil_mode=False count_include_pad=True"),
    **{f"AdaptiveAvgPool{n}d": Row(getattr(nn, f"AdaptiveAvgPool{n}d"), "output_size") for n in (1, 2, 3)},
    **{
        f"AdaptiveMaxPool{n}d": Row(getattr(nn, f"AdaptiveMaxPool{n}d"), "output_size return_indices=False")
        for n in (1, 2, 3)
    },
    "Bilinear": Row(nn.Bilinear, "in1_features in2_features out_features bias=True"),
    **{
        f"{kind}Pad{n}d": Row(
            getattr(nn, f"{kind}Pad{n}d"), "padding" + (" value" if kind == "Constant" else "")
        )
        for kind in ("Constant", "Reflection", "Replication", "Circular")
        for n in (1, 2, 3)
    },
    "RMSNorm": Row(nn.RMSNorm, "normalized_shape eps=None elementwise_affine=True"),
    "Embedding": Row(
        nn.Embedding,
        "num_embeddings embedding_dim padding_idx=None max_norm=None norm_type=2.0 scale_grad_by_freq=False "
        "sparse=False",
    ),
    "SiLU": Row(nn.SiLU, "inplace=False"),
    "Mish": Row(nn.Mish, "inplace=False"),
    "Hardswish": Row(nn.Hardswish, "inplace=False"),
    "LogSigmoid": Row(nn.LogSigmoid, ""),
    "PReLU": Row(nn.PReLU, "num_parameters=1 init=0.25"),
    "GLU": Row(nn.GLU, "dim=-1"),
}
# error inputs that we accept: eps 0 is exact wherever the values of a channel differ, and lessons use it
ACCEPTED = [("BatchNorm1d", {"eps": 0.0}), ("BatchNorm2d", {"eps": 0.0}), ("BatchNorm3d", {"eps": 0.0})]
# at most so many samples of one dtype need an option that we do not have
LIMITS = {"MaxPool1d": (99, "no return_indices")}
MODULES = {info.name.removeprefix("nn."): info for info in module_db}


def samples_of(name, dtype):
    """Training or not, and the arguments of the constructor and of the call."""
    info, kind = MODULES[name], getattr(torch, dtype)
    for training in (True, False):
        for sample in info.module_inputs_func(
            info, device="cpu", dtype=kind, requires_grad=True, training=training
        ):
            yield training, sample.constructor_input, sample.forward_input


def array_of(tensor, dtype):
    return tensor.numpy().astype(dtype) if tensor.is_floating_point() else tensor.numpy()


def compare(name, dtype, training, make, call):
    """A layer of each library with the same weights: values, gradients and running statistics."""
    row = ROWS[name]
    theirs = MODULES[name].module_cls(*make.args, **make.kwargs).double().train(training)
    with torch.no_grad():
        for i, array in enumerate(theirs.state_dict().values()):  # as the dtype holds them, none special
            if not array.is_floating_point():
                continue
            values = 0.75 + 0.5 * np.cos(i + np.arange(array.numel())).reshape(tuple(array.shape))
            array.copy_(torch.tensor(values.astype(dtype).astype(np.float64)))
    start = {k: v.clone() for k, v in theirs.state_dict().items()}
    args, wide_args = ours_of(call.args), wide(call.args)
    z = theirs(*wide_args)

    def build_and_call(**options):
        layer = row.ours(**options).train(training)
        own = layer.state_dict()  # PyTorch counts batches, which plays no part at a fixed momentum
        layer.load_state_dict({k: array_of(v, dtype) for k, v in start.items() if k in own})
        return layer, layer(*args)

    named = row.named(make.args, make.kwargs)
    keywords = {"dtype": dtype} if "dtype" in row.known else {}
    ours, y = row.call(named, ours_of(named) | keywords, build_and_call)
    if isinstance(z, tuple):  # with return_indices
        (y, places), (z, expected) = y, z
        np.testing.assert_array_equal(places, expected)
    backward_of_both(y, z, leaves(args), leaves(wide_args), dtype)
    state = theirs.state_dict()
    assert set(state) - set(ours.state_dict()) <= {"num_batches_tracked"}
    for key, value in ours.state_dict().items():
        close(key, value, state[key], dtype)
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        gradient = np.zeros(p.shape, dtype) if p.grad is None else p.grad
        close(f"gradient of {key}", gradient, torch.zeros_like(q) if q.grad is None else q.grad, dtype)


def ledger_of(name, dtype):
    ledger = Ledger()
    for training, make, call in samples_of(name, dtype):
        words = described((training, make.args, make.kwargs, call.args))
        if call.args:
            ledger.judge(words, partial(compare, name, dtype, training, make, call))
    return ledger


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROWS)
def test_samples(name, dtype):
    ledger_of(name, dtype).verdict(*LIMITS.get(name, ()))


@pytest.mark.parametrize("name", [n for n in ROWS if MODULES[n].module_error_inputs_func])
def test_refuses_what_pytorch_refuses(name):
    info, row = MODULES[name], ROWS[name]
    for training, dtype in itertools.product((True, False), ("float32", "float64")):
        for error in info.module_error_inputs_func(
            info, device="cpu", dtype=getattr(torch, dtype), requires_grad=True, training=training
        ):
            make, call = error.module_error_input.constructor_input, error.module_error_input.forward_input
            named = row.named(make.args, make.kwargs)
            keywords = {"dtype": dtype} if "dtype" in row.known else {}
            if (name, make.kwargs) in ACCEPTED:
                continue
            with pytest.raises((TypeError, ValueError, IndexError, Inapplicable)):
                row.call(named, ours_of(named) | keywords).train(training)(*ours_of(call.args))
