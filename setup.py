"""The CPU kernels: an extension of C that xpnet does without where no compiler is found."""

import os
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = ("module", "pool", "base", "avx2", "avx512")
FOLDER = "xpnet/cpu/native/"

# products are fused; sums keep their order, and NaN and infinities their meaning
FLAGS = ["-O3", "-g0", "-pthread", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]

# one wheel for all later versions of Python; free-threaded ones have no stable ABI
STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED")


class AtOnce(build_ext):
    """Compile the sources of the extension at the same time: each takes some ten seconds."""

    def build_extensions(self) -> None:
        """As many at once as there are cores."""
        compile = self.compiler.compile

        def compile_all(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                made = list(pool.map(lambda source: compile([source], **options), sources))
            return [one for objects in made for one in objects]

        self.compiler.compile = compile_all
        super().build_extensions()


setup(
    cmdclass={"build_ext": AtOnce},
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
