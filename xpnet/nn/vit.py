"""A transformer of the patches of a picture."""

from __future__ import annotations

from typing import Any

from xpnet import init
from xpnet.core.checks import probability, size
from xpnet.core.operators import add, getitem, reshape, transpose
from xpnet.core.structure import broadcast_to, concat
from xpnet.nn.activation import GELU
from xpnet.nn.attention import MultiheadAttention
from xpnet.nn.container import Sequential
from xpnet.nn.convolution import Conv2d
from xpnet.nn.dropout import Dropout
from xpnet.nn.linear import Linear
from xpnet.nn.module import Layer
from xpnet.nn.normalization import LayerNorm
from xpnet.nn.parameter import Parameter


def _tiny(shape: tuple[int, ...], dtype: Any = "float32") -> Any:
    return init.normal(shape, 1e-6, dtype=dtype)


def glorot(inputs: int, outputs: int, dtype: str) -> Linear:
    """Weights of both fans, biases of nearly 0."""
    return Linear(inputs, outputs, weight_init=init.glorot_uniform, bias_init=_tiny, dtype=dtype)


def patches(name: str, image_size: int, patch_size: int) -> int:
    """How many there are in a square picture.

    Raises:
        ValueError: they do not fill it.
    """
    if image_size % patch_size:
        raise ValueError(f"{name}: patches of {patch_size} pixels do not fill pictures of {image_size}")
    return (image_size // patch_size) ** 2


def patch_projection(channels: int, width: int, patch_size: int, dtype: str) -> Conv2d:
    """An affine map of each patch."""
    size = patch_size
    inits: Any = {"weight_init": init.lecun_normal, "bias_init": init.zeros, "dtype": dtype}
    return Conv2d(channels, width, size, size, **inits)


def check_pictures(model: Any, x: Any) -> None:
    """Refuse other pictures than those of a model of patches.

    Raises:
        ValueError: x is of another shape than (N, channels, image_size, image_size).
    """
    expected = model.channels, model.image_size, model.image_size
    if x.ndim != 4 or tuple(x.shape[1:]) != expected:
        words = ", ".join(map(str, expected))
        raise ValueError(f"{type(model).__name__}: expected pictures (N, {words}), got {tuple(x.shape)}")


def in_patches(projected: Any) -> Any:
    """(N, C, rows, columns) -> (N, places, C)."""
    n, c, rows, columns = projected.shape
    return transpose(reshape(projected, (n, c, rows * columns)), (0, 2, 1))


class EncoderBlock(Layer):
    """Attention and a perceptron, each with a norm before it and a way around it."""

    def __init__(
        self, heads: int, width: int, mlp_dim: int, dropout: float, attention_dropout: float, dtype: str
    ) -> None:
        self.ln_1 = LayerNorm(width, 1e-6, dtype=dtype)
        self.self_attention = MultiheadAttention(
            width, heads, attention_dropout, batch_first=True, dtype=dtype
        )
        self.dropout = Dropout(dropout)
        self.ln_2 = LayerNorm(width, 1e-6, dtype=dtype)
        self.mlp = Sequential(
            *(glorot(width, mlp_dim, dtype), GELU(), Dropout(dropout)),
            *(glorot(mlp_dim, width, dtype), Dropout(dropout)),
        )

    def forward(self, x: Any) -> Any:
        """(N, L, D), the same shape."""
        y = self.ln_1(x)
        x = add(x, self.dropout(self.self_attention(y, y, y, need_weights=False)[0]))
        return add(x, self.mlp(self.ln_2(x)))


class Encoder(Layer):
    """Places, blocks and a last norm."""

    def __init__(self, places: int, width: int, dropout: float, blocks: list[Any], dtype: str) -> None:
        self.pos_embedding = Parameter(init.normal((1, places, width), 0.02, dtype=dtype))
        self.dropout = Dropout(dropout)
        self.layers: Any = Sequential({f"encoder_layer_{i}": block for i, block in enumerate(blocks)})
        self.ln = LayerNorm(width, 1e-6, dtype=dtype)

    def forward(self, x: Any) -> Any:
        """(N, L, D), the same shape."""
        return self.ln(self.layers(self.dropout(add(x, self.pos_embedding))))


class ViT(Layer):
    """A transformer of a picture's patches and a token for its class (Dosovitskiy et al., 2021).

    Args:
        image_size: height and width of the pictures.
        patch_size: likewise of the patches, which fill them.
        num_layers: of the transformer.
        num_heads: of the attention.
        hidden_dim: features of a patch.
        mlp_dim: features between a layer's two affine maps.
        dropout: the probability of dropping.
        attention_dropout: likewise, of a weight of the attention.
        num_classes: scores to give.
        channels: of the pictures.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, the patches do not fill the pictures, or the heads do not divide
            hidden_dim; when it is called, pictures of another size.

    Parameters have torchvision's names. The first scores are 0: the last layer begins so.

    >>> import numpy as np
    >>> from xpnet import nn
    >>> nn.ViT(8, 4, 1, 2, 8, 16, num_classes=3)(np.zeros((2, 3, 8, 8), np.float32)).shape
    (2, 3)
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        num_layers: int = 12,
        num_heads: int = 3,
        hidden_dim: int = 192,
        mlp_dim: int = 768,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
        channels: int = 3,
        *,
        dtype: str = "float32",
    ) -> None:
        whole = lambda name, value: size("ViT", name, value)
        self.image_size, self.patch_size = whole("image_size", image_size), whole("patch_size", patch_size)
        self.num_layers, self.num_heads = whole("num_layers", num_layers), whole("num_heads", num_heads)
        self.hidden_dim = d = whole("hidden_dim", hidden_dim)
        self.mlp_dim = whole("mlp_dim", mlp_dim)
        self.dropout = probability("ViT", "dropout", dropout)
        self.attention_dropout = probability("ViT", "attention_dropout", attention_dropout)
        self.num_classes, self.channels = whole("num_classes", num_classes), whole("channels", channels)
        self.places = patches("ViT", self.image_size, self.patch_size)
        self.class_token = Parameter(init.zeros((1, 1, d), dtype))
        self.conv_proj = patch_projection(self.channels, d, self.patch_size, dtype)
        options = (self.num_heads, d, self.mlp_dim, self.dropout, self.attention_dropout, dtype)
        blocks = [EncoderBlock(*options) for _ in range(self.num_layers)]
        self.encoder = Encoder(self.places + 1, d, self.dropout, blocks, dtype)
        head = Linear(d, self.num_classes, weight_init=init.zeros, bias_init=init.zeros, dtype=dtype)
        self.heads = Sequential({"head": head})

    def forward(self, x: Any) -> Any:
        """(N, channels, image_size, image_size) -> (N, num_classes)."""
        check_pictures(self, x)
        y = in_patches(self.conv_proj(x))
        y = concat(broadcast_to(self.class_token, (y.shape[0], 1, self.hidden_dim)), y, axis=1)
        return self.heads(getitem(self.encoder(y), (slice(None), 0)))

    def extra_repr(self) -> str:
        """The sizes."""
        sizes = (self.image_size, self.patch_size, self.num_layers, self.num_heads, self.hidden_dim)
        return f"{', '.join(map(str, sizes))}, num_classes={self.num_classes}"


def vit_tiny(image_size: int = 224, patch_size: int = 16, num_classes: int = 1000, channels: int = 3) -> ViT:
    """ViT-Ti (Touvron et al., 2021): 12 layers of 192 features, 5.7 million parameters.

    Args:
        image_size: height and width of the pictures.
        patch_size: likewise of the patches, which fill them.
        num_classes: scores to give.
        channels: of the pictures.

    Returns:
        A model of (N, channels, image_size, image_size) -> (N, num_classes).

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, or the patches do not fill the pictures.

    >>> from xpnet import nn
    >>> nn.vit_tiny(32, 4, 10)
    ViT(32, 4, 12, 3, 192, num_classes=10
    ...
    """
    return ViT(image_size, patch_size, num_classes=num_classes, channels=channels)
