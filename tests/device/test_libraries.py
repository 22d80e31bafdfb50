"""cuSOLVER and cuFFT on the CPU: CuPy's functions equal NumPy's, and misuse is refused with a reason."""

import ctypes

import numpy as np
import pytest

from .planted import UNORDERED, cpucuda, cupy, scale

cusolver = pytest.importorskip("cupy_backends.cuda.libs.cusolver")
cublas = pytest.importorskip("cupy_backends.cuda.libs.cublas")
cufft = pytest.importorskip("cupy.cuda.cufft")
cupyx = pytest.importorskip("cupyx")
lapack = pytest.importorskip("cupyx.lapack")
decompositions = pytest.importorskip("cupyx.cusolver")

pytestmark = pytest.mark.host
every_dtype = pytest.mark.parametrize("dtype", "fdFD")
every_batch = pytest.mark.parametrize("batch", [(), (2,), (2, 3)], ids=str)
INVALID, FAILED = "CUSOLVER_STATUS_INVALID_VALUE", "CUSOLVER_STATUS_EXECUTION_FAILED"


def random(dtype, *shape) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype in "FD" else x).astype(dtype)


def adjoint(x):
    return x.swapaxes(-1, -2).conj()


def hermitian(x):
    return x + adjoint(x)


def definite(x):
    return x @ adjoint(x) + np.eye(x.shape[-1], dtype=x.dtype)


