"""Compiles the device with g++; results are cached under a hash, by the functions of xpnet's emulator."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import shutil
from pathlib import Path

HERE = Path(__file__).parent


def _emulator():
    """tests/emulator/build.py, by its place: CuPy may be imported where `tests` is another package."""
    path = HERE.parents[1] / "emulator" / "build.py"
    spec = importlib.util.spec_from_file_location("xpnet_emulator_build", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


emulator = _emulator()
FLAGS = ["-std=c++17", "-fPIC", "-w", "-O1", "-ffp-contract=fast", "-fno-math-errno"]
FLAGS += [f for f in emulator.flags() if f == "-mfma"]
DEFINES = ["-D__CUDA_ARCH__=900", "-D__CUDACC_VER_MAJOR__=13", "-D__CUDACC_VER_MINOR__=0"]


@functools.cache
def device() -> Path:
    """The device's library."""
    folder = HERE / "device"
    texts = [path.read_text() for path in sorted(folder.iterdir())]
    # _FORTIFY_SOURCE would not let a fault leave the kernel's stack
    options = ["-std=c++17", "-fPIC", "-O1", "-g1", "-w", "-U_FORTIFY_SOURCE", "-shared"]
    return emulator.cached(
        "libcpucuda.so",
        [*texts, *options],
        lambda out: emulator.gxx(*options, folder / "device.cpp", "-o", out, "-ldl"),
    )


def _tree(folder: Path, pattern: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def prefix(include: tuple[str, ...] = ()) -> Path:
    """A folder with prefix.h, precompiled: what every kernel begins with.

    Args:
        include: -I options that lead to CuPy's headers, for the kernels that CuPy writes; else none.
    """
    names = {"xpemu.h": emulator.HERE, "cuda_functions.h": HERE}
    texts = [(folder / name).read_text() for name, folder in names.items()]
    lines = ['#include "xpemu.h"', '#include "cuda_functions.h"']
    if include:
        lines += [
            f"#include <cupy/{n}>"
            for n in ("complex.cuh", "carray.cuh", "atomics.cuh", "math_constants.h", "float16.cuh")
        ]
        for folder in (Path(i[2:], "cupy") for i in include):
            if folder.is_dir():
                texts += [_tree(folder / "complex", "*.h"), _tree(folder, "*.cuh")]

    def make(folder: Path) -> None:
        folder.mkdir()
        for name, where in names.items():
            shutil.copy(where / name, folder)
        (folder / "prefix.h").write_text("\n".join(lines) + "\n")
        places = [f"-I{folder}", *include, f"-I{emulator.cuda_include()}"]
        emulator.gxx(
            *FLAGS, *DEFINES, *places, "-x", "c++-header", folder / "prefix.h", "-o", folder / "prefix.h.gch"
        )

    return emulator.cached("prefix", [*texts, *FLAGS, *DEFINES, *include, str(emulator.cuda_include())], make)
