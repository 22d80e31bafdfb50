"""Where arrays live: choosing a backend, moving data, and what is said when something is missing or mixed."""

import contextvars
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn
from xpnet.core import backend as backends
from xpnet.core.places import backend_name, backend_of, device, namespace, where


def test_new_arrays_are_made_on_the_default_backend(backend):
    assert xpnet.get_backend() == str(backend)
    x = xpnet.asarray([1.0, 2.0])
    assert backend_name(x) == backend == backend_of(x)
    assert backend.device is None or device(x) == backend.device
    assert xpnet.tensor([1.0]).device == device(x)


def test_use_backend_ends_with_the_block(backend):
    with xpnet.use_backend("array_api_strict", "device2") as inner:
        assert xpnet.get_backend() is inner
        assert where(xpnet.asarray([1.0])) == "array_api_strict (device2)"
    assert xpnet.get_backend() is backend
    with pytest.raises(KeyError), xpnet.use_backend("array_api_strict", "device2"):
        raise KeyError
    assert xpnet.get_backend() is backend


@pytest.mark.host
def test_set_backend_lasts():
    try:
        xpnet.set_backend("array_api_strict", "device1")
        assert where(xpnet.asarray([1.0])) == "array_api_strict (device1)"
    finally:
        xpnet.set_backend("numpy")


# ---- moving data ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
def test_round_trip_keeps_values_and_dtype(dtype):
    a = np.array([[0, 1], [2, 3]]).astype(dtype)
    found = xpnet.to_numpy(xpnet.asarray(a))
    assert found.dtype == a.dtype
    np.testing.assert_array_equal(found, a)


def test_arrays_already_there_are_not_copied():
    x = xpnet.asarray([1.0, 2.0])
    assert xpnet.asarray(x) is x
    assert xpnet.asarray(xpnet.Tensor(x)) is x
    assert xpnet.asarray(x, "float32") is x


def test_python_floats_are_float32():
    for data in (1.5, [1.5], [[1.5, 2]], (1.5, 2.5)):
        assert "float32" in str(xpnet.asarray(data).dtype)
    assert "int64" in str(xpnet.asarray([1, 2]).dtype)
    assert "float64" in str(xpnet.asarray([1.0], "float64").dtype)


def test_a_dtype_may_be_a_name_or_the_backends_own(backend):
    x = xpnet.asarray([1, 2])
    assert xpnet.asarray(x, "float32").dtype == xpnet.asarray(x, backend.xp.float32).dtype


@pytest.mark.host
@pytest.mark.parametrize(
    "source", [("numpy", None), ("array_api_strict", "device1"), ("array_api_strict", None)]
)
@pytest.mark.parametrize(
    "target", [("numpy", None), ("array_api_strict", "device2"), ("array_api_strict", None)]
)
def test_moving_between_any_two_places(source, target):
    with xpnet.use_backend(*source):
        x = xpnet.asarray([[1.0, 2.0], [3.0, 4.0]])
    with xpnet.use_backend(*target) as there:
        y = xpnet.asarray(x)
    assert where(y) == where(xpnet.asarray([0.0], backend=there))
    np.testing.assert_array_equal(xpnet.to_numpy(y), [[1.0, 2.0], [3.0, 4.0]])


def test_to_numpy_takes_tensors_arrays_and_numbers():
    for x in (xpnet.tensor([1.0, 2.0], requires_grad=True), xpnet.asarray([1.0, 2.0]), [1.0, 2.0]):
        found = xpnet.to_numpy(x)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, [1.0, 2.0])


# ---- unknown, missing -------------------------------------------------------------------------------------


@pytest.mark.host
@pytest.mark.parametrize("choose", [xpnet.set_backend, lambda name: xpnet.use_backend(name).__enter__()])
def test_unknown_backend(choose):
    with pytest.raises(ValueError, match=r"unknown backend 'jax'; choose one of numpy, cupy"):
        choose("jax")
    assert xpnet.get_backend() == "numpy"


@pytest.mark.host
@pytest.mark.parametrize(
    ("name", "wrong", "known"), [("numpy", "cuda", "cpu"), ("array_api_strict", "device9", "device1")]
)
def test_unknown_device(name, wrong, known):
    with pytest.raises(ValueError, match=f"{known}.*not '{wrong}'"):
        xpnet.set_backend(name, wrong)
    assert xpnet.get_backend() == "numpy"


