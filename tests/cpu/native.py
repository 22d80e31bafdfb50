"""Whether the CPU kernels are here."""

import pytest

from xpnet.cpu import launch

needs_native = pytest.mark.skipif(
    launch.Native is None, reason="the CPU kernels need a C compiler when xpnet is installed"
)
