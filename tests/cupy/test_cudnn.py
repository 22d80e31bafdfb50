"""Convolution by cuDNN (xpnet/cuda/cudnn.py), with a stand-in for NVIDIA's frontend; PyTorch computes for it.

It keeps what the graph says, shapes, strides and numbers of the tensors, and reads and writes the addresses
it is given; so it needs CuPy on the CPU. That cuDNN takes such graphs is for a GPU: tests/gpu/convolution.py.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

import xpnet
from xpnet import functional as F

torch = pytest.importorskip("torch")


class Tensor:
    def __init__(self, number: int = 0, shape: Any = (), strides: Any = ()) -> None:
        self.number, self.shape, self.strides, self.maker = number, shape, strides, None

    def set_output(self, _: bool) -> None: ...
    def _set_data_type(self, _: Any) -> None: ...
    def set_uid(self, number: int) -> None:
        self.number = number

    def set_dim(self, shape: list[int]) -> None:
        self.shape = shape

    def set_stride(self, strides: list[int]) -> None:
        self.strides = strides


class Graph:
    """As `cudnn.pygraph`, of float32."""

    def __init__(self, *, name: str, io_data_type: str, handle: int, **_: Any) -> None:
        assert (io_data_type, handle) == ("float32", 7)
        self.name = name
        self.steps: list[Any] = []

    def _make_tensor(self, *, dim: Any, stride: Any, uid: int, **_: Any) -> Tensor:
        return Tensor(uid, dim, stride)

    def _add(self, function: Any, *inputs: Tensor) -> Tensor:
        out = Tensor()
        self.steps.append((out, function, inputs))
        return out

    @staticmethod
    def _keywords(padding: Any, stride: Any, dilation: Any) -> dict[str, Any]:
        return {"padding": tuple(padding), "stride": tuple(stride), "dilation": tuple(dilation)}

    def conv_fprop(self, image: Tensor, weight: Tensor, **options: Any) -> Tensor:
        def function(x: Any, w: Any, _: Any) -> Any:
            groups = x.shape[1] // w.shape[1]
            return torch.nn.functional.conv2d(x, w, groups=groups, **self._keywords(**options))

        return self._add(function, image, weight)

    def conv_dgrad(self, loss: Tensor, filter: Tensor, **options: Any) -> Tensor:
        def function(dy: Any, w: Any, shape: Any) -> Any:
            groups = shape[1] // w.shape[1]
            return torch.nn.grad.conv2d_input(shape, w, dy, groups=groups, **self._keywords(**options))

        return self._add(function, loss, filter)

    def conv_wgrad(self, image: Tensor, loss: Tensor, **options: Any) -> Tensor:
        def function(x: Any, dy: Any, shape: Any) -> Any:
            groups = x.shape[1] // shape[1]
            return torch.nn.grad.conv2d_weight(x, shape, dy, groups=groups, **self._keywords(**options))

        return self._add(function, image, loss)

    def bias(self, input: Tensor, bias: Tensor) -> Tensor:
        return self._add(lambda y, b, _: y + b, input, bias)

    def deselect_numeric_notes(self, notes: list[str]) -> None:
        self.without = set(notes)

    def deselect_workspace_greater_than(self, size: int) -> None:
        assert size > 100

    def check_support(self) -> None:
        if Graph.refuses:
            raise RuntimeError("no engine")

    refuses = False
    runs: ClassVar[list[str]] = []

    def validate(self) -> None: ...
    def build_operation_graph(self) -> None: ...
    def create_execution_plans(self, _: Any) -> None: ...
    def build_plans(self, _: Any) -> None: ...
    def get_workspace_size(self) -> int:
        return 100

    def _execute(self, pointers: dict[int, int], workspace: int, handle: int) -> None:
        assert self.without == {"nondeterministic", "tf32", "tensor cores"}
        assert workspace
        assert handle == 7
        self.runs.append(self.name)

        def view(t: Tensor) -> Any:
            count = 1 + sum((n - 1) * s for n, s in zip(t.shape, t.strides, strict=True))
            room = np.ctypeslib.as_array(
                ctypes.cast(pointers[t.number], ctypes.POINTER(ctypes.c_float)), (count,)
            )
            return torch.as_strided(torch.from_numpy(room), t.shape, t.strides)

        made: dict[int, Any] = {}
        for out, function, inputs in self.steps:
            values = [made[id(t)] if id(t) in made else view(t) for t in inputs]
            made[id(out)] = function(*values, out.shape)
        view(out)[...] = made[id(out)]


@pytest.fixture
def frontend(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Graphs go to the stand-in; gives the number of those that ran."""
    if not cupy.__version__.endswith("+cpu"):
        pytest.skip("reads the device's memory")
    from xpnet.cuda import cudnn

    notes = SimpleNamespace(
        NONDETERMINISTIC="nondeterministic", DOWN_CONVERT_INPUTS="tf32", TENSOR_CORE="tensor cores"
    )
    made = SimpleNamespace(
        pygraph=Graph,
        data_type=SimpleNamespace(FLOAT="float32"),
        tensor_reordering=SimpleNamespace(NONE=0),
        heur_mode=SimpleNamespace(A=0, FALLBACK=1),
        build_plan_policy=SimpleNamespace(HEURISTICS_CHOICE=0),
        numerical_note=notes,
        cudnnGraphNotSupportedError=NotImplementedError,
        create_handle=lambda: 7,
        set_stream=lambda *, handle, stream: None,
    )
    monkeypatch.setattr(cudnn, "_found", lambda: (made, ""))
    monkeypatch.setattr(Graph, "refuses", False)
    runs: list[str] = []
    monkeypatch.setattr(Graph, "runs", runs)
    for cache in (cudnn.graphs, cudnn._handle):
        cache.cache_clear()
    yield runs
    for cache in (cudnn.graphs, cudnn._handle):
        cache.cache_clear()


