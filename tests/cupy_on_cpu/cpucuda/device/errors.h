// Error codes and their texts. A failure that knows more than its code says it once, to whoever asks for the text.
enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, NO_BINARY = 209, NO_PEER_ACCESS = 217,
       INVALID_HANDLE = 400, ILLEGAL_STATE = 401, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700,
       LAUNCH_FAILED = 719, UNSUPPORTED = 801, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, CAPTURE_MERGE = 902, CAPTURE_UNMATCHED = 903,
       CAPTURE_UNJOINED = 904, CAPTURE_ISOLATION = 905, CAPTURE_IMPLICIT = 906, CAPTURED_EVENT = 907,
       UNORDERED = 9001 /* not CUDA's: a GPU would return wrong numbers now and then, without a word */ };

struct Named { int code; const char *name, *text; };
static const Named error_names[] = {
    {SUCCESS, "cudaSuccess", "no error"},
    {INVALID_VALUE, "cudaErrorInvalidValue", "invalid argument"},
    {OUT_OF_MEMORY, "cudaErrorMemoryAllocation", "out of memory"},
    {INVALID_DEVICE, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {NO_BINARY, "cudaErrorNoKernelImageForDevice", "no kernel image is available for execution on the device"},
    {NO_PEER_ACCESS, "cudaErrorPeerAccessUnsupported", "peer access is not supported between these two devices"},
    {INVALID_HANDLE, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {ILLEGAL_STATE, "cudaErrorIllegalState", "the operation cannot be performed in the present state"},
    {NOT_FOUND, "cudaErrorSymbolNotFound", "named symbol not found"},
    {NOT_READY, "cudaErrorNotReady", "device not ready"},
    {ILLEGAL_ADDRESS, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {LAUNCH_FAILED, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {UNSUPPORTED, "cudaErrorNotSupported", "operation not supported"},
    {CAPTURE_UNSUPPORTED, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"},
    {CAPTURE_MERGE, "cudaErrorStreamCaptureMerge", "operation would merge two captures"},
    {CAPTURE_UNMATCHED, "cudaErrorStreamCaptureUnmatched", "capture was not ended in the stream in which it began"},
    {CAPTURE_UNJOINED, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {CAPTURE_ISOLATION, "cudaErrorStreamCaptureIsolation", "dependency on uncaptured work in another stream"},
    {CAPTURE_IMPLICIT, "cudaErrorStreamCaptureImplicit", "operation would make the legacy stream depend on a capturing blocking stream"},
    {CAPTURED_EVENT, "cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"},
    {UNORDERED, "cpucudaErrorUnordered", "work of two streams on the same memory, ordered by nothing"},
};
static const Named* named(int e) {
    for (auto& n : error_names)
        if (n.code == e) return &n;
    return nullptr;
}
static std::mutex details_lock;
static std::map<int, std::string> details;
static int failed(int code, const std::string& detail) {
    std::lock_guard<std::mutex> hold(details_lock);
    return details[code] = detail, code;
}
extern "C" const char* cudaGetErrorName(int e) { return named(e) ? named(e)->name : "cudaErrorUnknown"; }
extern "C" const char* cudaGetErrorString(int e) {
    static thread_local std::string text;
    std::lock_guard<std::mutex> hold(details_lock);
    auto it = details.find(e);
    text = it == details.end() ? named(e) ? named(e)->text : "unknown error" : it->second;
    if (it != details.end()) details.erase(it);
    return text.c_str();
}
API cuGetErrorName(int e, const char** out) { return *out = cudaGetErrorName(e), 0; }
API cuGetErrorString(int e, const char** out) { return *out = cudaGetErrorString(e), 0; }
API cudaGetLastError() { return 0; }

extern "C" int cpucuda_missing(const char* name, int status) {
    fprintf(stderr, "cpucuda: %s is not implemented\n", name);
    return status;
}
