"""Networks that give back what they are given, through a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet.core import random
from xpnet.core.arrays import cast
from xpnet.core.checks import size
from xpnet.core.elementwise import exp
from xpnet.core.op import no_grad
from xpnet.core.operators import add, flatten, multiply, reshape
from xpnet.core.places import backend_of
from xpnet.core.recording import depends_on
from xpnet.core.tensor import array_of
from xpnet.nn.container import Sequential
from xpnet.nn.linear import Linear
from xpnet.nn.module import Layer, Module
from xpnet.nn.perceptron import ACTIVATIONS, mlp


class _Code(Layer):
    """What both have: samples are flattened on the way in, and have their shape again on the way out."""

    decoder: Sequential

    def _set(self, inputs: int, hidden: Sequence[int], latent: int, activation: str) -> None:
        name = type(self).__name__
        self.inputs, self.latent = size(name, "inputs", inputs), size(name, "latent", latent)
        self.hidden = tuple(size(name, "hidden", n) for n in hidden)
        self.activation = activation

    def _decoder(self, dtype: str) -> Sequential:
        return mlp(self.latent, self.hidden[::-1], self.inputs, self.activation, dtype=dtype)

    def decode(self, z: Any) -> Any:
        """(N, latent) -> (N, inputs)."""
        return self.decoder(z)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.inputs}, {self.hidden}, {self.latent}, {self.activation!r}"


class Autoencoder(_Code):
    """Perceptrons that make few numbers of a sample, and the sample of these (Hinton & Salakhutdinov, 2006).

    Args:
        inputs: numbers of a sample.
        hidden: units of each hidden layer of the encoder; the decoder's are the other way round.
        latent: numbers in the middle.
        activation: a key of `xpnet.nn.models.ACTIVATIONS`.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, or another activation.

    >>> import numpy as np
    >>> from xpnet import nn
    >>> model = nn.Autoencoder(64, (16,), 2)
    >>> x = np.zeros((3, 1, 8, 8), np.float32)
    >>> model.encode(x).shape, model(x).shape
    ((3, 2), (3, 1, 8, 8))
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int] = (128,),
        latent: int = 16,
        activation: str = "relu",
        *,
        dtype: str = "float32",
    ) -> None:
        self._set(inputs, hidden, latent, activation)
        self.encoder = mlp(self.inputs, self.hidden, self.latent, activation, dtype=dtype)
        self.decoder = self._decoder(dtype)

    def encode(self, x: Any) -> Any:
        """(N, ...) -> (N, latent)."""
        return self.encoder(flatten(x))

    def forward(self, x: Any) -> Any:
        """(N, ...), the same shape."""
        return reshape(self.decode(self.encode(x)), x.shape)


class VAE(_Code):
    """An autoencoder whose code is a draw from N(mean, exp(log variance)) (Kingma & Welling, 2014).

    Args:
        inputs: numbers of a sample.
        hidden: units of each hidden layer of the encoder, one or more; the decoder's are the other way round.
        latent: numbers in the middle.
        activation: a key of `xpnet.nn.models.ACTIVATIONS`.
        dtype: default float32.

    Raises:
        TypeError: a size is not a whole number.
        ValueError: a size is below 1, no hidden layer, or another activation.

    It gives what it makes of the samples (of binary ones, the scores), and means and log variances of the
    codes, for `functional.elbo_loss`. In evaluation mode the code is the mean.

    >>> import numpy as np
    >>> from xpnet import nn
    >>> model = nn.VAE(64, (16,), 2)
    >>> [part.shape for part in model(np.zeros((3, 1, 8, 8), np.float32))]
    [(3, 1, 8, 8), (3, 2), (3, 2)]
    >>> model.sample(5).shape
    (5, 64)
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int] = (128,),
        latent: int = 16,
        activation: str = "relu",
        *,
        dtype: str = "float32",
    ) -> None:
        self._set(inputs, hidden, latent, activation)
        if not self.hidden:
            raise ValueError("VAE: expected one hidden layer or more, got none")
        layers: list[Module] = [
            *mlp(self.inputs, self.hidden[:-1], self.hidden[-1], activation, dtype=dtype),
            ACTIVATIONS[activation][0](),
        ]
        self.encoder = Sequential(*layers)
        self.mean = Linear(self.hidden[-1], self.latent, dtype=dtype)
        self.log_variance = Linear(self.hidden[-1], self.latent, dtype=dtype)
        self.decoder = self._decoder(dtype)

    def encode(self, x: Any) -> tuple[Any, Any]:
        """(N, ...) -> means and log variances, (N, latent) each."""
        h = self.encoder(flatten(x))
        return self.mean(h), self.log_variance(h)

    def forward(self, x: Any) -> Any:
        """(N, ...) -> the same shape, and (N, latent) twice."""
        mean, log_variance = self.encode(x)
        depends_on(self, "training")
        z = mean
        if self.training:
            z = add(mean, multiply(exp(multiply(log_variance, 0.5)), _noise(array_of(mean))))
        return reshape(self.decode(z), x.shape), mean, log_variance

    def sample(self, n: int) -> Any:
        """Samples made of n codes from N(0, 1), (n, inputs), without gradients."""
        like = self.decoder[0].weight.data
        with no_grad():
            return array_of(self.decode(_noise(like, (size("VAE.sample", "n", n), self.latent))))


def _noise(like: Any, shape: tuple[int, ...] | None = None) -> Any:
    """N(0, 1) from the stream of noise, where `like` is."""
    key = random.generators[random.NOISE].next_key()
    drawn = random.noise(like.shape if shape is None else shape, key, backend_of(like))
    return cast(drawn, like.dtype)
