"""The Numba functions; each module is imported when the first of its kernels runs."""

# reductions may be reordered into vector lanes and products fused; NaN and infinity keep their meaning
FAST = {"contract", "reassoc", "nsz", "arcp"}
OPTIONS = {"parallel": True, "fastmath": FAST, "cache": True, "nogil": True, "error_model": "numpy"}
