// y = f(x), and dx = dy f'(what is kept), of vectors; f is one of the structures with `value` and `gradient`. After
// `using namespace xp`.
#pragma once
template <template <typename> class Act, typename T, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK) activation(const T* x, T* y, Acc<T> p, i64 n) {
    const i64 c = piece_start<T, VEC>(x);
    if (c >= n) return;
    Acc<T> v[VEC];
    load_flat<T, VEC>(v, x, c, n);
#pragma unroll
    for (int j = 0; j < VEC; ++j) v[j] = Act<Acc<T>>::value(v[j], p);
    store_flat<T, VEC>(y, c, n, v);
}

template <template <typename> class Act, typename T, int VEC, int BLOCK>
__global__ void __launch_bounds__(BLOCK) activation_gradient(const T* dy, const T* kept, T* dx, Acc<T> p, i64 n) {
    const i64 c = piece_start<T, VEC>(dy);
    if (c >= n) return;
    Acc<T> d[VEC], v[VEC];
    load_flat<T, VEC>(d, dy, c, n);
    load_flat<T, VEC>(v, kept, c, n);
#pragma unroll
    for (int j = 0; j < VEC; ++j) d[j] = Act<Acc<T>>::gradient(d[j], v[j], p);
    store_flat<T, VEC>(dx, c, n, d);
}
