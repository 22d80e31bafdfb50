"""One encoded picture as an array of 8 bits a value."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet.core.reading import printable, reading

SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"
)  # fmt: skip
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # Pillow knows others, some of them programs
_OF_FRAMES = ("GIF", "TIFF", "WEBP", "PNG")
_MOST_OF_16 = 14  # bits of 16 that cameras and scanners leave dark
_ANY, _RATIO = 2**24, 1032  # bytes that any picture may have, and how many come of one at most (deflate)
_WHITE = 224  # ink as bright as this does not show on white


@dataclass
class Doubts:
    """What in pictures that were decoded may be meant otherwise than it was taken.

    Attributes:
        moving: names of files with several pictures, of which the first was taken: animations, pages.
        deep: names of files of 16 bits a value.
        brightest: the largest value in those.
        cut: names and sizes of pictures that are not as large as was asked for.
    """

    moving: list[str] = field(default_factory=list)
    deep: list[str] = field(default_factory=list)
    brightest: int = 0
    cut: list[str] = field(default_factory=list)

    def of_size(self, side: int | None, pictures: int) -> list[str]:
        """A line about those, of so many, of which a model sees only the centre, scaled to its size."""
        if not self.cut:
            return []
        some = (
            self.cut[0] if pictures == 1 else f"{len(self.cut)} of {pictures} pictures, such as {self.cut[0]}"
        )
        return [f"{some}: not of the model's {side} by {side} pixels; the centre is scaled to that"]

    def notes(self) -> list[str]:
        """A line for each doubt."""
        found = []
        if self.moving:
            found.append(f"of {len(self.moving)} files the first picture is taken, such as {self.moving[0]}")
        bits = self.brightest.bit_length()
        if self.deep and bits <= _MOST_OF_16:
            found.append(
                f"{len(self.deep)} files of 16 bits a value, such as {self.deep[0]}, have none above "
                f"{self.brightest}, and white is 65535: were they of {max(bits, 8)} bits, save them with "
                f"values times {2 ** (16 - max(bits, 8))}"
            )
        return found


def decode_one(content: bytes, size: int | None, mode: str, name: str) -> np.ndarray:
    """As `decode`, with a warning of what is doubtful."""
    doubts = Doubts()
    array = decode(content, size, mode, name, doubts)
    for note in (*doubts.notes(), *doubts.of_size(size, 1)):
        warnings.warn(note, stacklevel=3)
    return array


def decode(
    content: bytes, size: int | None, mode: str, name: str, doubts: Doubts | None = None
) -> np.ndarray:
    """One encoded picture as (channels, height, width) uint8.

    Args:
        content: the file.
        size: side of a square that is cut from its centre; None: all of it.
        mode: "RGB" or "L".
        name: what messages call it.
        doubts: takes what is doubtful.

    Raises:
        ValueError: the picture is truncated, damaged or no picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    with reading(name, "a picture"):
        try:
            opened = Image.open(io.BytesIO(content), formats=_FORMATS)
        except UnidentifiedImageError:  # whose words are about the stream
            raise ValueError("no header of a picture" if content else "it is empty") from None
        with opened as file:
            _check_size(file, len(content))
            upright: Any = ImageOps.exif_transpose(file)  # cameras store the rotation apart
            doubts = Doubts() if doubts is None else doubts
            if _has_frames(content, file.format):
                doubts.moving.append(printable(name))
            picture = _opaque(_eight_bits(upright, file.format, name, doubts)).convert(mode)
            if size is not None and picture.size != (size, size):
                doubts.cut.append(f"{printable(name)} ({picture.size[0]} by {picture.size[1]})")
        array = np.asarray(picture if size is None else _centre(picture, size))
        return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def shorter_side(content: bytes) -> int | None:
    """Pixels of the shorter side of an encoded picture, by its header; None if that cannot be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as file:
            return min(file.size)
    except (OSError, ValueError):  # whoever decodes it says what is wrong
        return None


def _has_frames(content: bytes, format: str | None) -> bool:
    """Whether a file holds several pictures; counting them moves the stream, so it is opened once more."""
    from PIL import Image

    if format not in _OF_FRAMES:
        return False
    try:
        with Image.open(io.BytesIO(content), formats=[format]) as file:
            return getattr(file, "n_frames", 1) > 1
    except (OSError, ValueError, SyntaxError, EOFError):  # whoever decodes it says what is wrong
        return False


def _check_size(picture: Any, size: int) -> None:
    """Refuse what its file of `size` bytes cannot hold, before memory is taken for the pixels."""
    width, height = picture.size
    pixel = {"1": 1 / 8, "L": 1, "P": 1, "LA": 2}.get(picture.mode, 3)
    if width * height * pixel > _ANY + _RATIO * size:
        raise ValueError(f"it says that it has {width} by {height} pixels, in a file of {size} bytes")


def _centre(picture: Any, size: int) -> Any:
    """The shorter side scaled to `size`, and the centre cut out: nothing outside of it is computed."""
    from PIL import Image

    scale = size / min(picture.size)
    scaled = [max(size, round(n * scale)) for n in picture.size]
    starts = [(n - size) // 2 for n in scaled]
    places = list(zip(starts, scaled, picture.size, strict=True))
    left, top = (start * n / wide for start, wide, n in places)
    right, bottom = ((start + size) * n / wide for start, wide, n in places)
    return picture.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))


def _eight_bits(picture: Any, format: str | None, name: str, doubts: Doubts) -> Any:
    """A picture with 8 bits a value: `convert` would cut off what is above 255.

    Raises:
        ValueError: 32-bit or float values, of which nobody knows what is white.
    """
    from PIL import Image

    sixteen = picture.mode.startswith("I;16") or (picture.mode == "I" and format in ("PNG", "PPM"))
    if sixteen:
        values = np.asarray(picture).astype(np.int64)
        doubts.deep.append(printable(name))
        doubts.brightest = max(doubts.brightest, int(values.max()))
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if picture.mode == "F":  # white is 1, unless the values are whole numbers up to 255
        shares = np.asarray(picture)
        if np.isfinite(shares).all() and shares.min() >= 0:
            if shares.max() <= 1:
                return Image.fromarray(np.rint(shares * 255).astype(np.uint8))
            if shares.max() <= 255 and (shares == np.rint(shares)).all():
                return Image.fromarray(shares.astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(
            f"{name}: values of {'32 bits' if picture.mode == 'I' else 'floats'}, whose white is not known; "
            "save it with 8 or 16 bits, or floats from 0 to 1"
        )
    return picture


def _opaque(picture: Any) -> Any:
    """A picture on white, if it is transparent somewhere; on black, if what is drawn would not show there.

    `convert` only drops the transparency: ink on nothing, which is stored as black, would be black on black.
    """
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    drawn = picture.convert("RGBA")
    alpha = np.asarray(drawn.getchannel("A"), dtype=np.float64)
    if alpha.min() == 255:
        return drawn.convert("RGB")
    light = np.asarray(drawn.convert("RGB").convert("L"), dtype=np.float64)
    bright = alpha.sum() > 0 and float((light * alpha).sum() / alpha.sum()) >= _WHITE
    ground = Image.new("RGBA", drawn.size, (0, 0, 0, 255) if bright else (255, 255, 255, 255))
    return Image.alpha_composite(ground, drawn).convert("RGB")
