"""Ways to damage a file: blindly, and in terms of its format, lengths and checksums made right again."""

from __future__ import annotations

import bz2
import copy
import gzip
import io
import json
import lzma
import pickletools
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]

NUMBERS = (
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
HOSTILE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    2**200,
    12_000,
    1e308,
    -1e-308,
    0.5,
    "",
    "x",
    "0",
    "\x1b[2J\r\n",
    "é" * 50,
    [],
    {},
    [[]],
    [0],
    [-1],
    {"x": 1},
    {"kind": "Linear"},
    {"__array__": 0},
    {"__array__": "0"},
    [1] * 40,
)


def blind(content: bytes, rng: random.Random) -> bytes:
    """One to four changes of bytes that know nothing."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place = rng.randrange(len(data) + 1)
        if rng.random() < 0.3:  # headers are short, and matter most
            place = min(place, rng.randrange(200))
        kind = rng.randrange(8)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and place < len(data):
            data[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            del data[place : place + rng.choice((1, 2, 4, 16, 200))]
        elif kind == 4:
            data[place:place] = rng.randbytes(rng.choice((1, 2, 4, 16, 200)))
        elif kind == 5:
            start = rng.randrange(len(data) + 1)
            data[place:place] = data[start : start + rng.choice((1, 8, 64, 512))]
        elif kind == 6:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) % 2 ** (8 * width)
            data[place : place + width] = number.to_bytes(width, rng.choice(("little", "big")))
        else:
            data[place:place] = bytes((rng.choice((0, 0xFF, 0x5B, 0x28)),)) * rng.choice((1, 30, 3000))
    return bytes(data)


def changed(value: Any, rng: random.Random) -> Any:
    """Nested JSON with one node removed, doubled, swapped or replaced."""
    tree = copy.deepcopy(value)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            places.append((node, key))
            walk(node[key])

    walk(tree)
    if not places or rng.random() < 0.02:
        return rng.choice(HOSTILE)
    for _ in range(rng.choice((1, 1, 1, 2))):
        node, key = rng.choice(places)
        kind = rng.randrange(6)
        if (isinstance(node, dict) and key not in node) or (isinstance(node, list) and key >= len(node)):
            continue
        if kind == 0:
            del node[key]
        elif kind == 1:
            other, name = rng.choice(places)
            if (name in other) if isinstance(other, dict) else name < len(other):
                node[key] = copy.deepcopy(other[name])
        elif kind == 2 and isinstance(node[key], int | float):
            node[key] = rng.choice((-node[key], node[key] + 1, node[key] * 1000, str(node[key]), [node[key]]))
        elif kind == 3 and rng.random() < 0.2:
            deep: Any = 0
            for _ in range(rng.choice((20, 400))):  # json itself encodes no deeper
                deep = [deep]
            node[key] = deep
        else:
            node[key] = copy.deepcopy(rng.choice(HOSTILE))
    return tree


def text(content: bytes, rng: random.Random) -> bytes:
    """Fields of a table, and JSON, exchanged for others."""
    lines = content.split(b"\n")
    tokens = (
        b"",
        b"nan",
        b"inf",
        b"1e999",
        b"-1",
        b"99999999999999999999",
        b'"',
        b"'",
        b",",
        b";",
        b"\t",
        b"\0",
        b"\xff",
        b"\xe2\x80\xae",
        b"1_0",
        b"0x1",
        b"9" * 200000,
        b'"a\nb"',
        b"#",
        b"1" * 5000,
        b"null",
        b"\xef\xbb\xbf",
    )
    for _ in range(rng.choice((1, 2, 3))):
        i = rng.randrange(len(lines))
        fields = lines[i].split(b",")
        fields[rng.randrange(len(fields))] = rng.choice(tokens)
        lines[i] = b",".join(fields)
        if rng.random() < 0.1:
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    return b"\n".join(lines)


def json_lines(content: bytes, rng: random.Random) -> bytes:
    """A line of JSON changed as a tree."""
    lines = content.splitlines()
    i = rng.randrange(len(lines))
    lines[i] = json.dumps(changed(json.loads(lines[i]), rng)).encode()
    return b"\n".join(lines) + b"\n"


def inside(unpack: Callable[[bytes], bytes], pack: Callable[[bytes], bytes], inner: Mutation) -> Mutation:
    """What is packed is changed, and packed again."""
    return lambda content, rng: pack(inner(unpack(content), rng))


in_gzip = lambda inner: inside(gzip.decompress, lambda c: gzip.compress(c, 1), inner)
in_bzip2 = lambda inner: inside(bz2.decompress, bz2.compress, inner)
in_xz = lambda inner: inside(lzma.decompress, lambda c: lzma.compress(c, preset=0), inner)


def in_zip(inner: Mutation) -> Mutation:
    """One member of a zip file."""

    def change(content: bytes, rng: random.Random) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        chosen, file = rng.choice(list(members)), io.BytesIO()
        members[chosen] = inner(members[chosen], rng)
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, part in members.items():
                archive.writestr(name, part)
        return file.getvalue()

    return change


def in_tar(inner: Mutation) -> Mutation:
    """One member of a tar file, its header right again."""

    def change(content: bytes, rng: random.Random) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=file, mode="w") as new:
            found = [m for m in old if m.isfile()]
            chosen = rng.choice(found)
            for member in found:
                part = old.extractfile(member).read()  # type: ignore[union-attr]
                if member is chosen:
                    part = inner(part, rng)
                    member.name = rng.choice(
                        (member.name,) * 4
                        + ("../../x.png", "/etc/x.png", "a/" * 300 + "x.png", "\x1b[31m/x.png")
                    )
                member.size = len(part)
                new.addfile(member, io.BytesIO(part))
        return file.getvalue()

    return change


def npy(content: bytes, rng: random.Random) -> bytes:
    """The header of an array of NumPy."""
    length = int.from_bytes(content[8:10], "little")
    header, body = content[10 : 10 + length].decode("latin1"), content[10 + length :]
    shape = rng.choice(
        (
            "()",
            "(0,)",
            "(-1,)",
            "(99999999999,)",
            "(2**3,)",
            "(1,)*3",
            "(None,)",
            "(1e3,)",
            "(3, 64, 1)",
            "(340282366920938463463374607431768211456,)",
            "(" * 99,
            "[3, 64]",
            "(True, 64)",
            "(3, 64, 0, 9)",
        )
    )
    kind = rng.choice(
        ("<f4", "|O", "<U99999", "<f2", ">c16", "|V0", "|S0", "<M8[s]", "|b1", "<i8", "x", "", "<f16")
    )
    parts = rng.randrange(4)
    if parts == 0:
        start, end = header.index("'shape':") + 8, header.rindex(")")
        header = header[:start] + shape + header[end + 1 :]
    elif parts == 1:
        start = header.index("'descr':") + 8
        header = header[:start] + repr(kind) + header[header.index(",", start) :]
    elif parts == 2:
        header = blind(header.encode("latin1"), rng).decode("latin1")
    else:
        header = header.replace("False", rng.choice(("True", "1", "None", "[]")))
    encoded = header.encode("latin1")
    version = rng.choice((1, 1, 2, 3, 9))
    width = 2 if version == 1 else 4
    claimed = len(encoded) if rng.random() < 0.9 else rng.choice(NUMBERS)
    return (
        content[:6] + bytes((version, 0)) + (claimed % 256**width).to_bytes(width, "little") + encoded + body
    )


def idx(content: bytes, rng: random.Random) -> bytes:
    """The type, the number of axes, or one of their sizes."""
    data = bytearray(content)
    kind = rng.randrange(3)
    if kind == 2 and len(data) >= 8:
        data[4:8] = struct.pack(">I", rng.choice(NUMBERS) % 2**32)
    else:
        data[2 + kind] = rng.choice((0, 1, 2, 3, 4, 8, 9, 11, 13, 14, 64, 65, 255))
    return bytes(data)


def png(content: bytes, rng: random.Random) -> bytes:
    """A chunk of a PNG, with its checksum made right."""
    chunks, place = [], 8
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        chunks.append([content[place + 4 : place + 8], content[place + 8 : place + 8 + length]])
        place += 12 + length
    chunk = rng.choice(chunks)
    if chunk[0] == b"IHDR" and rng.random() < 0.7:
        size = struct.pack(">II", *(rng.choice((0, 1, 7, 3000, 200_000, 2**31 - 1)) for _ in "wh"))
        chunk[1] = size + chunk[1][8:]
    elif rng.random() < 0.3:
        chunks.insert(
            rng.randrange(len(chunks)),
            [
                rng.choice((b"tEXt", b"zTXt", b"iCCP", b"eXIf", b"PLTE", b"acTL", b"tRNS")),
                rng.randbytes(rng.randrange(80)),
            ],
        )
    else:
        chunk[1] = blind(chunk[1], rng)
    pack = lambda name, part: (
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
    )
    return content[:8] + b"".join(pack(*c) for c in chunks)


def pickled(content: bytes, rng: random.Random) -> bytes:
    """An instruction of a pickle removed, doubled, moved, or exchanged for another."""
    places = [*(position for _, _, position in pickletools.genops(content)), len(content)]
    parts = [content[a:b] for a, b in pairwise(places)]
    foreign = (
        b"0",
        b"2",
        b"1",
        b"(",
        b"t",
        b"R",
        b"b",
        b"o",
        b"a",
        b"s",
        b"u",
        b"e",
        b"\x81",
        b"\x94",
        b"r\xff\xff\xff\x7f",
        b"j\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\x7f",
        b"cos\nsystem\n",
        b"N",
        b"I99999999999999999999\n",
        b"K\x05",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"}",
        b"]",
        b")",
        b"L" + b"9" * 5000 + b"L\n",
        b"Pid\n",
        b"\x97",
    )
    for _ in range(rng.choice((1, 1, 2, 3))):
        i, kind = rng.randrange(len(parts)), rng.randrange(4)
        if kind == 0:
            parts[i] = rng.choice(foreign)
        elif kind == 1:
            parts.insert(i, rng.choice(foreign))
        elif kind == 2:
            parts.insert(i, parts[i] * rng.choice((1, 2, 50)))
        elif len(parts) > 1:
            del parts[i]
    return b"".join(parts)
