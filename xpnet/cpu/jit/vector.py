"""Vectors of float32 for Numba: what a loop must keep in registers itself, since no compiler would find it.

A vector is as wide as the machine's registers (16 with AVX-512; 8 elsewhere, which LLVM splits if it must).
Indices count elements of a 1-D array, need no alignment, and are not checked.
"""

from __future__ import annotations

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8

_LLVM = ir.VectorType(ir.FloatType(), LANES)
_INDEX = ir.VectorType(ir.IntType(32), LANES)
_FUSE = ("contract",)


class Vector(types.Type):
    """LANES float32 values in one register."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, _LLVM)


vector = Vector()


def _element(context, builder, array_type, array, index):
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _pointer(context, builder, *place):
    return builder.bitcast(_element(context, builder, *place), _LLVM.as_pointer())


@intrinsic
def load(_, array, index):
    """array[index : index + LANES]."""

    def generate(context, builder, signature, args):
        return builder.load(_pointer(context, builder, array, *args), align=4)

    return vector(array, types.intp), generate


@intrinsic
def store(_, array, index, value):
    """array[index : index + LANES] = value."""

    def generate(context, builder, signature, args):
        builder.store(args[2], _pointer(context, builder, array, *args[:2]), align=4)

    return types.void(array, types.intp, vector), generate


@intrinsic
def splat(_, scalar):
    """The scalar in every lane."""

    def generate(context, builder, signature, args):
        undefined = ir.Constant(_LLVM, ir.Undefined)
        first = builder.insert_element(undefined, args[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, undefined, ir.Constant(_INDEX, None))

    return vector(types.float32), generate


@intrinsic
def fma(_, a, b, c):
    """a * b + c, rounded once where the machine can."""

    def generate(context, builder, signature, args):
        return builder.fadd(builder.fmul(args[0], args[1], flags=_FUSE), args[2], flags=_FUSE)

    return vector(vector, vector, vector), generate


@intrinsic
def add(_, a, b):
    """a + b."""

    def generate(context, builder, signature, args):
        return builder.fadd(*args)

    return vector(vector, vector), generate


@intrinsic
def subtract(_, a, b):
    """a - b."""

    def generate(context, builder, signature, args):
        return builder.fsub(*args)

    return vector(vector, vector), generate


@intrinsic
def total(_, a):
    """The sum of the lanes, halves added until one is left."""

    def generate(context, builder, signature, args):
        (result,), lanes = args, LANES
        while lanes > 1:
            lanes //= 2
            halves = [[half * lanes + i for i in range(lanes)] for half in (0, 1)]
            low, high = (
                builder.shuffle_vector(
                    result, result, ir.Constant(ir.VectorType(ir.IntType(32), lanes), half)
                )
                for half in halves
            )
            result = builder.fadd(low, high)
        return builder.extract_element(result, ir.Constant(ir.IntType(32), 0))

    return types.float32(vector), generate


@intrinsic
def add_sums(_, out, index, four):
    """out[index + k] += the sum of the lanes of vector k, k = 0 ... 3, for float64 `out`; added in pairs."""

    def generate(context, builder, signature, args):
        def pick(a, b, lanes):
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))

        def merge(a, b, step):
            """Lanes 0, step, 2 step, ... of a with step neighbours each, and b's between them."""
            starts = range(0, LANES, 2 * step)
            low = [half + i + k for i in starts for half in (0, LANES) for k in range(step)]
            return builder.fadd(pick(a, b, low), pick(a, b, [i + step for i in low]))

        a, b, c, d = (builder.extract_value(args[2], k) for k in range(4))
        result, lanes = merge(merge(a, b, 1), merge(c, d, 1), 2), LANES  # lane i belongs to vector i % 4
        while lanes > 4:
            lanes //= 2
            result = builder.fadd(
                pick(result, result, list(range(lanes))), pick(result, result, list(range(lanes, 2 * lanes)))
            )
        doubles = ir.VectorType(ir.DoubleType(), 4)
        place = builder.bitcast(
            _element(context, builder, signature.args[0], *args[:2]), doubles.as_pointer()
        )
        total = builder.fadd(builder.load(place, align=8), builder.fpext(result, doubles))
        builder.store(total, place, align=8)

    return types.void(out, types.intp, four), generate


@intrinsic
def copy(_, source, i, target, j, count):
    """target[j : j + count] = source[i : i + count] by the C library: faster than a loop when short."""

    def generate(context, builder, signature, args):
        start = _element(context, builder, source, *args[:2])
        to = _element(context, builder, target, *args[2:4])
        cgutils.raw_memcpy(builder, to, start, args[4], 4)

    return types.void(source, types.intp, target, types.intp, types.intp), generate
