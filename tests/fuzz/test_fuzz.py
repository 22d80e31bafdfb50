"""A few hundred malformed files for each reader; `python -m tests.fuzz` has the 50,000."""

import pytest

from tests.fuzz.run import malformed, run
from tests.fuzz.targets import Target, targets

pytestmark = pytest.mark.host
INPUTS = {"text model": 120, "model": 120, "checkpoint": 120, "picture": 300, "cache": 60}  # the others: 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("PIL")
    return tmp_path_factory.mktemp("fuzz")


NAMES = (
    "npy",
    "npz",
    "npz data",
    "csv",
    "table",
    "frame",
    "frame gz",
    "zip",
    "foreign",
    "idx",
    "idx gz",
    "cifar pickle",
    "cifar binary",
    "picture",
    "png",
    "tar",
    "tar gz",
    "tar bz2",
    "tar xz",
    "text model",
    "model",
    "checkpoint",
    "journal",
    "cache",
)


@pytest.mark.parametrize("name", NAMES)
def test_malformed_files_are_refused_in_one_line(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    found = {target.name: target for target in targets(folder / name)}
    assert set(found) == set(NAMES)
    # time and memory are measured by the command, in processes of their own
    result = run(found[name], 1, range(INPUTS.get(name, 200)), folder, measured=False)
    assert result.faults == {}
    assert sum(result.read.values()) == INPUTS.get(name, 200)


def test_the_fuzzer_sees_faults(folder):
    def read(path):
        content = path.read_bytes()
        if len(content) % 5 == 0:
            raise KeyError("raw")
        if len(content) % 5 == 1:
            raise ValueError("two\nlines")

    target = Target("planted", "", [bytes(range(50))], (lambda c, rng: c[: rng.randrange(50)],), read)
    result = run(target, 0, range(100), folder)
    kinds = {fault.split(" ")[0] for fault in result.faults}
    assert kinds == {"KeyError", "ValueError:"}
    assert result.read["read"] + sum(map(len, result.faults.values())) == 100
    assert malformed(target, 0, 7) == malformed(target, 0, 7)
    sizes = {len(malformed(target, 0, number)) for number in range(100)}
    assert len(sizes) > 20
