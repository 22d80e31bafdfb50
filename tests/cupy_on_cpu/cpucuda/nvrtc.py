"""NVRTC: CUDA C++ to a shared object, by g++."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from . import build

FIBERS, PLAIN, ONE_THREAD = range(3)  # as in device.cpp
seconds = {"kernels": 0, "compiling": 0.0}

_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\('
)
# inside of extern "C" { ... }: every kernel that is no template
_ANY_KERNEL = re.compile(
    r"(template\s*<[^;{}]*>\s*)?__global__\s+void\s+(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\("
)
# template <int CL, ...> __global__ void __launch_bounds__(...) __cluster_dims__(CL, 1, 1) name(
_CLUSTER = re.compile(
    r"template\s*<([^<>]*)>\s*__global__\s+void\s+(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?"
    r"(?:XP_CLUSTER|__cluster_dims__)\s*\(([^,)]*)[^)]*\)\s*(\w+)\s*\("
)
_THREADS = re.compile(r"\b(threadIdx|blockIdx|blockDim|gridDim|__shared__|__sync\w+|__shfl\w*)\b")
_WAITS = (b"\0xpemu_barrier\0", b"\0xpemu_warp\0", b"\0xpemu_static_shared\0", b"\0xpemu_map_shared\0")
_PREFIX = "#include <cupy/complex.cuh>"


def _version() -> str:
    """Changes whenever what is compiled would change: CuPy makes it part of the names in its cache."""
    files = [
        build.HERE / "cuda_functions.h",
        Path(__file__),
        build.emulator.HERE / "xpemu.h",
        build.emulator.HERE / "build.py",
    ]
    text = "".join(f.read_text() for f in files) + " ".join(build.FLAGS)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _constants(source: str, name: str) -> str:
    """A letter for each parameter of a kernel: c if it is declared const, so that an array is only read.

    CuPy passes arrays by value, as `const CArray<...> x`; the kernel's type has lost that const.
    """
    match = re.search(rf"__global__\s+void\s+[^;{{}}]*?\b{name}\s*\(", source)
    letters, depth, start = "", 0, match.end() if match else len(source)
    for i in range(start, len(source)):
        character = source[i]
        if character in ",)" and not depth:
            letters += "c" if source[start:i].split()[:1] == ["const"] else "-"
            start = i + 1
            if character == ")":
                break
        depth += (character in "<(") - (character in ">)")
    return letters


def compile(source: str, options: list[str], names: list[str]) -> tuple[bytes, list[str]]:
    """The image of a module, and the name of each name expression in it.

    Raises:
        SyntaxError: g++ says so, or the source has what `translate` cannot rewrite.
    """
    start = time.perf_counter()
    include = [o for o in options if o.startswith("-I")]
    macros = [f"#define {o[2:].replace('=', ' ', 1)}" for o in options if o.startswith("-D")]
    is_cupy = source.startswith(_PREFIX)
    one_thread = "CUPY_FOR(" in source and not _THREADS.search(source)

    text, clusters = source, []
    for match in reversed(list(_CLUSTER.finditer(text))):
        parameters, size, name = match.groups()
        clusters.append(name)
        holder = f"struct xpemu_cluster_of_{name} {{ static constexpr unsigned value = ({size}); }}"
        helper = f"template <{parameters}> {holder}; "
        text = text[: match.start()] + helper + text[match.start() :]
    register, lowered = [], []
    for i, name in enumerate(names):
        lowered.append(f"k{i}")
        register.append(f"XPEMU_KERNEL(k{i}, {name})")
        register.append(f'extern "C" const char* xpemu_name_k{i}() {{ return {json.dumps(name)}; }}')
        kernel, angle, arguments = name.partition("<")
        if kernel.split("::")[-1].strip() in clusters and angle:
            value = f"xpemu_cluster_of_{kernel}<{arguments}::value"
            register.append(f'extern "C" unsigned xpemu_cluster_k{i}() {{ return {value}; }}')
    plain = _KERNEL.findall(source)
    if re.search(r'extern\s+"C"\s*\{', source):
        plain += [name for template, name in _ANY_KERNEL.findall(source) if not template]
    for name in dict.fromkeys(plain):
        register.append(f"XPEMU_KERNEL({name}, {name})")
        register.append(
            f'extern "C" const char* xpemu_const_{name}() {{ return "{_constants(source, name)}"; }}'
        )
    unit = "\n".join([*macros, build.emulator.translate(text), '#line 1 "register"', *register]) + "\n"

    prefix = build.prefix(tuple(include) if is_cupy else ())
    with tempfile.TemporaryDirectory() as folder:
        code, out = Path(folder, "kernel.cpp"), Path(folder, "kernel.so")
        code.write_text(unit)
        result = subprocess.run(
            [
                "g++",
                *build.FLAGS,
                *build.DEFINES,
                f"-I{prefix}",
                "-include",
                "prefix.h",
                *include,
                "-shared",
                str(code),
                "-o",
                str(out),
            ],
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise SyntaxError(result.stderr[:8000])
        data = out.read_bytes()
    waits = any(w in data for w in _WAITS) or "extern __shared__" in source
    mode = FIBERS if waits else ONE_THREAD if one_thread else PLAIN
    seconds["kernels"] += 1
    seconds["compiling"] += time.perf_counter() - start
    return struct.pack("<8sQII", b"CPUCUDA", len(data), mode, 0) + data, lowered


def install(library: ctypes.CDLL) -> None:
    """Let the library's NVRTC call `compile`."""
    done = library.cpucuda_compiled
    done.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_char_p,
    ]
    version = f"// cpucuda {_version()}\n".encode()

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p)
    def callback(program: int, source: bytes, options: bytes, names: bytes) -> int:
        try:
            if not source.strip():  # CuPy asks for the compiler's version this way
                done(program, b"", 0, version, b"", b"")
                return 0
            image, lowered = compile(
                source.decode(), options.decode().splitlines(), names.decode().splitlines()
            )
            done(program, image, len(image), version, b"", "".join(f"{n}\n" for n in lowered).encode())
            return 0
        except Exception as error:
            if folder := os.environ.get("CPUCUDA_KEEP_FAILED"):
                Path(folder, f"{hashlib.sha256(source).hexdigest()[:8]}.cu").write_bytes(
                    source + b"\n/*" + str(error).encode() + b"*/"
                )
            done(program, b"", 0, version, str(error).encode(), b"")
            return 6

    install.keep = callback
    library.cpucuda_set_compiler(callback)
