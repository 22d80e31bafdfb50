"""From the bytes of a file to text."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import warnings
from contextlib import suppress
from os import PathLike

from xpnet.core.reading import SMALL, printable, read_file

_CONTROLS = bytes((*range(9), *range(14, 32)))
_MARKS_OF_ENCODING = (  # the longer ones first: UTF-32 begins as UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


_UNPACK = "unpack it, or pack it by gzip"
_OTHERS = (
    (b"BZh91AY&SY", f"packed by bzip2: {_UNPACK}"),
    (b"\xfd7zXZ\0", f"packed by xz: {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"packed by Zstandard: {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7z archive: {_UNPACK}"),
    (b"Rar!\x1a\x07", f"a rar archive: {_UNPACK}"),
    (b"PAR1", "a Parquet file, which `read_frame` and the commands read if its name ends in .parquet"),
    (b"ARROW1\0", "a Feather file, which `read_frame` and the commands read if its name ends in .feather"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file: write the table as CSV"),
    (b"SQLite format 3\0", "a database of SQLite: write the table as CSV"),
)
"""How other kinds of files begin, and what to do with them."""


def decoded(path: str | PathLike[str], encoding: str | None = None, table: bool = True) -> str:
    """The text of a file, unpacked if it is gzipped.

    Args:
        path: the file.
        encoding: what it is written in; default: as its byte order mark says, else UTF-8.
        table: whether it is to be a table, in which there is no control character.

    Raises:
        ValueError: it is no text, or of another encoding.
    """
    content = read_file(path)
    if content.startswith(b"\x1f\x8b"):
        content = unpacked(content)
    kind = "text table" if table else "text"
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")):  # .xlsx, .xls
        what = "a workbook or a zip file" if table else "an Office document or a zip file"
        raise ValueError(f"{path}: {what}, not a {kind}: save it as {'CSV' if table else 'plain text'}")
    other = next((what for start, what in _OTHERS if content.startswith(start)), None)
    if other is not None:
        raise ValueError(f"{path}: not a {kind}, but {other}")
    known = next((name for mark, name in _MARKS_OF_ENCODING if content.startswith(mark)), None)
    if encoding is not None:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(f"{path}: no encoding is called {encoding!r}; such are utf-8, cp1252") from None
    try:
        text = content.decode(known or encoding or "utf-8")
    except UnicodeDecodeError as error:
        if not known and not encoding and not _is_binary(content):
            line = content.count(b"\n", 0, error.start) + 1
            raise ValueError(
                f"{path}, line {line}: not a {kind} in UTF-8: it has the byte "
                f"{content[error.start]:02x}; say what it is written in, such as --encoding cp1252"
            ) from error
        raise
    text = text.lstrip("\ufeff")
    if encoding is not None and not known and not content.isascii():
        with suppress(UnicodeDecodeError):
            content.decode()
            if codecs.lookup(encoding).name != "utf-8":
                warnings.warn(
                    f"{printable(path)}: it is written in UTF-8, but read as {encoding}", stacklevel=4
                )
    if table and re.match(r"\s*(<(!doctype|html|\?xml)|\[?\s*\{\s*\")", text, re.IGNORECASE):
        raise ValueError(f"{path}: JSON, HTML or XML, not a text table: save it as CSV")
    if not table:
        if "\0" in text:
            raise ValueError("it has bytes that no text has")
    elif _is_binary(text.encode(errors="surrogatepass") if known or encoding else content):
        raise ValueError("it has bytes that no text has")
    return text


def _is_binary(content: bytes) -> bool:
    """Whether there are control characters but for tabs and line ends."""
    return len(content.translate(None, _CONTROLS)) < len(content)


_TIMES = 100  # that text gets smaller by gzip, at most


def unpacked(content: bytes) -> bytes:
    """What a gzip file holds.

    Raises:
        ValueError: that is more than text can be packed into.
    """
    limit = _TIMES * len(content) + SMALL
    with gzip.open(io.BytesIO(content)) as stream:
        found = stream.read(limit + 1)
    if len(found) > limit:
        raise ValueError(f"it unpacks to more than {limit} bytes")
    return found
