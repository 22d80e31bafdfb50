"""A network that goes down to small pictures of many channels and up again."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet.core.checks import size
from xpnet.core.structure import concat
from xpnet.nn.activation import ReLU
from xpnet.nn.container import Sequential
from xpnet.nn.convolution import Conv2d, MaxPool2d
from xpnet.nn.module import Layer
from xpnet.nn.normalization import BatchNorm2d
from xpnet.nn.spatial import ConvTranspose2d


class DoubleConv(Layer):
    """Two 3x3 convolutions, each with batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, dtype: str) -> None:
        conv = lambda channels: Conv2d(channels, outputs, 3, padding=1, bias=False, dtype=dtype)
        self.double_conv = Sequential(
            *(conv(inputs), BatchNorm2d(outputs, dtype=dtype), ReLU()),
            *(conv(outputs), BatchNorm2d(outputs, dtype=dtype), ReLU()),
        )

    def forward(self, x: Any) -> Any:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        return self.double_conv(x)


class Down(Layer):
    """Half the height and width, twice the channels."""

    def __init__(self, inputs: int, outputs: int, dtype: str) -> None:
        self.maxpool_conv = Sequential(MaxPool2d(2), DoubleConv(inputs, outputs, dtype))

    def forward(self, x: Any) -> Any:
        """(N, inputs, H, W) -> (N, outputs, H // 2, W // 2)."""
        return self.maxpool_conv(x)


class Up(Layer):
    """Twice the height and width, half the channels, beside what was there on the way down."""

    def __init__(self, inputs: int, outputs: int, dtype: str) -> None:
        self.up = ConvTranspose2d(inputs, inputs // 2, 2, 2, dtype=dtype)
        self.conv = DoubleConv(inputs, outputs, dtype)

    def forward(self, x: Any, beside: Any) -> Any:
        """(N, inputs, h, w) and (N, inputs / 2, H, W) -> (N, outputs, H, W)."""
        x = self.up(x)
        rows, columns = (beside.shape[i] - x.shape[i] for i in (2, 3))  # 1 where the size was odd
        if rows or columns:
            x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return self.conv(concat(beside, x, axis=1))


class UNet(Layer):
    """A score for each class at each pixel (Ronneberger et al., 2015), of pictures of any size.

    Args:
        channels: of the pictures.
        num_classes: scores a pixel.
        width: channels at full size; each level down has twice those of the one above.
        depth: levels down.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1; when it is called, a picture that is too small.

    Convolutions are padded and have batch norm, so that the scores have the picture's size; names are those
    of the usual implementation (milesial's Pytorch-UNet), whose weights load.

    >>> import numpy as np
    >>> from xpnet import nn
    >>> nn.UNet(1, 2, width=4, depth=2)(np.zeros((1, 1, 21, 16), np.float32)).shape
    (1, 2, 21, 16)
    """

    def __init__(
        self,
        channels: int = 3,
        num_classes: int = 2,
        width: int = 64,
        depth: int = 4,
        *,
        dtype: str = "float32",
    ) -> None:
        whole = lambda name, value: size("UNet", name, value)
        self.channels, self.num_classes = whole("channels", channels), whole("num_classes", num_classes)
        self.width, self.depth = whole("width", width), whole("depth", depth)
        widths = [self.width << level for level in range(self.depth + 1)]
        self.inc = DoubleConv(self.channels, widths[0], dtype)
        for level in range(self.depth):
            setattr(self, f"down{level + 1}", Down(widths[level], widths[level + 1], dtype))
        for number in range(self.depth):
            inputs, outputs = widths[-1 - number], widths[-2 - number]
            setattr(self, f"up{number + 1}", Up(inputs, outputs, dtype))
        self.outc = OutConv(widths[0], self.num_classes, dtype)

    def forward(self, x: Any) -> Any:
        """(N, channels, H, W) -> (N, num_classes, H, W)."""
        if x.ndim != 4 or min(x.shape[2:]) < 1 << self.depth:
            raise ValueError(
                f"UNet: expected (N, {self.channels}, H, W) of {1 << self.depth} pixels or more, got "
                f"{tuple(x.shape)}"
            )
        levels = [self.inc(x)]
        for level in range(self.depth):
            levels.append(getattr(self, f"down{level + 1}")(levels[-1]))
        y = levels.pop()
        for number in range(self.depth):
            y = getattr(self, f"up{number + 1}")(y, levels.pop())
        return self.outc(y)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.channels}, {self.num_classes}, width={self.width}, depth={self.depth}"


class OutConv(Layer):
    """The scores of each pixel."""

    def __init__(self, inputs: int, outputs: int, dtype: str) -> None:
        self.conv = Conv2d(inputs, outputs, 1, dtype=dtype)

    def forward(self, x: Any) -> Any:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        return self.conv(x)