@pytest.fixture
def without(monkeypatch):
    """Make packages look as if they were not installed."""

    def hide(*names):
        find_spec = backends.importlib.util.find_spec
        monkeypatch.setattr(
            backends.importlib.util, "find_spec", lambda name: None if name in names else find_spec(name)
        )

    return hide


@pytest.mark.host
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("cupy", r'pip install "xpnet\[cuda13\]" .*"xpnet\[cuda12\]"'),
        ("torch", r'pip install "xpnet\[torch\]"'),
        ("array_api_strict", r'pip install "xpnet\[test\]"'),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(without, name, command):
    without(name)
    with pytest.raises(
        xpnet.BackendUnavailableError, match=f"'{name}' cannot be used: the package {name} .*{command}"
    ):
        xpnet.set_backend(name)
    assert name not in xpnet.available_backends()
    assert "numpy" in xpnet.available_backends()


@pytest.fixture
def fake_cupy(monkeypatch):
    """A cupy whose device count is what the test says."""

    class CUDARuntimeError(RuntimeError):
        pass

    def install(count):
        def device_count():
            if isinstance(count, str):
                raise CUDARuntimeError(count)
            return count

        module = ModuleType("cupy")
        module.__spec__ = ModuleSpec("cupy", None)
        runtime = SimpleNamespace(getDeviceCount=device_count, CUDARuntimeError=CUDARuntimeError)
        module.cuda = SimpleNamespace(runtime=runtime)
        monkeypatch.setitem(sys.modules, "cupy", module)

    return install


@pytest.mark.host
@pytest.mark.parametrize(
    ("count", "message"),
    [
        (
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient",
            "driver is missing or too old.*install",
        ),
        ("cudaErrorNoDevice: no CUDA-capable device is detected", "no CUDA device is visible.*nvidia-smi"),
        (0, "no CUDA device is visible.*CUDA_VISIBLE_DEVICES"),
    ],
)
def test_cupy_without_a_driver_or_a_device(fake_cupy, count, message):
    fake_cupy(count)
    with pytest.raises(xpnet.BackendUnavailableError, match=message):
        xpnet.set_backend("cupy")
    assert "cupy" not in xpnet.available_backends()


@pytest.mark.host
def test_cupy_that_does_not_load(monkeypatch, without):
    # an installed package whose import fails, as with a wheel for another CUDA version
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: ModuleSpec(name, None))
    with pytest.raises(xpnet.BackendUnavailableError, match=r"cupy does not load .*pip install"):
        xpnet.set_backend("cupy")


# ---- mixed ------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere():
    """An array where the default backend is not."""
    with xpnet.use_backend("array_api_strict", "device2"):
        return xpnet.tensor([[1.0, 2.0]])


@pytest.mark.parametrize(
    "op",
    [
        lambda x, y: x + y,
        lambda x, y: x @ y.T,
        lambda x, y: F.linear(x, y),
        lambda x, y: F.layer_norm(x, 2, y[0]),
        lambda x, y: F.cross_entropy(x, np.array([0]), weight=y[0]),
    ],
)
def test_mixed_devices_name_both_and_the_fix(op, elsewhere, backend):
    here = xpnet.tensor([[3.0, 4.0]])
    with pytest.raises(xpnet.DeviceError, match=r"array_api_strict \(device2\).*xpnet\.asarray") as error:
        op(here, elsewhere)
    assert where(here.data) in str(error.value)


def test_mixed_devices_in_a_model_name_the_layer_and_the_parameter(elsewhere):
    model = xpnet.nn.Sequential(xpnet.nn.Linear(2, 3), xpnet.nn.ReLU(), xpnet.nn.Linear(3, 1))
    with pytest.raises(xpnet.DeviceError, match=r"Linear.*weight|weight.*Linear"):
        model(elsewhere)


