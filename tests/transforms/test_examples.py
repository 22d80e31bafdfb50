"""The long examples of the docs run; whole they are commands."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.host
EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_burgers():
    burgers = load("burgers")
    t = np.array([0.0, 0.5])
    assert (
        abs(burgers.exact(np.array([0.5, 0.0]), t) - [-1.0, 0.0]).max() < 1e-6
    )  # the initial value, the symmetry
    assert burgers.main(150) < 0.7  # of 1 for a network that gives 0


def test_wgan_gp():
    off, _ = load("wgan_gp").main(3)
    assert np.isfinite(off)


def test_the_spectrum_of_the_digits():
    largest = load("spectrum").main(3)
    assert largest[0] > largest[-1] > 0
