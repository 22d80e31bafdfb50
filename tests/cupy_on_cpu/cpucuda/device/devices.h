// The devices: alike, and as many as CPUCUDA_DEVICES says (two). None reaches the memory of another.
static const int MULTIPROCESSORS = 4, SHARED = 48 << 10, SHARED_OPTIN = 227 << 10, MAX_DEVICES = 16;
static const size_t MEMORY = 16ull << 30;
static const int device_count = getenv("CPUCUDA_DEVICES") ? std::min(std::max(atoi(getenv("CPUCUDA_DEVICES")), 1), +MAX_DEVICES) : 2;
static thread_local int current_device;
static int contexts[MAX_DEVICES];  // their addresses are the contexts
static bool valid(int d) { return d >= 0 && d < device_count; }
static int attribute(int a) {
    switch (a) {
        case 1: case 2: case 3: return 1024;         // threads of a block, its x, y
        case 4: return 64;                           // and z
        case 5: return 0x7fffffff;
        case 6: case 7: return 65535;
        case 8: return SHARED;
        case 9: return 65536;
        case 10: return 32;
        case 11: return 0x7fffffff;
        case 12: return 65536;
        case 13: case 36: return 1000000;
        case 16: return MULTIPROCESSORS;
        case 18: case 41: return 1;
        case 14: return 512;
        case 31: return 1;
        case 37: return 64;
        case 38: return 1 << 20;
        case 39: return 2048;
        case 75: return 9;                           // compute capability
        case 76: return 0;
        case 78: case 83: return 1;
        case 81: return 228 << 10;
        case 82: return 65536;
        case 95: return 1;                           // cooperative launch
        case 97: return SHARED_OPTIN;
        case 106: return 32;
        case 115: return 1;                          // memory pools
        case 120: return 1;                          // clusters
    }
    return 0;
}
API cudaGetDeviceCount(int* n) { return *n = device_count, 0; }
API cudaGetDevice(int* d) { return *d = current_device, 0; }
API cudaSetDevice(int d) { return valid(d) ? (current_device = d, 0) : INVALID_DEVICE; }
API cudaDeviceGetAttribute(int* v, int a, int d) { return valid(d) ? (*v = attribute(a), 0) : INVALID_DEVICE; }
API cudaDeviceGetPCIBusId(char* s, int n, int d) { return valid(d) ? (snprintf(s, n, "0000:%02x:00.0", d), 0) : INVALID_DEVICE; }
API cudaDeviceGetByPCIBusId(int* d, const char* s) {
    unsigned bus = MAX_DEVICES;
    return sscanf(s, "%*x:%x", &bus) == 1 && valid(bus) ? (*d = bus, 0) : INVALID_DEVICE;
}
API cudaDeviceCanAccessPeer(int* can, int d, int peer) { return *can = 0, valid(d) && valid(peer) ? 0 : INVALID_DEVICE; }
API cudaDeviceEnablePeerAccess(int, unsigned) { return NO_PEER_ACCESS; }
API cudaDeviceDisablePeerAccess(int) { return NO_PEER_ACCESS; }
API cuCtxGetCurrent(void** c) { return *c = &contexts[current_device], 0; }
API cuCtxSetCurrent(void* c) {
    int d = (int*)c - contexts;
    return !c ? 0 : valid(d) ? (current_device = d, 0) : INVALID_DEVICE;
}
API cuCtxCreate_v2(void** c, unsigned, int d) { return valid(d) ? (*c = &contexts[d], 0) : INVALID_DEVICE; }
API cuCtxDestroy_v2(void*) { return 0; }
API cuCtxGetDevice(int* d) { return *d = current_device, 0; }
API cuDevicePrimaryCtxRelease_v2(int) { return 0; }
API cudaDeviceGetLimit(size_t* v, int) { return *v = 1024, 0; }
API cudaDeviceSetLimit(int, size_t) { return 0; }
#include "device_prop.h"  // CuPy's header has the same text
API cudaGetDeviceProperties(cudaDeviceProp* p, int d) {
    if (!valid(d)) return INVALID_DEVICE;
    memset(p, 0, sizeof *p);
    strcpy(p->name, "CPU emulator");
    p->totalGlobalMem = MEMORY;
    p->sharedMemPerBlock = SHARED;
    p->sharedMemPerBlockOptin = SHARED_OPTIN;
    p->sharedMemPerMultiprocessor = attribute(81);
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->warpSize = 32;
    p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 0x7fffffff;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->major = 9;
    p->pciBusID = d;
    p->multiProcessorCount = MULTIPROCESSORS;
    p->maxThreadsPerMultiProcessor = 2048;
    p->maxBlocksPerMultiProcessor = 32;
    p->totalConstMem = 65536;
    p->l2CacheSize = 1 << 20;
    p->cooperativeLaunch = p->unifiedAddressing = p->canMapHostMemory = p->managedMemory = p->concurrentKernels = 1;
    return 0;
}
API cudaDriverGetVersion(int* v) { return *v = 13000, 0; }
API cudaRuntimeGetVersion(int* v) { return *v = 13000, 0; }
API cudaProfilerStart() { return 0; }
API cudaProfilerStop() { return 0; }
