// A CUDA device made of the CPU: the functions of the runtime, driver, NVRTC, cuBLAS,
// cuSOLVER, cuFFT and thrust that CuPy calls.
//
// Device memory is host memory, kernels are shared objects that g++ made of CUDA
// C++ (nvrtc.py) and run on the emulator, one fiber a thread. Matrix products go to NumPy (blas.py), factorizations to
// LAPACK (lapack.py), Fourier transforms to NumPy (fft.py).
// One unit, in this order, for one fast call of g++.
#include <dlfcn.h>
#include <link.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace xpemu {  // as in the emulator's runtime.cpp, which is a library of its own: other users share its fibers
struct Idx { unsigned x, y, z; };
struct Context { Idx tid, bid, bdim, gdim; void* dynamic; unsigned lane, warp, rank, cluster; unsigned char result[16]; };
}  // namespace xpemu
using namespace xpemu;
extern "C" Context* xpemu_current;
extern "C" int xpemu_launch(void (*)(void**), const unsigned*, const unsigned*, uint64_t shared, unsigned cluster, int cooperative,
                            unsigned resident, void**, int order, uint64_t seed, int strict, uint64_t* stats, char*, size_t);
extern "C" void xpemu_fail(const char* message, const char* file, int line);

#define API extern "C" int

#include "errors.h"
#include "counts.h"
#include "devices.h"
#include "clocks.h"
#include "regions.h"
#include "streams.h"
#include "capture.h"
#include "memory.h"
#include "events.h"
#include "copies.h"
#include "nvrtc.h"
#include "modules.h"
#include "launches.h"
#include "libraries.h"
#include "blas.h"
#include "blaslt.h"
#include "lapack.h"
#include "fft.h"
#include "random.h"
#include "sort.h"