def test_python_numbers_belong_to_no_backend(backend):
    assert namespace(2.0, xpnet.asarray([1.0]), None) is namespace(xpnet.asarray([1.0]))
    with pytest.raises(TypeError, match="only Python scalars"):
        namespace(2.0, None)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_numpy_labels_are_taken_on_any_backend(dtype):
    z = xpnet.tensor([[1.0, 2.0, 3.0], [1.0, 0.0, 0.0]], requires_grad=True)
    y = np.array([2, 0], dtype=dtype)
    expected = F.cross_entropy(z, xpnet.asarray(y)).item()
    assert F.cross_entropy(z, y).item() == expected
    assert F.cross_entropy(z, xpnet.tensor(y)).item() == expected
    assert F.cross_entropy(z, [2, 0]).item() == expected


@pytest.mark.host
def test_importing_xpnet_imports_no_other_array_library():
    import subprocess

    code = (
        "import sys, xpnet; "
        "print([m for m in ('cupy', 'torch', 'array_api_strict', 'matplotlib', 'sklearn', 'scipy')"
        " if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# ---- threads ----


@pytest.mark.host
def test_use_backend_is_of_one_thread():
    entered, leave, seen = threading.Event(), threading.Event(), []

    def other():
        with xpnet.use_backend("array_api_strict"):
            entered.set()
            leave.wait(5)
            seen.append(str(xpnet.get_backend()))
        seen.append(str(xpnet.get_backend()))

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(5)
    seen.append(str(xpnet.get_backend()))
    seen.append(type(xpnet.asarray([1.0])).__module__.split(".")[0])
    leave.set()
    thread.join()
    assert seen == ["numpy", "numpy", "array_api_strict", "numpy"]


@pytest.mark.host
def test_set_backend_is_of_all_threads_and_within_a_block_of_the_block():
    def elsewhere():
        with ThreadPoolExecutor(1) as pool:
            return str(pool.submit(xpnet.get_backend).result())

    code = contextvars.Context()  # without the block of the fixture
    try:
        code.run(xpnet.set_backend, "array_api_strict")
        assert elsewhere() == "array_api_strict"
    finally:
        code.run(xpnet.set_backend, "numpy")
    with xpnet.use_backend("numpy"):
        xpnet.set_backend("array_api_strict")
        assert str(xpnet.get_backend()) == "array_api_strict"
        assert elsewhere() == "numpy"
    assert str(xpnet.get_backend()) == "numpy"


def test_batches_made_ahead_are_where_the_loop_is():
    from xpnet.data import DataLoader, Dataset

    data = Dataset(np.ones((8, 2), np.float32), np.zeros(8, int))
    for x, _ in DataLoader(data, 4, prefetch=2):
        assert xpnet.core.places.backend_name(x) == str(xpnet.get_backend())


def test_a_record_is_of_one_device():
    first, other = (backends.load("array_api_strict", device) for device in (None, "device1"))
    assert first != other
    for record in (first, other):
        again = pickle.loads(pickle.dumps(record))
        assert again == record
        assert {record: 1}[again] == 1


class Holder:
    """Has some of what a Tensor or a Trainer has."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


@pytest.mark.host
def test_functions_follow_the_first_array_that_they_are_given(monkeypatch):
    from xpnet.core import places

    followed = []
    monkeypatch.setattr(places, "on_device", lambda array: followed.append(array) or nullcontext())
    first, second = np.zeros(2, np.float32), np.ones(3, np.float32)
    model, tensor = nn.Linear(2, 2), xpnet.tensor(first)
    weight = next(iter(model.parameters())).data
    calls = [
        ((first, second), first),
        ((tensor, second), tensor.data),
        (([second, first],), second),
        (([], second), second),
        ((model, first), weight),
        ((Holder(model=model), first), weight),
        ((nn.ReLU(), second), second),  # without a parameter
        ((Holder(backward=None), second), second),  # a loss with a method of that name
        ((Holder(requires_grad=True), second), second),
        ((Holder(dtype="float32"), second), second),
        ((Holder(shape=(2,)), second), second),
        ((3, "mean", None, second), second),
        ((3, "mean"), None),
    ]
    for arguments, expected in calls:
        followed.clear()
        assert places.following(lambda *args, **kwargs: (args, kwargs))(*arguments, eps=1.0) == (
            arguments,
            {"eps": 1.0},
        )
        assert [id(array) for array in followed] == [id(a) for a in (expected,) if a is not None]
    followed.clear()
    places.following(lambda **kwargs: None)(eps=1.0, x=first)
    assert followed[0] is first
