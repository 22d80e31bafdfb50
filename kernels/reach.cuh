#pragma once
// The windows along one axis that reach a place: tap + i step of window - i back, while both exist
struct Reach {
    int tap, step, window, back;
    __device__ __forceinline__ Reach(int place, int taps, int stride, int pad, int spread) : tap(0), step(1) {
        const int from = place + pad;
        while (tap < taps && (from - tap * spread) % stride) ++tap;
        while (step * spread % stride) ++step;
        window = from - tap * spread < 0 ? -1 : (from - tap * spread) / stride;
        back = step * spread / stride;
    }
};
