"""A network of the patches of a picture that has no attention."""

from __future__ import annotations

from typing import Any

from xpnet import functional as F
from xpnet import init
from xpnet.core.checks import size
from xpnet.core.operators import add, mean, transpose
from xpnet.nn.container import ModuleList
from xpnet.nn.linear import Linear
from xpnet.nn.module import Layer
from xpnet.nn.normalization import LayerNorm
from xpnet.nn.vit import check_pictures, glorot, in_patches, patch_projection, patches


class Mlp(Layer):
    """Two affine maps of the last axis, and a GELU between them."""

    def __init__(self, features: int, hidden: int, dtype: str) -> None:
        self.fc1, self.fc2 = glorot(features, hidden, dtype), glorot(hidden, features, dtype)

    def forward(self, x: Any) -> Any:
        """(..., features), the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class MixerBlock(Layer):
    """A perceptron across places, then one across features, each with a norm and a way around it."""

    def __init__(self, places: int, width: int, tokens: int, channels: int, dtype: str) -> None:
        self.norm1 = LayerNorm(width, 1e-6, dtype=dtype)
        self.mlp_tokens = Mlp(places, tokens, dtype)
        self.norm2 = LayerNorm(width, 1e-6, dtype=dtype)
        self.mlp_channels = Mlp(width, channels, dtype)

    def forward(self, x: Any) -> Any:
        """(N, places, width), the same shape."""
        across = self.mlp_tokens(transpose(self.norm1(x), (0, 2, 1)))
        x = add(x, transpose(across, (0, 2, 1)))
        return add(x, self.mlp_channels(self.norm2(x)))


class Stem(Layer):
    """An affine map of each patch."""

    def __init__(self, channels: int, width: int, patch_size: int, dtype: str) -> None:
        self.proj = patch_projection(channels, width, patch_size, dtype)

    def forward(self, x: Any) -> Any:
        """(N, channels, H, W) -> (N, width, rows, columns)."""
        return self.proj(x)


class MLPMixer(Layer):
    """Perceptrons across the patches of a picture and across their features (Tolstikhin et al., 2021).

    Args:
        image_size: height and width of the pictures.
        patch_size: likewise of the patches, which fill them.
        depth: blocks.
        width: features of a patch.
        tokens_dim: features between the affine maps across places; default half the width.
        channels_dim: likewise across features; default 4 times the width.
        num_classes: scores to give.
        channels: of the pictures.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, or the patches do not fill the pictures; when it is called, pictures
            of another size.

    The defaults are Mixer-S/16; parameters have timm's names.

    >>> import numpy as np
    >>> from xpnet import nn
    >>> nn.MLPMixer(8, 4, depth=1, width=8, num_classes=3)(np.zeros((2, 3, 8, 8), np.float32)).shape
    (2, 3)
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        depth: int = 8,
        width: int = 512,
        tokens_dim: int | None = None,
        channels_dim: int | None = None,
        num_classes: int = 1000,
        channels: int = 3,
        *,
        dtype: str = "float32",
    ) -> None:
        whole = lambda name, value: size("MLPMixer", name, value)
        self.image_size, self.patch_size = whole("image_size", image_size), whole("patch_size", patch_size)
        self.depth, self.width = whole("depth", depth), whole("width", width)
        self.tokens_dim = whole("tokens_dim", width // 2 if tokens_dim is None else tokens_dim)
        self.channels_dim = whole("channels_dim", 4 * width if channels_dim is None else channels_dim)
        self.num_classes, self.channels = whole("num_classes", num_classes), whole("channels", channels)
        self.places = patches("MLPMixer", self.image_size, self.patch_size)
        self.stem = Stem(self.channels, self.width, self.patch_size, dtype)
        options = (self.places, self.width, self.tokens_dim, self.channels_dim, dtype)
        self.blocks: Any = ModuleList([MixerBlock(*options) for _ in range(self.depth)])
        self.norm = LayerNorm(self.width, 1e-6, dtype=dtype)
        inits: Any = {"weight_init": init.zeros, "bias_init": init.zeros, "dtype": dtype}
        self.head = Linear(self.width, self.num_classes, **inits)

    def forward(self, x: Any) -> Any:
        """(N, channels, image_size, image_size) -> (N, num_classes)."""
        check_pictures(self, x)
        y = in_patches(self.stem(x))
        for block in self.blocks:
            y = block(y)
        return self.head(mean(self.norm(y), axis=1))

    def extra_repr(self) -> str:
        """The sizes."""
        sizes = (self.image_size, self.patch_size, self.depth, self.width)
        return f"{', '.join(map(str, sizes))}, num_classes={self.num_classes}"
