"""Fused, multi-threaded CPU kernels for large NumPy arrays (extra `cpu`: Numba).

The Array API bodies are the reference. NumPy runs each of their operations in one thread and one pass over
memory; these kernels do the whole op in one or two passes, in all threads. Small arrays stay with the bodies.
"""

from xpnet.cpu import activations, batch_norm, convolution, cross_entropy, dropout, optimizers, pooling

__all__ = ["activations", "batch_norm", "convolution", "cross_entropy", "dropout", "optimizers", "pooling"]
