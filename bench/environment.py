"""What the environment of a column's process tells every library: threads and instructions."""

from __future__ import annotations

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "XPNET_NUM_THREADS",
    "NPROC",  # XLA
)

AVX2 = {
    "XPNET_CPU": "avx2",
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
}
"""A processor without AVX-512, as far as libraries let themselves be told."""


def environment(threads: int, avx2: bool = False) -> dict[str, str]:
    """The variables to add."""
    return dict.fromkeys(THREADS, str(threads)) | (AVX2 if avx2 else {})
