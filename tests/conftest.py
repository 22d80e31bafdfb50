"""Every test runs once on each backend named by `--backend`, with new arrays made there."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

import xpnet
from xpnet.core.backend import BACKENDS, Backend

from . import skipped
from .browser import chromium

# the fake second device shows every array that is made on the default device by mistake
DEVICES = {"array_api_strict": "device1", "torch": "cpu"}
ONCE = ("kernels", "emulator")  # folders whose tests choose their arrays themselves

LONG = (
    *("capture/test_capture", "cupy/test_bits", "cupy/test_budgets", "cupy/test_against_numpy"),
    *("kernels/test_nvrtc", "kernels/test_convolution", "docs/test_site", "docs/test_how_to", "test_types"),
    *("oracle/test_op_db", "oracle/test_training", "train/test_bits", "train/test_resume_kills"),
    *("lab/test_lab", "lab/test_cifar", "lab/test_page", "cli/test_runs", "cli/test_text", "cli/test_table"),
    *("parallel/test_leaving", "parallel/test_parallel", "search/test_search", "fuzz/test_fuzz"),
)
"""Files of few tests that take long: they begin first, so that no process waits for the last of another."""

# scripts for type checkers, some of them wrong; a device that would be this process's, NVRTC and all
collect_ignore = ["typing", "cupy_on_cpu"]

settings.register_profile(
    "xpnet", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("xpnet")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        default="numpy,array_api_strict",
        help="comma-separated backends that every test runs on (default: numpy,array_api_strict)",
    )
    parser.addoption("--skipped", action="store_true", help="only what the last run without it skipped")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "host: does not depend on the backend; runs once, on numpy")
    unknown = set(config.getoption("--backend").split(",")) - set(BACKENDS)
    if unknown:
        raise pytest.UsageError(
            f"--backend: unknown {', '.join(sorted(unknown))}; one of {', '.join(BACKENDS)}"
        )
    skipped.configure(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """A file's tests run in one worker: what they share, a page or a run, is made once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # the order of files is that of `pytest_collection_modifyitems`
    return LoadFileScheduling(config, log) if config.getoption("dist") == "load" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker of pytest-xdist, files that take long come first, then those of many tests."""
    if not hasattr(config, "workerinput"):
        return
    size = Counter(item.path for item in items)
    root = Path(__file__).parent

    def place(item: pytest.Item) -> tuple[int, int]:
        name = item.path.with_suffix("").as_posix().removeprefix(f"{root.as_posix()}/")
        return LONG.index(name) if name in LONG else len(LONG), -size[item.path]

    items.sort(key=place)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    path = metafunc.definition.path.relative_to(Path(__file__).parent)
    if path.parts[0] in ONCE or metafunc.definition.get_closest_marker("host"):
        return
    metafunc.parametrize("backend", metafunc.config.getoption("--backend").split(","), indirect=True)


@pytest.fixture(autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The default backend of the test, freshly seeded."""
    name = getattr(request, "param", "numpy")
    with ExitStack() as stack:
        try:
            chosen = stack.enter_context(xpnet.use_backend(name, DEVICES.get(name)))
        except xpnet.BackendUnavailableError as error:
            pytest.skip(str(error))
        xpnet.manual_seed(0)
        yield chosen


@pytest.fixture
def cupy(backend: Backend) -> ModuleType:
    """CuPy, for tests that are about it; they run under `--backend cupy` only."""
    if backend.name != "cupy":
        pytest.skip("about CuPy")
    return pytest.importorskip("cupy")


@pytest.fixture
def second(cupy: ModuleType) -> int:
    """The number of a device that is not the current one."""
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one device")
    return 1


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Chromium, for the tests of pages."""
    with chromium() as opened:
        yield opened
