"""Files of arrays: exact, whole or absent, and damage is noticed."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import xpnet
from xpnet import functional as F
from xpnet import nn, optim
from xpnet.data import Dataset
from xpnet.io.writing import atomic_write, copy_file
from xpnet.train import Checkpoint, Trainer, load_arrays, load_checkpoint, save_arrays

safetensors = pytest.importorskip("safetensors.numpy")


def test_a_model_comes_back_exactly(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, dtype="float64"))
    save_arrays(tmp_path / "m", model.state_dict(), {"layers": [3, 4, 2], "name": "µ"})
    arrays, metadata = load_arrays(tmp_path / "m")
    assert metadata == {"layers": [3, 4, 2], "name": "µ"}
    xpnet.manual_seed(1)
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, dtype="float64"))
    other.load_state_dict(arrays)
    for name, array in model.state_dict().items():
        found = other.state_dict()[name]
        assert found.dtype == array.dtype
        assert np.array_equal(xpnet.to_numpy(found), xpnet.to_numpy(array)), name


@pytest.mark.host
@pytest.mark.parametrize(
    "array", [np.float32(2.5), np.zeros((0, 3)), np.arange(6).reshape(2, 3).T, np.array([True])]
)
def test_every_shape_and_layout(tmp_path, array):
    save_arrays(tmp_path / "a", {"a": array})
    arrays, metadata = load_arrays(tmp_path / "a")
    assert (arrays["a"].shape, arrays["a"].dtype, metadata) == (array.shape, array.dtype, {})
    assert np.array_equal(arrays["a"], array)


@pytest.mark.host
def test_every_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "a"
    save_arrays(path, {"w": np.arange(4, dtype=np.float32)}, {"seed": 7})
    content = path.read_bytes()
    arrays, metadata = load_arrays(path)
    survived = []
    for i in range(len(content)):
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        with suppress(ValueError):
            found, read = load_arrays(path)
            survived.append(i)  # only padding may change without a meaning
            assert read == metadata
            assert np.array_equal(found["w"], arrays["w"])
    assert len(survived) <= 8


@pytest.mark.host
def test_truncated_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "a"
    save_arrays(path, {"w": np.arange(4, dtype=np.float32)})
    content = path.read_bytes()
    for cut in (0, 5, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match="not a safetensors file, or a truncated or damaged one"):
            load_arrays(path)
    path.write_bytes(safetensors.save({"w": np.zeros(2)}, {"format": "pt"}))
    with pytest.raises(ValueError, match="not one that xpnet saved"):
        load_arrays(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_arrays(tmp_path / "none")


@pytest.mark.host
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail():
        with atomic_write(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert path.read_bytes() == b"old"
    with atomic_write(path) as file:
        file.write(b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert path.read_bytes() == b"new"


@pytest.mark.host
def test_unwritable_paths_are_named(tmp_path):
    for path in (tmp_path / "no" / "a", tmp_path):
        with pytest.raises(OSError, match=f"cannot write {path}"):
            save_arrays(path, {})


@pytest.mark.host
def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("xpnet.io.files.find_spec", lambda name: None)
    for call in (lambda: save_arrays(tmp_path / "a", {}), lambda: load_arrays(tmp_path / "a")):
        with pytest.raises(ImportError, match=r'pip install "xpnet\[save\]"'):
            call()


@pytest.mark.host
@pytest.mark.parametrize("links", [True, False])
def test_a_second_name_for_a_file(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr("os.link", lambda *names: (_ for _ in ()).throw(OSError("not here")))
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"one")
    copy_file(a, b)
    copy_file(a, b)  # also where both names are of one file already
    with atomic_write(a) as file:
        file.write(b"two")
    assert (a.read_bytes(), b.read_bytes()) == (b"two", b"one")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.host
@pytest.mark.skipif(os.name != "posix", reason="links need leave here")
def test_a_second_name_of_what_a_link_leads_to(tmp_path):
    a, link, b = tmp_path / "a", tmp_path / "link", tmp_path / "b"
    a.write_bytes(b"one")
    link.symlink_to("a")
    copy_file(link, b)
    with atomic_write(a) as file:
        file.write(b"two")
    assert not b.is_symlink()
    assert b.read_bytes() == b"one"


# ---- metadata as people have it ----

METADATA = [
    (np.float32(0.5), 0.5),
    (np.float64(0.1), 0.1),
    (np.int64(3), 3),
    (np.bool_(True), True),
    (np.str_("a"), "a"),
    (np.array([1, 2]), [1, 2]),
    (np.array(["a", "b"]), ["a", "b"]),
    (np.array(2.5), 2.5),
    (Path("a/b"), str(Path("a/b"))),
    ((1, np.int32(2)), [1, 2]),
    ({"x": [np.float32(1)]}, {"x": [1.0]}),
    (None, None),
]


@pytest.mark.parametrize(("value", "read"), METADATA)
def test_metadata_comes_back_as_python_has_it(value, read, tmp_path):
    path = tmp_path / "m.safetensors"
    xpnet.save(nn.Linear(2, 2), path, metadata={"value": value})
    found = xpnet.load(path).metadata["value"]
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(("value", "read"), [f for f in METADATA if not isinstance(f[0], np.ndarray)])
def test_metadata_of_a_checkpoint_likewise(value, read, tmp_path):
    model = nn.Linear(2, 2)
    checkpoint = Checkpoint(tmp_path / "c", metadata={"value": value})
    data = Dataset(np.ones((4, 2), np.float32), np.zeros(4, int))
    Trainer(model, F.cross_entropy, optim.SGD(model), [checkpoint]).fit(data, epochs=1)
    found = load_checkpoint(tmp_path / "c")["metadata"]["value"]
    assert found == read
    assert type(found) is type(read)


def test_the_earlier_name_of_metadata_is_taken_and_is_the_key_in_files(tmp_path):
    model, path, value = nn.Linear(2, 2), tmp_path / "m", {"seed": 3}
    xpnet.save(model, path, facts=value)
    assert xpnet.load(path).metadata == xpnet.load(path).facts == load_arrays(path)[1]["facts"] == value
    Trainer(model, F.cross_entropy, optim.SGD(model)).save_checkpoint(path, facts=value)
    content = load_checkpoint(path)
    assert content["metadata"] == content["facts"] == value
    assert Checkpoint(path, facts=value).metadata is value
    with pytest.raises(TypeError, match="save_arrays: 'facts' is the earlier name of 'metadata'; give one"):
        save_arrays(path, {}, facts=value, metadata=value)


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes", lambda: 0, 1j])
def test_metadata_that_json_cannot_hold_is_named(value, tmp_path):
    with pytest.raises(TypeError, match=r"metadata\['a'\]\[1\]: JSON cannot hold a \w+"):
        xpnet.save(nn.Linear(2, 2), tmp_path / "m", metadata={"a": [0, value]})
    assert not (tmp_path / "m").exists()