def equal(found, expected, dtype) -> None:
    found, expected = cupy.asnumpy(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    tolerance = 1e-3 if dtype in "fF" else 1e-10
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def product(xp, *factors):
    """Of factors that are determined up to signs or phases only."""
    u, s, v = factors
    return (u[..., : s.shape[-1]] * s[..., None, :]) @ v[..., : s.shape[-1], :]


def svd(full):
    return lambda xp, x: product(xp, *xp.linalg.svd(x, full_matrices=full))


def eigh(part):
    def f(xp, x):
        w, v = xp.linalg.eigh(x, UPLO=part)
        return product(xp, v, w, adjoint(v))

    return f


def qr(mode):
    return lambda xp, x: xp.matmul(*xp.linalg.qr(x, mode))


def orthonormal(f):
    return lambda xp, x: adjoint(f(xp, x)) @ f(xp, x)


SQUARE, TALL, WIDE = (4, 4), (5, 3), (3, 5)
# function of the module and a matrix, shape of the matrix
LINALG = {
    "inv": (lambda xp, x: xp.linalg.inv(x), SQUARE),
    "det": (lambda xp, x: xp.linalg.det(x), SQUARE),
    "slogdet sign": (lambda xp, x: xp.linalg.slogdet(x)[0], SQUARE),
    "slogdet": (lambda xp, x: xp.linalg.slogdet(x)[1], SQUARE),
    "solve": (lambda xp, x: xp.linalg.solve(x, x[..., :2] * 2 + 1), SQUARE),
    "cholesky": (lambda xp, x: xp.linalg.cholesky(definite_of(xp, x)), SQUARE),
    "eigvalsh L": (lambda xp, x: xp.linalg.eigvalsh(x, UPLO="L"), SQUARE),
    "eigvalsh U": (lambda xp, x: xp.linalg.eigvalsh(x, UPLO="U"), SQUARE),
    "eigh L": (eigh("L"), SQUARE),
    "eigh U": (eigh("U"), SQUARE),
    "eigenvectors": (orthonormal(lambda xp, x: xp.linalg.eigh(x)[1]), SQUARE),
    "left singular vectors": (orthonormal(lambda xp, x: xp.linalg.svd(x)[0]), TALL),
    "Q": (orthonormal(lambda xp, x: xp.linalg.qr(x, "complete")[0]), TALL),
    **{
        f"{name} {shape}": (f, shape)
        for shape in (TALL, WIDE)
        for name, f in {
            "svdvals": lambda xp, x: xp.linalg.svd(x, compute_uv=False),
            "svd full": svd(True),
            "svd": svd(False),
            "qr complete": qr("complete"),
            "qr reduced": qr("reduced"),
            "pinv": lambda xp, x: xp.linalg.pinv(x),
            "no columns": lambda xp, x: xp.linalg.svd(x[..., :0], compute_uv=False),
        }.items()
    },
}


def definite_of(xp, x):
    return x @ adjoint(x) + xp.eye(x.shape[-1], dtype=x.dtype)


@every_dtype
@every_batch
@pytest.mark.parametrize("name", LINALG)
def test_linear_algebra_equals_numpy(name, batch, dtype) -> None:
    f, shape = LINALG[name]
    x = random(dtype, *batch, *shape)
    if "eigh" in name or "eigv" in name:  # else NumPy's and LAPACK's reading of the diagonal could differ
        i = np.arange(shape[0])
        x[..., i, i] = x[..., i, i].real
    equal(f(cupy, cupy.asarray(x)), f(np, x), dtype)


@every_dtype
def test_systems_of_lapack(dtype) -> None:
    a, b = random(dtype, 4, 4), random(dtype, 4, 2)
    A, B = cupy.asarray(a), cupy.asarray(b)
    X = B.copy(order="F")
    lapack.gesv(A.copy(order="F"), X)
    equal(X, np.linalg.solve(a, b), dtype)
    for batch in ((), (3,)):
        p, q = definite(random(dtype, *batch, 4, 4)), random(dtype, *batch, 4, 2)
        equal(lapack.posv(cupy.asarray(p), cupy.asarray(q)), np.linalg.solve(p, q), dtype)
    for shape in (TALL, WIDE):
        x = random(dtype, *shape)
        y = random(dtype, shape[0], 2)
        equal(lapack.gels(cupy.asarray(x), cupy.asarray(y)), np.linalg.pinv(x) @ y, dtype)
    x, y = random(dtype, *TALL), random(dtype, 5)
    equal(cupy.linalg.lstsq(cupy.asarray(x), cupy.asarray(y))[0], np.linalg.lstsq(x, y)[0], dtype)


@every_dtype
def test_decompositions_of_cusolver(dtype) -> None:
    for batch in ((), (3,)):
        x = random(dtype, *batch, *TALL)
        X = cupy.asarray(x)
        for full in (True, False):
            u, s, v = decompositions.gesvdj(X, full_matrices=full)
            equal(product(cupy, u, s, adjoint(v)), x, dtype)
        u, s, v = decompositions.gesvda(X)
        equal(product(cupy, u, s, adjoint(v)), x, dtype)
        h = hermitian(random(dtype, *batch, 4, 4))
        w, v = decompositions.syevj(cupy.asarray(h))
        equal(product(cupy, v, w, adjoint(v)), h, dtype)
    a = random(dtype, 4, 4)
    w, v = cupy.linalg.eig(cupy.asarray(a))
    equal(cupy.asarray(a).astype(v.dtype) @ v, (v * w).get(), dtype)


FFT = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fft2", "ifft2", "rfft2", "irfft2")
FFT += ("fftn", "ifftn", "rfftn", "irfftn")


@every_dtype
@pytest.mark.parametrize("name", FFT)
def test_fourier_transforms_equal_numpy(name, dtype) -> None:
    if dtype in "FD" and name in ("rfft", "ihfft", "rfft2", "rfftn"):
        pytest.skip("of real arrays")
    single = not name.endswith(("2", "n"))
    for shape in ((8,), (3, 8), (4, 3, 5), (2, 3, 4, 5)):
        if name.endswith("2") and len(shape) < 2:
            continue
        x = random(dtype, *shape)
        for options in (
            {},
            {"norm": "ortho"},
            {"n": 6}
            if single
            else {"s": (4, 6)[-min(2, len(shape)) :], "axes": (0, -1)[-min(2, len(shape)) :]},
            *([{"axis": 0}] if single else [{"axes": (-1, 0)}] if len(shape) > 1 else []),
        ):
            for order in "CF":
                found = getattr(cupy.fft, name)(cupy.asarray(x, order=order), **options)
                equal(found, getattr(np.fft, name)(x, **options), dtype)


def test_what_becomes_real_may_be_overwritten_and_is() -> None:
    x = cupy.asarray(random("D", 5))
    out = cupy.empty(8, "d")
    expected = np.fft.irfft(x.get(), 8) * 8
    cufft.Plan1d(8, cufft.CUFFT_Z2D, 1).fft(x, out, cufft.CUFFT_INVERSE)
    equal(out, expected, "D")
    assert cupy.isnan(x).all()
    kept = cupy.asarray(random("D", 5))
    cupy.fft.irfft(kept)
    np.testing.assert_array_equal(kept.get(), random("D", 5))


# ---- counts, streams, captures ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "counts"),
    [
        (cupy.linalg.cholesky, (1, 0, 0)),
        (lambda x: cupy.linalg.svd(x), (1, 0, 0)),
        (lambda x: cupy.linalg.solve(x, x[0]), (2, 0, 0)),  # getrf, getrs
        (lambda x: cupy.linalg.cholesky(cupy.stack([x] * 5)), (1, 0, 0)),
        (lambda x: cupy.linalg.inv(cupy.stack([x] * 5)), (0, 0, 2)),
        (lambda x: cupy.fft.fft(x), (0, 1, 0)),
    ],
)
def test_calls_are_counted(f, counts) -> None:
    x = cupy.asarray(definite(random("d", 4, 4)))
    f(x)
    with cpucuda.count() as n:
        f(x)
    assert (n.factorizations, n.transforms, n.products) == counts, n
    assert (n.synchronisations, n.device_to_host) == (0, 0), n


