"""The CPU kernels: an extension of C that xpnet does without where no compiler is found."""

import os
import sysconfig
from glob import glob

from setuptools import Extension, setup

SOURCES = ("module", "pool", "base", "avx2", "avx512")
FOLDER = "xpnet/cpu/native/"

# products are fused; sums keep their order, and NaN and infinities their meaning
FLAGS = ["-O3", "-g0", "-pthread", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]

# one wheel for all later versions of Python; free-threaded ones have no stable ABI
STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    ext_modules=[
        Extension(
            "xpnet.cpu._native",
            [f"{FOLDER}{name}.c" for name in SOURCES],
            depends=glob(f"{FOLDER}*.h"),
            extra_compile_args=[] if os.name == "nt" else FLAGS,
            extra_link_args=[] if os.name == "nt" else ["-pthread"],
            optional=True,  # NumPy bodies take its place
            py_limited_api=STABLE,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE else {},
)