CASES = [
    ((2, 3, 8, 9), (4, 3, 3, 3), {"padding": 1}),
    ((2, 4, 9, 7), (6, 2, 3, 2), {"stride": (2, 1), "padding": (1, 0), "groups": 2}),
    ((1, 3, 11, 11), (4, 3, 3, 3), {"dilation": 2}),
]


def step(arrays: list[Any], dy: Any, options: dict[str, Any]) -> list[np.ndarray]:
    tensors = [xpnet.tensor(a, requires_grad=True) for a in arrays]
    y = F.conv2d(*tensors, **options)
    y.backward(dy)
    return [xpnet.to_numpy(a) for a in (y, *(t.grad for t in tensors))]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("x", "weight", "options"), CASES)
def test_the_kernels_and_cudnn_agree(frontend, cupy, x, weight, options, last, bias) -> None:
    from xpnet.cuda import cudnn, layout

    rng = np.random.default_rng(0)
    arrays = [cupy.asarray(rng.standard_normal(s, np.float32)) for s in (x, weight, weight[:1])][: 2 + bias]
    want_y = F.conv2d(*arrays, **options)
    dy = cupy.asarray(rng.standard_normal(want_y.shape, np.float32))
    want = step(arrays, dy, options)
    assert frontend == []
    arrays[0] = layout.ordered(arrays[0], last)
    with cudnn.use_cudnn():
        y = F.conv2d(*arrays, **options)
        found = step(arrays, dy, options)
    assert layout.is_channels_last(y) == last
    assert frontend == ["forward", "forward", "by_x", "by_weight"]
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_what_cudnn_refuses_is_left_to_the_kernels(frontend, cupy, monkeypatch, caplog) -> None:
    from xpnet.cuda import cudnn

    monkeypatch.setattr(Graph, "refuses", True)
    x, weight = cupy.ones((1, 1, 4, 4), "f4"), cupy.ones((1, 1, 3, 3), "f4")
    with cudnn.use_cudnn():
        assert float(F.conv2d(x, weight)[0, 0, 0, 0]) == 9
        assert float(F.conv2d(x.astype("f8"), weight.astype("f8"))[0, 0, 0, 0]) == 9
    assert frontend == []
    assert "no engine" in caplog.text