def test_a_transform_can_be_captured() -> None:
    x, out = cupy.asarray(random("D", 8)), cupy.zeros(8, "D")
    plan = cufft.Plan1d(8, cufft.CUFFT_Z2Z, 1)
    with (stream := cupy.cuda.Stream(non_blocking=True)):
        cupy.cuda.Device().synchronize()
        stream.begin_capture()
        plan.fft(x, out, cufft.CUFFT_FORWARD)
        graph = stream.end_capture()
        assert not out.get().any()
        graph.launch()
        equal(out, np.fft.fft(random("D", 8)), "D")


def test_a_factorization_cannot_be_captured(capfd) -> None:
    a, info = cupy.eye(4), cupy.zeros(1, "i")
    with (stream := cupy.cuda.Stream(non_blocking=True)):
        handle = cupy.cuda.device.get_cusolver_handle()
        cusolver.setStream(handle, stream.ptr)
        cupy.cuda.Device().synchronize()
        stream.begin_capture()
        with pytest.raises(NotImplementedError, match="during stream capture"):
            cupy.linalg.cholesky(a)
        h, x, i = (ctypes.c_void_p(p) for p in (handle, a.data.ptr, info.data.ptr))
        assert cpucuda.library.cusolverDnDpotrs(h, 0, 4, 4, x, 4, x, 4, i) == 6  # CuPy left out
        assert "cuSOLVER's potrs is not permitted" in capfd.readouterr().err
        with pytest.raises(RuntimeError, match="Invalidated"):
            stream.end_capture()


def test_the_work_of_two_streams_must_be_ordered() -> None:
    x, out = cupy.asarray(random("F", 8)), cupy.zeros(8, "F")
    plan = cufft.Plan1d(8, cufft.CUFFT_C2C, 1)
    cupy.cuda.Device().synchronize()
    one, two = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
    with one:
        plan.fft(x, out, cufft.CUFFT_FORWARD)
    with two, pytest.raises(RuntimeError, match=UNORDERED):
        scale(out.view("f"), out.view("f"))
    two.wait_event(one.record())
    with two:
        scale(out.view("f"), out.view("f"))


# ---- refusals ---------------------------------------------------------------------------------------------


def cholesky(a=None, n=4, lda=4, info=None, given=None, address=None) -> None:
    """cuSOLVER's potrf as CuPy calls it, with what a test wants to be wrong."""
    a = cupy.eye(4) if a is None else a
    info = cupy.zeros(1, "i") if info is None else info
    handle = cupy.cuda.device.get_cusolver_handle()
    size = cusolver.dpotrf_bufferSize(handle, cublas.CUBLAS_FILL_MODE_LOWER, 4, a.data.ptr, 4)
    work = cupy.empty(size)
    address = a.data.ptr if address is None else address
    given = size if given is None else given
    cusolver.dpotrf(
        handle, cublas.CUBLAS_FILL_MODE_LOWER, n, address, lda, work.data.ptr, given, info.data.ptr
    )


@pytest.mark.parametrize(
    ("wrong", "status", "reason"),
    [
        ({"n": -1}, INVALID, "negative size"),
        ({"lda": 3}, INVALID, "a leading dimension of 3 for a matrix 4 x 4"),
        ({"given": 5}, INVALID, "a workspace of 5 elements"),
        ({"address": 0}, INVALID, "a null pointer"),
        ({"address": 0x1000}, FAILED, "in no live allocation"),
        ({"n": 100, "lda": 100, "given": 1000}, FAILED, "reach past the end"),
    ],
    ids=str,
)
def test_arguments_of_cusolver_are_checked(wrong, status, reason, capfd) -> None:
    with cupy.cuda.using_allocator(None), pytest.raises(cusolver.CUSOLVERError, match=status):
        cholesky(**wrong)
    assert reason in capfd.readouterr().err
    cholesky()


