"""Turns an unpacked CuPy sdist into one whose CUDA is the Python package `cpucuda`.

CuPy has a stub build (CUPY_INSTALL_USE_STUB=1, made for Read the Docs): every CUDA function is defined in a
header and returns success. Four changes make a working device of it:

1. a stub that nobody replaces reports "not supported" instead of success;
2. the few structs that CuPy reads have their members;
3. Cython compiles CuPy for CUDA 13 instead of for no CUDA;
4. the libraries that CuPy loads by name come from `cpucuda`.

The functions themselves are not linked: `cpucuda` loads its library with RTLD_GLOBAL before CuPy's
extensions, so that the dynamic linker finds its `cudaMalloc` ahead of the stub of that name.
"""

from __future__ import annotations

import re
from pathlib import Path

CUDA_VERSION = 13000
LOADERS = [
    "cupy_backends/cuda/libs/cusolver.pyx",
    "cupy_backends/cuda/libs/__init__.py",
    "cupy_backends/cuda/libs/cusparse.pyx",
    "cupy_backends/cuda/libs/_cnvrtc.pxi",
    "cupy_backends/cuda/api/_runtime_softlink.pxi",
    "cupy/cuda/__init__.py",
    "cupy/cuda/cufft.pyx",
    "cupyx/_runtime.py",
    "cupy/_environment.py",
    "cupy/_core/core.pyx",
    "cupy/cuda/jitify.pyx",
    "cupy/fft/_callback.pyx",
]
NOT_SUPPORTED = {
    "cudaSuccess": 801,
    "CUBLAS_STATUS_SUCCESS": 15,
    "CUDA_SUCCESS": 801,
    "CUSOLVER_STATUS_SUCCESS": 9,
    "CUFFT_SUCCESS": 16,
}

# left out of the build: half of its time, and `import cupy` and array work do without
FEATURES = ("CUDA_nccl", "CUDA_cutensor", "CUDA_jitify", "CUDA_cusparselt")
MODULES = ("cupy_backends.cuda.libs.cusparse", "cupyx.scipy.ndimage._bbox_slices")
DEVICE_PROP = (Path(__file__).parent / "cpucuda" / "device" / "device_prop.h").read_text()


def edit(path: Path, *changes: tuple[str, str]) -> None:
    """Replace texts that must be there."""
    text = path.read_text()
    for old, new in changes:
        if old not in text:
            raise SystemExit(f"{path}: not found: {old!r}")
        text = text.replace(old, new)
    path.write_text(text)


def honest(match: re.Match[str]) -> str:
    """A stub that says so when it is called."""
    kind, name, value = match.groups()
    if not value:
        return f'extern "C" {kind} {name}(...) {{ cpucuda_missing("{name}", 0); }}'
    status = 0 if value == "NULL" else NOT_SUPPORTED.get(value, 1)
    return f'extern "C" {kind} {name}(...) {{ return ({kind})(size_t)cpucuda_missing("{name}", {status}); }}'


STUB = re.compile(
    r"^([\w ]+?(?: ?\*)?) ?\b(\w+)\((?:\.\.\.|int\* driverVersion)?\)\s*\{\s*"
    r"(?:\*driverVersion = 0;[^\n]*\s*)?(?:return (\w+);\s*)?\}",
    re.M,
)
# sorting takes a vector, which cannot go through "...": CuPy's own prototypes
THRUST = """#include <stdint.h>
#include <vector>
#define THRUST_VERSION 0
void thrust_sort(int, void*, size_t*, const std::vector<ptrdiff_t>&, intptr_t, void*);
void thrust_lexsort(int, size_t*, void*, size_t, size_t, intptr_t, void*);
void thrust_argsort(int, size_t*, void*, void*, const std::vector<ptrdiff_t>&, intptr_t, void*);
"""


def patch(root: Path) -> None:
    """Change the sdist at `root` in place."""
    stubs = [
        *root.glob("cupy_backends/stub/*.h"),
        *(root / f"cupy/cuda/cupy_{n}.h" for n in ("cufft", "cub")),
    ]
    for header in stubs:
        text = STUB.sub(honest, header.read_text())
        if "cpucuda_missing" in text:
            head, guard, rest = text.partition("_H\n#define")
            first, _, rest = rest.partition("\n")
            declare = 'extern "C" int cpucuda_missing(const char*, int);\n#include <stddef.h>'
            text = f"{head}{guard}{first}\n{declare}\n{rest}"
        header.write_text(text)

    thrust = root / "cupy/cuda/cupy_thrust.h"
    head, no_cuda, rest = thrust.read_text().partition("#else // CUPY_NO_CUDA\n")
    thrust.write_text(head + no_cuda + THRUST + rest[rest.index("#endif") :])

    common = root / "cupy_backends/stub/cupy_cuda_common.h"
    edit(
        common,
        ("#define CUDA_VERSION 0", f"#define CUDA_VERSION {CUDA_VERSION}"),
        (
            "struct cudaPointerAttributes{\n    int device;",
            "struct cudaPointerAttributes{\n    int type;\n    int device;",
        ),
    )
    text = common.read_text()
    common.write_text(
        re.sub(
            r"typedef struct \{\n     char name\[256\];.*?\} cudaDeviceProp;",
            lambda _: DEVICE_PROP,
            text,
            flags=re.S,
        )
    )
    edit(
        root / "cupy_backends/stub/cupy_cuda_runtime.h",
        (
            "struct cudaMemLocation {\n    int id;",
            "struct cudaMemLocation {\n    cudaMemLocationType type;\n    int id;",
        ),
    )

    edit(
        root / "install/cupy_builder/_command.py",
        (
            "if ctx.use_stub:  # on RTD\n            compile_time_env['CUPY_CUDA_VERSION'] = 0",
            f"if ctx.use_stub:  # on RTD\n            compile_time_env['CUPY_CUDA_VERSION'] = {CUDA_VERSION}",
        ),
    )
    edit(
        root / "install/cupy_builder/_features.py",
        *((f"            _from_dict({name}, ctx),\n", "") for name in FEATURES),
        *((f"    '{name}',\n", "") for name in MODULES),
    )
    edit(
        root / "cupy_backends/cuda/api/_driver_extern.pxi",
        (
            "libname = 'libcuda.so.1'",
            "from cpucuda import pathfinder\n            libname = pathfinder.LIBRARY",
        ),
    )
    for name in LOADERS:
        path = root / name
        text = path.read_text()
        new = text.replace("from cuda import pathfinder", "from cpucuda import pathfinder")
        new = new.replace("from cuda.pathfinder import", "from cpucuda.pathfinder import")
        if new == text:
            raise SystemExit(f"{path}: does not load a library")
        path.write_text(new)
    edit(
        root / "setup.py",
        (
            "if not ctx.use_hip:\n    dependencies",
            "if not ctx.use_hip and not ctx.use_stub:\n    dependencies",
        ),
    )
    version = root / "cupy/_version.py"
    version.write_text(
        re.sub(r"(__version__ = '[^'+]+)'", r"\1+cpu'", version.read_text())
    )  # not to be mistaken for CuPy
    init = root / "cupy_backends/__init__.py"
    init.write_text(init.read_text() + "\nimport cpucuda  # noqa: F401, E402  the device\n")
    init = root / "cupy/__init__.py"
    init.write_text(init.read_text() + "\nimport cpucuda  # noqa: E402\ncpucuda.ready()\n")
