// Class indices as the losses use them, where no fused loss reads them itself.
#include "common.cuh"
using namespace xp;

// classes[i] in 0 .. C-1, and what its row counts: 1; 0 where the label is ignored; NaN, and a note, where it is
// out of range.
template <typename T, typename L, int BLOCK>
__global__ void __launch_bounds__(BLOCK)
    check_labels(const L* target, i64* classes, T* rows, i64 n, i64 C, int ignoring, i64 ignore_index, int op, i64* note) {
    const i64 i = (i64)blockIdx.x * BLOCK + threadIdx.x;
    if (i >= n) return;
    const i64 given = target[i];
    const bool skip = ignoring && given == ignore_index, wrong = !skip && (given < 0 || given >= C);
    classes[i] = skip || wrong ? 0 : given;
    rows[i] = from_acc<T>(skip ? Acc<T>(0) : wrong ? not_a_number<Acc<T>>() : Acc<T>(1));
    if (wrong) report(note, op, given, C, i);
}