def test_a_handle_belongs_to_a_device(capfd) -> None:
    a, info = cupy.eye(4), cupy.zeros(1, "i")
    handle = cupy.cuda.device.get_cusolver_handle()
    with cupy.cuda.Device(1), pytest.raises(cusolver.CUSOLVERError, match=FAILED):
        cusolver.dpotrs(handle, 0, 4, 4, a.data.ptr, 4, a.data.ptr, 4, info.data.ptr)
    assert "a handle of device 0 while device 1 is current" in capfd.readouterr().err


def test_the_table_of_a_batch_lies_on_the_device(capfd) -> None:
    handle, table, info = cupy.cuda.device.get_cusolver_handle(), np.zeros(3, np.uint64), cupy.zeros(3, "i")
    with pytest.raises(cusolver.CUSOLVERError, match=INVALID):
        cusolver.dpotrfBatched(handle, 0, 4, table.ctypes.data, 4, info.data.ptr, 3)
    assert "the table of addresses" in capfd.readouterr().err


def test_failures_are_told_by_info() -> None:
    info = cupy.zeros(1, "i")
    a = cupy.diag(cupy.asarray([1.0, 1.0, -1.0, 1.0]))
    cholesky(a, info=info)
    assert info.item() == 3
    with cupyx.errstate(linalg="raise"):
        for f, x in ((cupy.linalg.cholesky, a), (cupy.linalg.inv, cupy.zeros((3, 3)))):
            for y in (x, cupy.stack([x, x])):
                with pytest.raises(np.linalg.LinAlgError):
                    f(y)


def test_fft_plans_are_checked(capfd) -> None:
    plan = cufft.Plan1d(8, cufft.CUFFT_C2C, 1)
    x, real = cupy.asarray(random("F", 8)), cupy.asarray(random("f", 17))
    cases = [
        (lambda: cufft.execC2C(plan.handle, x.data.ptr, x.data.ptr, 3), "INVALID_VALUE", "direction 3"),
        (lambda: cufft.execZ2Z(plan.handle, x.data.ptr, x.data.ptr, 1), "INVALID_PLAN", "for another type"),
        (lambda: cufft.execC2C(10**6, x.data.ptr, x.data.ptr, 1), "INVALID_PLAN", "no such plan"),
        (lambda: cufft.execC2C(plan.handle, 0x1000, x.data.ptr, 1), "EXEC_FAILED", "in no live allocation"),
        (lambda: cufft.execC2C(plan.handle, x.data.ptr, 8 * 1000 + 4, 1), "INVALID_VALUE", "not aligned"),
        (
            lambda: cufft.PlanNd((2,) * 4, None, 1, 1, None, 1, 1, cufft.CUFFT_C2C, 1, "C", 3, None),
            "INVALID_VALUE",
            "4 dimensions",
        ),
        (lambda: cufft.Plan1d(0, cufft.CUFFT_C2C, 1), "INVALID_SIZE", "a size of 0"),
        (lambda: cufft.Plan1d(8, 7, 1), "INVALID_TYPE", "no such type"),
        (
            lambda: cufft.Plan1d(16, cufft.CUFFT_R2C, 1).fft(real[1:], cupy.empty(9, "F"), 1),
            "INVALID_VALUE",
            "not aligned to 8 bytes",
        ),
    ]
    for f, status, reason in cases:
        with pytest.raises(cufft.CuFFTError, match=status):
            f()
        assert reason in capfd.readouterr().err
    with cupy.cuda.using_allocator(None), pytest.raises(cufft.CuFFTError, match="EXEC_FAILED"):
        cufft.Plan1d(4096, cufft.CUFFT_C2C, 1).fft(cupy.zeros(8, "F"), cupy.zeros(8, "F"), 1)
    assert "reach past the end" in capfd.readouterr().err
    handle = cufft.create()
    cufft.setAutoAllocation(handle, 0)
    with pytest.raises(cufft.CuFFTError, match="INVALID_PLAN"):
        cufft.execC2C(handle, x.data.ptr, x.data.ptr, 1)
    assert "not made" in capfd.readouterr().err