def test_without_the_frontend_nothing_changes(cupy) -> None:
    from xpnet.cuda import cudnn

    if cudnn.missing() is None:
        pytest.skip("it is here")
    assert "pip install" in cudnn.missing()
    x, weight = cupy.ones((1, 1, 4, 4), "f4"), cupy.ones((1, 1, 3, 3), "f4")
    with cudnn.use_cudnn():
        assert not cudnn.is_wanted(x, weight, 1, 1)
        assert float(F.conv2d(x, weight)[0, 0, 0, 0]) == 9


def test_by_default_it_takes_what_it_was_faster_with(frontend, cupy) -> None:
    from xpnet.cuda import cudnn

    def wanted(dtype: str, o: int, c: int, k: int = 3, stride: int = 1, groups: int = 1) -> bool:
        x, weight = cupy.empty((1, c * groups, 8, 8), dtype), cupy.empty((o, c, k, k), dtype)
        return cudnn.is_wanted(x, weight, stride, groups)

    assert not wanted("f4", 64, 64)  # its gradients are further from NumPy's than ours
    with xpnet.matmul_precision("tf32"):
        assert wanted("f4", 64, 64)
    assert wanted("f2", 128, 64, stride=2)
    assert wanted("f2", 512, 256, 1)
    assert wanted("f4", 64, 1, groups=64)
    assert not wanted("f4", 128, 64, stride=2)
    assert not wanted("f4", 512, 256, 1)
    assert not wanted("f2", 16, 16)
    assert not wanted("f4", 16, 3)
    with cudnn.use_cudnn():
        assert wanted("f4", 16, 3)
    with cudnn.use_cudnn(False):
        assert not wanted("f4", 64, 64)


class Rounding(Graph):
    """One that may round, and does not."""

    def deselect_numeric_notes(self, notes: list[str]) -> None:
        assert notes == ["nondeterministic"]
        super().deselect_numeric_notes([*notes, "tf32", "tensor cores"])


def test_the_images_of_a_model_keep_their_order(frontend, cupy, monkeypatch) -> None:
    """Of one that is channels last: they are copied on the way in, and around what knows one order alone."""
    from tests.nn.test_memory_format import network, step
    from xpnet.cuda import cudnn, layout, loader

    monkeypatch.setattr(cudnn.frontend(), "pygraph", Rounding)
    model, other = network().to("cupy"), network().to("cupy")
    other.load_state_dict(model.state_dict())
    x = xpnet.asarray(np.random.default_rng(0).standard_normal((3, 3, 10, 9)), "float32")
    want = [step(model, x) for _ in range(2)]
    copied: list[tuple[int, ...]] = []

    def watched(function: Any) -> Any:
        def call(a: Any, *rest: Any) -> Any:
            made = function(a, *rest)
            if made is not a and a.shape[0] == len(x):  # no weight
                copied.append(a.shape)
            return made

        return call

    monkeypatch.setattr(loader, "contiguous", watched(loader.contiguous))
    for module in (cudnn, layout):
        monkeypatch.setattr(module, "ordered", watched(module.ordered))
    # into the first convolution, into and out of the maximum pool, into the mean
    forward = [x.shape, (3, 4, 8, 7), (3, 4, 4, 3), (3, 5, 4, 3)]
    # out of the mean, into and out of the pool; and CuPy's sum of the gradients of a residual's two ways
    backward = [(3, 5, 4, 3), (3, 4, 4, 3), (3, 4, 8, 7), (3, 8, 7, 4)]
    assert not frontend
    other.to(memory_format="channels_last")
    with xpnet.matmul_precision("tf32"):
        for wanted in want:
            copied.clear()
            for a, b in zip(step(other, x), wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
            assert copied == [*forward, *backward]
    assert frontend.count("forward") == frontend.count("by_x") == 2 * 4
