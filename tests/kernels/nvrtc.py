"""Compiles kernels to device code without a GPU or a driver, and reads what they use out of the result."""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from typing import Any

from tests.emulator.build import cuda_include
from xpnet.cuda import loader


@dataclass
class Usage:
    """What a kernel uses: registers and bytes of local memory a thread, bytes of static shared memory.

    And how often its code reads and writes 16 bytes of global memory at once.
    """

    registers: int = 0
    frame: int = 0
    shared: int = 0
    loads: int = 0
    stores: int = 0


def missing() -> str | None:
    """What keeps NVRTC from working here; None if nothing does."""
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError, FileNotFoundError) as error:
        return f'NVRTC is not here ({error}): pip install "xpnet[kernels]"'
    return None if cuda_include() else 'NVIDIA\'s headers are not here: pip install "xpnet[kernels]"'


def _check(result: tuple[Any, ...]) -> Any:
    if int(result[0]):
        raise RuntimeError(str(result[0]))
    return result[1] if len(result) == 2 else result[1:]


@functools.cache
def compile(file: str, names: tuple[str, ...], arch: int) -> dict[str, Usage]:
    """Compile the kernels `names` of a source for sm_<arch>.

    Raises:
        RuntimeError: with the compiler's messages.
    """
    from cuda.bindings import nvrtc

    include = cuda_include()
    program = _check(nvrtc.nvrtcCreateProgram(loader.source(file).encode(), file.encode(), 0, [], []))
    for name in names:
        _check(nvrtc.nvrtcAddNameExpression(program, name.encode()))
    options = [  # CuPy's own, besides the loader's
        f"-arch=sm_{arch}",
        "-ftz=true",
        "--device-as-default-execution-space",
        f"-I{include}",
        f"-I{include}/cccl",
        *loader.OPTIONS,
    ]
    result = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    if int(result[0]):
        text = b" " * _check(nvrtc.nvrtcGetProgramLogSize(program))
        nvrtc.nvrtcGetProgramLog(program, text)
        raise RuntimeError(f"{file} for sm_{arch}:\n{text.decode()[:4000]}")
    lowered = {name: _check(nvrtc.nvrtcGetLoweredName(program, name.encode())).decode() for name in names}
    cubin = b" " * _check(nvrtc.nvrtcGetCUBINSize(program))
    nvrtc.nvrtcGetCUBIN(program, cubin)
    nvrtc.nvrtcDestroyProgram(program)
    used = usage(cubin)
    return {name: used[lowered[name]] for name in names}


def usage(cubin: bytes) -> dict[str, Usage]:
    """Read a 64-bit ELF of device code: sections .text.*, .nv.shared.* and .nv.info."""
    (table,) = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names_at = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", cubin, table + i * size) for i in range(count)]

    def data(section: tuple[int, ...]) -> bytes:
        return cubin[section[4] : section[4] + section[5]]

    def text(strings: bytes, at: int) -> str:
        return strings[at : strings.index(b"\0", at)].decode()

    by_name = {text(data(sections[names_at]), s[0]): s for s in sections}
    found = {n[6:]: Usage(registers=s[7] >> 24) for n, s in by_name.items() if n.startswith(".text.")}
    for name, section in by_name.items():
        if name.startswith(".text."):
            found[name[6:]].loads, found[name[6:]].stores = wide_accesses(data(section))
        if name.startswith(".nv.shared.") and name[11:] in found:
            found[name[11:]].shared = section[5]
    table_of_symbols = by_name[".symtab"]
    strings, symbols = data(sections[table_of_symbols[6]]), data(table_of_symbols)
    symbol = [text(strings, struct.unpack_from("<I", symbols, i)[0]) for i in range(0, len(symbols), 24)]
    info, at = data(by_name[".nv.info"]), 0
    while at + 4 <= len(info):  # {format, attribute, size, value}
        form, attribute, length = struct.unpack_from("<BBH", info, at)
        at += 4
        if form != 4:  # the value is in place of the size
            continue
        if attribute in (0x11, 0x2F) and length == 8:  # EIATTR_FRAME_SIZE, EIATTR_REGCOUNT
            index, value = struct.unpack_from("<II", info, at)
            if symbol[index] in found:
                setattr(found[symbol[index]], "frame" if attribute == 0x11 else "registers", value)
        at += length
    return found


def wide_accesses(code: bytes) -> tuple[int, int]:
    """How many LDG.128 and STG.128 there are in device code of sm_70 and later.

    An instruction has 16 bytes: the operation in bits 0 to 11, the width of an access in bits 73 to 75.
    """
    loads = stores = 0
    for low, high in struct.iter_unpack("<QQ", code):
        if high >> 9 & 7 == 6:
            loads += low & 0xFFF in (0x381, 0x981)
            stores += low & 0xFFF in (0x386, 0x986)
    return loads, stores
