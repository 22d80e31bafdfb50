// thrust: stable sorts.
struct Complex32 { float re, im; };
struct Complex64 { double re, im; };
template <typename T> struct Less {
    bool operator()(T a, T b) const { return a != a ? false : b != b ? true : a < b; }  // NaN last, as in NumPy
};
template <typename C> struct LessComplex {
    bool operator()(C a, C b) const {
        bool an = a.re != a.re, bn = b.re != b.re;
        if (an != bn) return bn;
        bool ai = a.im != a.im, bi = b.im != b.im;
        if (ai != bi) return bi;
        if (!an && a.re != b.re) return a.re < b.re;
        return !ai && a.im < b.im;
    }
};
template <> struct Less<Complex32> : LessComplex<Complex32> {};
template <> struct Less<Complex64> : LessComplex<Complex64> {};
template <typename F> static void dispatch(int type, F f) {
    switch (type) {  // CuPy's numbers
        case 0: return f((int8_t*)0);
        case 1: return f((uint8_t*)0);
        case 2: return f((int16_t*)0);
        case 3: return f((uint16_t*)0);
        case 4: return f((int32_t*)0);
        case 5: return f((uint32_t*)0);
        case 6: return f((int64_t*)0);
        case 7: return f((uint64_t*)0);
        case 8: return f((_Float16*)0);
        case 9: return f((float*)0);
        case 10: return f((double*)0);
        case 11: return f((Complex32*)0);
        case 12: return f((Complex64*)0);
        case 13: return f((bool*)0);
    }
}
static size_t product(const std::vector<ptrdiff_t>& shape) {
    size_t n = 1;
    for (auto s : shape) n *= s;
    return n;
}
static void sorting(const char* name, intptr_t stream, std::initializer_list<Operand> operands, Work work) {
    Queue* q = at((Stream)stream);
    if (!q->capture) saw_launch(name);
    if (int e = call(q, name, operands, std::move(work)))
        throw std::runtime_error(std::string(cudaGetErrorName(e)) + ": " + cudaGetErrorString(e));
}
void thrust_sort(int type, void* data, size_t*, const std::vector<ptrdiff_t>& shape, intptr_t stream, void*) {
    size_t row = shape.back(), n = product(shape);
    sorting("thrust::sort", stream, {{data, n, true}}, [=] {
        dispatch(type, [&](auto* tag) {
            using T = std::remove_pointer_t<decltype(tag)>;
            for (size_t i = 0; i < n; i += row) std::stable_sort((T*)data + i, (T*)data + i + row, Less<T>());
        });
        return 0;
    });
}
void thrust_argsort(int type, size_t* index, void* data, void*, const std::vector<ptrdiff_t>& shape, intptr_t stream, void*) {
    size_t row = shape.back(), n = product(shape);
    sorting("thrust::argsort", stream, {{data, n, true}, {index, n * sizeof *index, true}}, [=] {
        dispatch(type, [&](auto* tag) {
            using T = std::remove_pointer_t<decltype(tag)>;
            for (size_t i = 0; i < n; i += row) {
                T* x = (T*)data + i;
                std::iota(index + i, index + i + row, 0);
                std::stable_sort(index + i, index + i + row, [&](size_t a, size_t b) { return Less<T>()(x[a], x[b]); });
                std::vector<T> sorted(row);  // thrust moves the data along
                for (size_t j = 0; j < row; ++j) sorted[j] = x[index[i + j]];
                std::copy(sorted.begin(), sorted.end(), x);
            }
        });
        return 0;
    });
}
void thrust_lexsort(int type, size_t* index, void* keys, size_t k, size_t n, intptr_t stream, void*) {
    sorting("thrust::lexsort", stream, {{keys, k * n, false}, {index, n * sizeof *index, true}}, [=] {
        std::iota(index, index + n, 0);
        dispatch(type, [&](auto* tag) {
            using T = std::remove_pointer_t<decltype(tag)>;
            for (size_t i = 0; i < k; ++i) {
                T* x = (T*)keys + i * n;
                std::stable_sort(index, index + n, [&](size_t a, size_t b) { return Less<T>()(x[a], x[b]); });
            }
        });
        return 0;
    });
}
