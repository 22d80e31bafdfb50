"""A program in which every array of a kernel lies beside a page that must not be touched."""

import ctypes
import mmap
import sys

import numpy as np

import xpnet
from xpnet import functional as F
from xpnet import optim
from xpnet.core import registry
from xpnet.cpu import launch

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PAGE = mmap.PAGESIZE


class Guarded:
    """Bytes of an array that begin or end where a page without any rights does."""

    def __init__(self, array: np.ndarray, at_end: bool) -> None:
        size = -(-array.nbytes // PAGE) * PAGE
        self.map = mmap.mmap(-1, size + 2 * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        for page in (start, start + PAGE + size):
            assert libc.mprotect(page, PAGE, 0) == 0
        offset = PAGE + (size - array.nbytes if at_end else 0)
        self.array = np.frombuffer(self.map, np.uint8, array.nbytes, offset)
        self.array[:] = array.reshape(-1).view(np.uint8)

    def open(self) -> None:
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        assert libc.mprotect(start, len(self.map), mmap.PROT_READ | mmap.PROT_WRITE) == 0


class Proxy:
    """The extension module, with copies of its arguments."""

    native, at_end, ran = launch.Native, True, set()

    @classmethod
    def matmul(cls, a: np.ndarray, b: np.ndarray, out: np.ndarray, bias: object, relu: bool) -> bool:
        if a.ndim == 3 and a.dtype == np.float32 and a.flags.c_contiguous and b.flags.c_contiguous:
            (count, m, k), n = a.shape, b.shape[2]
            apart = 0, m * k, 0, k * n
            cls.run(cls.native.kernels["batched_gemm"], a, k, 1, b, n, 1, out, m, n, k, 1, count, *apart)
            return True
        if a.ndim != 2 or a.dtype != np.float32 or not a.flags.c_contiguous or not b.flags.f_contiguous:
            return cls.native.matmul(a, b, out, bias, relu)
        (m, k), n = a.shape, b.shape[1]
        cls.run(cls.native.kernels["gemm"], a, k, 1, b.T, 1, k, out, n, m, n, k, bias, relu)
        return True

    @classmethod
    def run(cls, index: int, *arguments: object) -> None:
        copies = {
            id(a): (a, Guarded(a, cls.at_end)) for a in arguments if isinstance(a, np.ndarray) and a.size
        }
        cls.native.run(index, *(copies[id(a)][1].array if id(a) in copies else a for a in arguments))
        for array, guarded in copies.values():
            if array.flags.writeable:
                array.reshape(-1).view(np.uint8)[:] = guarded.array
            guarded.open()
        cls.ran.add(list(cls.native.kernels)[index])


def every_kernel(n: int, c: int) -> None:
    """All kernels, forwards and backwards, for arrays with odd edges."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: xpnet.tensor(rng.standard_normal(shape).astype("float32"), requires_grad=True)
    labels, side = rng.integers(0, c, n), 2 * (n % 7 + 1)
    calls = [
        F.relu(draw(n, c)),
        F.gelu(draw(n, c)),
        draw(n, c) + draw(c),
        F.scaled_dot_product_attention(draw(2, n, 4), draw(2, c, 4), draw(2, c, 3), rng.random((n, c)) < 0.8),
        F.scaled_dot_product_attention(draw(2, n, 4), draw(2, n, 4), draw(2, n, 3), is_causal=True),
        F.softmax(draw(n, c)),
        F.embedding(labels, draw(c, n), padding_idx=0),
        F.cross_entropy(draw(n, c), labels, reduction="none"),
        F.batch_norm(draw(n, c), None, None, draw(c), draw(c), training=True),
        F.batch_norm(draw(2, c, n), None, None, draw(c), draw(c), training=True),
        F.batch_norm_relu(draw(n, c), None, None, draw(c), draw(c), training=True, residual=draw(n, c)),
        F.batch_norm_relu(draw(2, c, n), None, None, draw(c), draw(c), training=True, residual=draw(2, c, n)),
        F.batch_norm_relu(draw(2, c, n), training=True),
        F.layer_norm(draw(n, c), c, draw(c), draw(c)),
        F.rms_norm(draw(n, c), c, draw(c)),
        F.group_norm(draw(2, 6, n), 3, draw(6), draw(6)),
        F.linear(draw(n, c), draw(n + 1, c), draw(n + 1)),
        F.linear_activation(draw(n, c), draw(n + 1, c), draw(n + 1)),
        F.bias_activation(draw(n, c), draw(c)),
        draw(2, n, c) @ draw(2, c, n),
        F.max_pool2d(draw(2, 3, side, 2 * c), 2),
        F.max_pool2d(draw(2, 3, side + 1, 2 * c + 1), 2),
        F.max_pool2d(draw(2, 3, side, c), (2, 1), 2, (1, 0), ceil_mode=True),
        F.max_pool2d(draw(2, 3, n, c + 4), (1, 3), 1, (0, 1), (1, 2)),
        F.dropout(draw(n, c), 0.3),
        F.conv2d(draw(3, 5, n, c + 2), draw(n, 5, 1, 3), draw(n)),
        F.conv2d(draw(3, 8, n + 1, c), draw(10, 4, 2, 1), padding=(1, 2), stride=(1, 2), groups=2),
        F.conv2d(draw(3, c, n, 5), draw(n, c, 1, 1), draw(n)),
    ]
    for y in calls:
        y.backward(np.ones(y.shape, "float32"))
    rules = {"SGD": {"momentum": 0.9}, "Adagrad": {}, "Adadelta": {}, "Adam": {"amsgrad": True}}
    rules["RMSprop"] = {"momentum": 0.9, "centered": True}
    for name, options in rules.items():
        for dtype in ("float32", "float64"):
            theta = xpnet.tensor(np.ones(n * c, dtype), requires_grad=True)
            optimizer = getattr(optim, name)([theta], lr=0.1, **options)
            theta.grad = np.ones(n * c, dtype)
            optimizer.step()
    F.dropout(xpnet.tensor(np.ones(n * c)), 0.3)


if __name__ == "__main__":
    registry.load_kernels("numpy")
    for op in registry.ops_with_kernels():
        if "numpy" in op.kernels:
            op.kernels["numpy"] = op.kernels["numpy"]._replace(min_size=0)
    launch.Native = Proxy
    for Proxy.at_end in (True, False):
        for n, c in ((1 + 1, 1), (3, 10), (24, 50), (48, 33), (65, 16), (17, 130)):
            every_kernel(n, c)
    print(Proxy.native.instructions, *sorted(set(Proxy.native.kernels) - Proxy.ran))
    sys.stdout.flush()
