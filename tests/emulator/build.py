"""Compiles the runtime and kernels with g++; every result is cached under a hash of what it depends on."""

from __future__ import annotations

import functools
import getpass
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
SANITIZER = os.environ.get("XP_SANITIZER", "")
_SANITIZE = {
    "": [],
    "asan": ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-sanitize=vptr"],
    "tsan": ["-fsanitize=thread"],
}


def cuda_include() -> Path | None:
    """The folder of NVIDIA's headers: that of the wheels, else of a CUDA toolkit. None: there is none."""
    spec = importlib.util.find_spec("nvidia")
    candidates = [
        p / "include"
        for base in (spec.submodule_search_locations or [] if spec else [])
        for p in sorted(Path(base).glob("cu*"), reverse=True)
    ]
    candidates += [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"]
    return next((p for p in candidates if (p / "cuda_fp16.h").exists() and (p / "crt").is_dir()), None)


def missing() -> str | None:
    """What keeps the emulator from working here; None if nothing does."""
    if shutil.which("g++") is None:
        return "the emulator needs g++"
    if cuda_include() is None:
        return 'the emulator needs NVIDIA\'s CUDA headers: pip install "xpnet[kernels]"'
    return None


@functools.cache
def flags() -> list[str]:
    cpuinfo = Path("/proc/cpuinfo")
    fma = ["-mfma"] if cpuinfo.exists() and " fma " in cpuinfo.read_text() else []
    # -g1: line tables, which the sanitizers' reports need
    return ["-std=c++17", "-fPIC", "-g1", "-w", "-O1", "-ffp-contract=fast", *fma, *_SANITIZE[SANITIZER]]


def gxx(*args: object) -> None:
    result = subprocess.run(["g++", *map(str, args)], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"g++ failed:\n{result.stderr[:6000]}")


def cache() -> Path:
    """The folder of everything compiled, kept between runs; XP_EMULATOR_CACHE names another."""
    default = Path(tempfile.gettempdir()) / f"xpnet-emulator-{getpass.getuser()}"
    return Path(os.environ.get("XP_EMULATOR_CACHE", default))


def cached(name: str, parts: list[str], make: Callable[[Path], None]) -> Path:
    """The cached file or folder made by `make(path)`; safe when several processes need it at once."""
    stem, dot, suffix = name.partition(".")
    key = hashlib.sha256("\0".join([*flags(), *parts]).encode()).hexdigest()[:20]
    path = cache() / f"{stem}-{key}{dot}{suffix}"
    if not path.exists():
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            made = Path(folder, "made")
            make(made)
            try:
                os.replace(made, path)
            except OSError:  # another process was first with the same folder
                if not path.exists():
                    raise
    return path


@functools.cache
def _headers(instrument: tuple[str, ...] = ()) -> Path:
    """A folder with the emulator's header, precompiled: parsing NVIDIA's is the slow part."""

    def make(folder: Path) -> None:
        folder.mkdir()
        shutil.copy(HERE / "xpemu.h", folder)
        gxx(
            *flags(),
            *instrument,
            f"-I{cuda_include()}",
            "-x",
            "c++-header",
            folder / "xpemu.h",
            "-o",
            folder / "xpemu.h.gch",
        )

    return cached("headers", [(HERE / "xpemu.h").read_text(), str(cuda_include()), *instrument], make)


@functools.cache
def runtime() -> Path:
    """The runtime as a shared library; one for all kernels, which share its fibers. Not instrumented."""
    source = HERE / "runtime.cpp"
    return cached(
        "runtime.so",
        [source.read_text(), (HERE / "switch.h").read_text()],
        lambda out: gxx("-std=c++17", "-fPIC", "-O2", "-g1", "-shared", source, "-o", out),
    )


# `__shared__` variables become calls that give this block's copy; comments are blanked first
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_ALIGN = r"(?:__align__\s*\(\s*(\d+)\s*\)\s*)?"
_DYNAMIC = re.compile(rf"extern\s+__shared__\s+{_ALIGN}([\w:<> ]+?)\s+(\w+)\s*\[\s*\]\s*;")
_STATIC = re.compile(
    rf"(?<!extern )__shared__\s+{_ALIGN}([\w:]+(?:<[^;]*?>)?)\s+(\w+)((?:\s*\[[^\];]*\])*)\s*;"
)


def _static(match: re.Match[str]) -> str:
    align, kind, name, dimensions = match.groups()
    place = f"xpemu_static_shared(&{name}_key, sizeof({name}_type), {align or f'alignof({name}_type)'})"
    declare = f"typedef {kind} {name}_type{dimensions}; static char {name}_key;"
    return f"{declare} {name}_type& {name} = *({name}_type*){place};"


def translate(source: str) -> str:
    """CUDA C++ to what g++ compiles after xpemu.h, line for line."""
    source = _COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), source)
    source = _DYNAMIC.sub(r"\2* \3 = (\2*)xpemu::dynamic_shared();", source)
    source = _STATIC.sub(_static, source)
    if "__shared__" in source:
        raise SyntaxError(
            "a __shared__ declaration that the emulator cannot rewrite: one variable per statement"
        )
    return source


def kernels(
    code: str, names: tuple[str, ...], defines: tuple[str, ...], arch: int, instrument: tuple[str, ...] = ()
) -> Path:
    """A shared library with the kernels `names` of `code`; `instrument`: more options."""
    macros = [f"#define {d.removeprefix('-D').replace('=', ' ', 1)}" for d in defines if d.startswith("-D")]
    register = [f"XPEMU_REGISTER({i}, {name})" for i, name in enumerate(names)]
    unit = "\n".join(
        [f"#define __CUDA_ARCH__ {arch * 10}", *macros, translate(code), '#line 1 "register"', *register]
    )

    def make(out: Path) -> None:
        source = out.with_suffix(".cpp")
        source.write_text(unit + "\n")
        include = [f"-I{_headers(instrument)}", f"-I{cuda_include()}", "-include", "xpemu.h"]
        if not instrument:
            return gxx(*flags(), *include, "-shared", source, "-o", out)
        compiled = out.with_suffix(".o")  # linked without the runtime that the option stands for
        gxx(*flags(), *instrument, *include, "-c", source, "-o", compiled)
        gxx("-shared", compiled, "-o", out)

    return cached("kernel.so", [unit, _headers(instrument).name, *instrument], make)
