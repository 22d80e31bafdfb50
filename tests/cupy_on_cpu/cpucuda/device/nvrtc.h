// NVRTC: the work is done by nvrtc.py.
struct Program {
    std::string source, log, image, ptx;
    std::vector<std::string> names, lowered;
};
typedef int (*Compile)(Program*, const char*, const char*, const char*);
static Compile compile_callback;
extern "C" void cpucuda_set_compiler(Compile f) { compile_callback = f; }
extern "C" void cpucuda_compiled(Program* p, const char* image, size_t n, const char* ptx, const char* log, const char* lowered) {
    p->image.assign(image, n);
    p->ptx = ptx;
    p->log = log;
    for (const char* s = lowered; *s;) {  // one a line
        const char* e = strchr(s, '\n');
        p->lowered.emplace_back(s, e - s);
        s = e + 1;
    }
}
static std::string lines(const std::vector<std::string>& v) {
    std::string all;
    for (auto& s : v) all += s + "\n";
    return all;
}
extern "C" const char* nvrtcGetErrorString(int e) { return e == 6 ? "NVRTC_ERROR_COMPILATION" : e ? "NVRTC_ERROR" : "NVRTC_SUCCESS"; }
API nvrtcVersion(int* major, int* minor) { return *major = 13, *minor = 0, 0; }
API nvrtcCreateProgram(Program** p, const char* source, const char*, int, const char**, const char**) {
    return *p = new Program{source}, 0;
}
API nvrtcDestroyProgram(Program** p) { return delete *p, *p = nullptr, 0; }
API nvrtcAddNameExpression(Program* p, const char* name) { return p->names.push_back(name), 0; }
API nvrtcCompileProgram(Program* p, int n, const char** options) {
    return compile_callback(p, p->source.c_str(), lines({options, options + n}).c_str(), lines(p->names).c_str());
}
API nvrtcGetLoweredName(Program* p, const char* name, const char** out) {
    for (size_t i = 0; i < p->names.size(); ++i)
        if (p->names[i] == name) return *out = p->lowered[i].c_str(), 0;
    return 10;
}
API nvrtcGetPTXSize(Program* p, size_t* n) { return *n = p->ptx.size(), 0; }
API nvrtcGetPTX(Program* p, char* out) { return memcpy(out, p->ptx.data(), p->ptx.size()), 0; }
API nvrtcGetCUBINSize(Program* p, size_t* n) { return *n = p->image.size(), 0; }
API nvrtcGetCUBIN(Program* p, char* out) { return memcpy(out, p->image.data(), p->image.size()), 0; }
API nvrtcGetProgramLogSize(Program* p, size_t* n) { return *n = p->log.size() + 1, 0; }
API nvrtcGetProgramLog(Program* p, char* out) { return memcpy(out, p->log.c_str(), p->log.size() + 1), 0; }
API nvrtcGetNumSupportedArchs(int* n) { return *n = 1, 0; }
API nvrtcGetSupportedArchs(int* a) { return *a = 90, 0; }
