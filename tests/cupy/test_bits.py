"""When bits are equal on CuPy: see tests/train/test_bits.py."""

import pytest

from tests.train.test_bits import bits

SMALL = ("--backend", "cupy", "--samples", "64", "--width", "8")


def test_a_cold_and_a_warm_cache_a_capture_and_a_cut_give_the_same_bits(tmp_path):
    pytest.importorskip("cupy")
    pytest.importorskip("safetensors")
    cache, path = (("CUPY_CACHE_DIR", str(tmp_path / "kernels")),), str(tmp_path / "c")
    cold, warm = (bits(cache, SMALL) for _ in range(2))
    assert cold == warm == bits(cache, (*SMALL, "--capture"))
    bits(cache, (*SMALL, "--epochs", "1", "--checkpoint", path))
    assert bits(cache, (*SMALL, "--resume", path)) == cold
    assert bits((*cache, ("XPNET_FUSED", "0")), SMALL) != cold
