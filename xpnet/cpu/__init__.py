"""Fused, multi-threaded CPU kernels for NumPy arrays.

The Array API bodies are the reference. NumPy runs each of their operations in one thread and one pass over
memory; these kernels do the whole op in one or two passes, in all threads. Small arrays stay with the bodies.
"""

from xpnet.cpu.launch import Native

if Native is not None:
    from xpnet.cpu import (  # noqa: F401  they register themselves
        activations,
        attention,
        batch_norm,
        convolution,
        cross_entropy,
        dropout,
        embedding,
        optimizers,
        pooling,
        products,
        row_norm,
        sums,
    )

__all__ = ["Native"]
