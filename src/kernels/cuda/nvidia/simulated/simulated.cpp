// What the driver, NVRTC and cuBLASLt promise, on the CPU, as far as src/kernels/cuda/nvidia calls them: for tests of
// those calls. Work that is asked for waits in a queue until somebody waits for it, as a GPU might be late; whatever a
// GPU could take amiss is an error: a context that is not the thread's, memory that is not held, host memory that is
// not pinned, shared memory that was not promised, addresses less aligned than an algorithm was chosen for.
// Settings are environment variables, SIMULATED_*.

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum { OK, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_CONTEXT = 201,
       NOT_FOUND = 500, ILLEGAL_ADDRESS = 700 };
enum { BLAS_OK, BLAS_INVALID = 7, BLAS_EXECUTION = 13, BLAS_UNSUPPORTED = 15 };
const int FLOAT = 0, BF16 = 14, STATIC_SHARED = 1024, SHARED = 99 << 10;

std::recursive_mutex guard;
std::deque<std::function<void()>> queue;
size_t done = 0, left = 0;      // Work that is finished; objects that nobody gave back.
int sticky = OK;                // The error after which everything fails.
bool initialised = false;
int retained = 0;
int context_place, pool_place;  // Their addresses are the handles.
thread_local void *current = nullptr;
std::map<uint64_t, size_t> memory, pinned;
size_t used = 0, reserved = 0;
std::map<std::string, size_t> counts;

struct Event { size_t mark = 0; };
struct Stream {};
struct Function { void (*run)(const unsigned *, const unsigned *, unsigned, void **); unsigned arity; int promised; };
struct Module { void *library; std::map<std::string, Function> functions; };

size_t setting(const char *name, size_t otherwise) {
    const char *text = getenv((std::string("SIMULATED_") + name).c_str());
    return text ? strtoull(text, nullptr, 10) : otherwise;
}

bool within(const std::map<uint64_t, size_t> &places, uint64_t at, size_t bytes) {
    auto next = places.upper_bound(at);
    if (next == places.begin()) return false;
    --next;
    return at + bytes <= next->first + next->second;
}

void finish(size_t end) {
    while (done < end) {
        auto work = std::move(queue.front());
        queue.pop_front();
        done++;
        if (sticky == OK) work();
    }
}

void ask(std::function<void()> work) {
    queue.push_back(std::move(work));
}

#define COUNTED(name) \
    std::lock_guard<std::recursive_mutex> entered(guard); \
    counts[name]++;

#define ENTER(name) \
    COUNTED(name) \
    if (!initialised) return NOT_INITIALIZED; \
    if (sticky) return sticky; \
    if (current != &context_place || !retained) return INVALID_CONTEXT;

#define ENTER_BLAS(name) \
    COUNTED(name) \
    if (!initialised || sticky || current != &context_place || !retained) return BLAS_EXECUTION;

}  // namespace

API size_t simulated_left() { return left + memory.size() + pinned.size() + retained; }
API size_t simulated_count(const char *name) { return counts[name]; }

// The driver.

API int cuInit(unsigned) {
    if (setting("DEVICES", 1) == 0) return NO_DEVICE;
    if (int error = setting("INIT", OK)) return error;
    initialised = true;
    return OK;
}
API int cuDriverGetVersion(int *version) { *version = setting("DRIVER", 12080); return OK; }
API int cuGetErrorName(int error, const char **text) {
    *text = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : error == NOT_FOUND ? "CUDA_ERROR_NOT_FOUND"
          : error == ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_OTHER";
    return OK;
}
API int cuGetErrorString(int error, const char **text) { cuGetErrorName(error, text); *text = "in words"; return OK; }
API int cuDeviceGetCount(int *count) { *count = setting("DEVICES", 1); return initialised ? OK : NOT_INITIALIZED; }
API int cuDeviceGet(int *device, int number) {
    if (number < 0 || number >= (int)setting("DEVICES", 1)) return INVALID_DEVICE;
    *device = number;
    return OK;
}
API int cuDeviceGetName(char *name, int length, int) { strncpy(name, "Simulated", length); return OK; }
API int cuDeviceTotalMem_v2(size_t *bytes, int) { *bytes = setting("MEMORY", 1 << 30); return OK; }
API int cuDeviceGetAttribute(int *value, int attribute, int) {
    int generation = setting("GENERATION", 90);
    switch (attribute) {
        case 16: *value = 8; return OK;
        case 75: *value = generation / 10; return OK;
        case 76: *value = generation % 10; return OK;
        case 97: *value = SHARED; return OK;
        case 115: *value = setting("POOLS", 1); return OK;
    }
    return INVALID_VALUE;
}
API int cuDeviceGetDefaultMemPool(void **pool, int) { *pool = &pool_place; return OK; }
API int cuDevicePrimaryCtxRetain(void **context, int) { *context = &context_place; retained++; return OK; }
API int cuDevicePrimaryCtxRelease_v2(int) { if (!retained) return INVALID_CONTEXT; retained--; return OK; }
API int cuCtxGetCurrent(void **context) { *context = current; return OK; }
API int cuCtxSetCurrent(void *context) { counts["set current"]++; current = context; return OK; }

API int cuStreamCreate(void **stream, unsigned flags) {
    ENTER("stream");
    if (flags != 1) return INVALID_VALUE;  // Not to wait for the default stream.
    left++;
    *stream = new Stream;
    return OK;
}
API int cuStreamSynchronize(void *) { ENTER("synchronize"); finish(done + queue.size()); return sticky; }
API int cuStreamDestroy_v2(void *stream) { ENTER("destroy"); left--; delete (Stream *)stream; return OK; }
API int cuEventCreate(void **event, unsigned flags) {
    ENTER("event");
    if (flags != 2) return INVALID_VALUE;  // Without times.
    left++;
    *event = new Event;
    return OK;
}
API int cuEventRecord(void *event, void *) { ENTER("record"); ((Event *)event)->mark = done + queue.size(); return OK; }
API int cuEventSynchronize(void *event) { ENTER("wait"); finish(((Event *)event)->mark); return sticky; }
API int cuEventDestroy_v2(void *event) { ENTER("event"); left--; delete (Event *)event; return OK; }

static int take(uint64_t *address, size_t bytes) {
    if (bytes == 0) return INVALID_VALUE;
    if (used + bytes > setting("MEMORY", 1 << 30)) return OUT_OF_MEMORY;
    void *place = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memset(place, 0xff, bytes);
    memory[*address = (uint64_t)place] = bytes;
    used += bytes;
    return OK;
}
static int give(uint64_t address) {
    auto found = memory.find(address);
    if (found == memory.end()) return INVALID_VALUE;
    used -= found->second;
    memory.erase(found);
    memset((void *)address, 0xee, 1);
    free((void *)address);
    return OK;
}
API int cuMemAlloc_v2(uint64_t *address, size_t bytes) { ENTER("take at once"); return take(address, bytes); }
API int cuMemFree_v2(uint64_t address) { ENTER("free at once"); return give(address); }
API int cuMemAllocAsync(uint64_t *address, size_t bytes, void *) {
    ENTER("take");
    int error = take(address, bytes);
    if (reserved < used) reserved = used;
    return error;
}
API int cuMemFreeAsync(uint64_t address, void *) {
    ENTER("free");
    if (!memory.count(address)) return INVALID_VALUE;
    ask([=] { sticky = give(address); });
    return OK;
}
API int cuMemPoolSetAttribute(void *, int attribute, void *value) {
    ENTER("pool");
    return attribute == 4 && *(uint64_t *)value == UINT64_MAX ? OK : INVALID_VALUE;
}
API int cuMemPoolGetAttribute(void *, int attribute, void *value) {
    ENTER("pool");
    *(uint64_t *)value = attribute == 5 ? reserved : used;
    return attribute == 5 || attribute == 7 ? OK : INVALID_VALUE;
}
#ifndef WITHOUT_TRIM
API int cuMemPoolTrimTo(void *, size_t) { ENTER("trim"); reserved = used; return OK; }
#endif
API int cuMemHostAlloc(void **place, size_t bytes, unsigned) {
    ENTER("pin");
    *place = malloc(bytes);
    pinned[(uint64_t)*place] = bytes;
    return OK;
}
API int cuMemFreeHost(void *place) {
    ENTER("unpin");
    if (!pinned.erase((uint64_t)place)) return INVALID_VALUE;
    free(place);
    return OK;
}
static int move(uint64_t to, uint64_t from, size_t bytes, bool to_device, bool from_device) {
    if (!to_device && !within(pinned, to, bytes)) return INVALID_VALUE;
    if (!from_device && !within(pinned, from, bytes)) return INVALID_VALUE;
    ask([=] {
        bool held = (!to_device || within(memory, to, bytes)) && (!from_device || within(memory, from, bytes));
        if (held) memcpy((void *)to, (void *)from, bytes);
        else sticky = ILLEGAL_ADDRESS;
    });
    return OK;
}
API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *) {
    ENTER("up");
    return move(to, (uint64_t)from, bytes, true, false);
}
API int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *) {
    ENTER("down");
    return move((uint64_t)to, from, bytes, false, true);
}
API int cuMemsetD8Async(uint64_t at, unsigned char value, size_t bytes, void *) {
    ENTER("set");
    ask([=] { within(memory, at, bytes) ? (void)memset((void *)at, value, bytes) : (void)(sticky = ILLEGAL_ADDRESS); });
    return OK;
}
API int cuMemGetInfo_v2(size_t *free, size_t *total) {
    ENTER("info");
    *total = setting("MEMORY", 1 << 30);
    *free = *total - (reserved > used ? reserved : used);
    return OK;
}

API int cuModuleLoadData(void **module, const void *image) {
    ENTER("load");
    if (strcmp((const char *)image, "an image for --gpu-architecture=sm_90")) return INVALID_VALUE;
    left++;
    *module = new Module{dlopen(getenv("SIMULATED_KERNELS"), RTLD_NOW | RTLD_LOCAL), {}};
    return OK;
}
API int cuModuleUnload(void *module) { ENTER("unload"); left--; delete (Module *)module; return OK; }
API int cuModuleGetFunction(void **function, void *module, const char *name) {
    ENTER("look up");
    Module &in = *(Module *)module;
    auto run = (void (*)(const unsigned *, const unsigned *, unsigned, void **))dlsym(
        in.library, (std::string("emulate_") + name).c_str());
    auto arity = (unsigned (*)())dlsym(in.library, (std::string("arity_") + name).c_str());
    if (!run || !arity) return NOT_FOUND;
    *function = &(in.functions[name] = Function{run, arity(), 48 << 10});
    return OK;
}
API int cuFuncGetAttribute(int *value, int attribute, void *) {
    ENTER("function");
    *value = STATIC_SHARED;
    return attribute == 1 ? OK : INVALID_VALUE;
}
API int cuFuncSetAttribute(void *function, int attribute, int value) {
    ENTER("promise");
    if (attribute != 8 || value > SHARED - STATIC_SHARED) return INVALID_VALUE;
    ((Function *)function)->promised = value;
    return OK;
}
API int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned width, unsigned height,
                       unsigned depth, unsigned shared, void *, void **arguments, void **) {
    ENTER("launch");
    Function called = *(Function *)function;
    if (!x || !y || !z || !width || width > 1024 || height != 1 || depth != 1) return INVALID_VALUE;
    if ((int)shared > called.promised) return INVALID_VALUE;
    std::vector<uint64_t> words(called.arity);
    for (unsigned i = 0; i < called.arity; i++) memcpy(&words[i], arguments[i], 8);
    ask([=]() mutable {
        unsigned grid[3] = {x, y, z}, threads[3] = {width, 1, 1};
        std::vector<void *> pointers;
        for (auto &word : words) pointers.push_back(&word);
        called.run(grid, threads, shared, pointers.data());
    });
    return OK;
}

// NVRTC: the image is the options.

struct Program { std::string image; };
API int nvrtcVersion(int *major, int *minor) {
    *major = setting("NVRTC", 12080) / 1000;
    *minor = setting("NVRTC", 12080) % 1000 / 10;
    return OK;
}
API const char *nvrtcGetErrorString(int) { return "NVRTC_ERROR_OTHER"; }
API int nvrtcGetNumSupportedArchs(int *count) { *count = 3; return OK; }
API int nvrtcGetSupportedArchs(int *known) { known[0] = 75; known[1] = 80; known[2] = 90; return OK; }
API int nvrtcCreateProgram(void **program, const char *, const char *, int, const char **, const char **) {
    *program = new Program;
    left++;
    return OK;
}
API int nvrtcCompileProgram(void *program, int count, const char **options) {
    counts["compile"]++;
    ((Program *)program)->image = std::string("an image for ") + (count ? options[0] : "");
    return OK;
}
API int nvrtcDestroyProgram(void **program) { delete (Program *)*program; left--; return OK; }
API int nvrtcGetProgramLogSize(void *, size_t *size) { *size = 1; return OK; }
API int nvrtcGetProgramLog(void *, char *log) { *log = 0; return OK; }
API int nvrtcGetCUBINSize(void *program, size_t *size) { *size = ((Program *)program)->image.size() + 1; return OK; }
API int nvrtcGetCUBIN(void *program, char *image) { strcpy(image, ((Program *)program)->image.c_str()); return OK; }
API int nvrtcGetPTXSize(void *program, size_t *size) { return nvrtcGetCUBINSize(program, size); }
API int nvrtcGetPTX(void *program, char *image) { return nvrtcGetCUBIN(program, image); }

// cuBLASLt.

struct Operation { int compute; int transposed[2] = {0, 0}; unsigned epilogue = 1; uint64_t bias = 0; };
struct Layout { int type; uint64_t rows, columns; int64_t leading; int batches = 1; int64_t stride = 0; };
struct Preference { uint64_t workspace = 0; unsigned sums = 7, alignment[4] = {256, 256, 256, 256}; };
struct Algorithm { uint64_t m, n, k, batches, alignment[3], workspace; };
struct Found { Algorithm algorithm; size_t workspace; int state; float waves; int rest[4]; };

API size_t cublasLtGetVersion() { return setting("CUBLAS", 120805); }
API const char *cublasLtGetStatusName(int status) {
    return status == BLAS_UNSUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_OTHER";
}
API const char *cublasLtGetStatusString(int) { return "in words"; }
API int cublasLtCreate(void **handle) { ENTER_BLAS("blas"); *handle = new int; left++; return BLAS_OK; }
API int cublasLtDestroy(void *handle) { ENTER_BLAS("blas"); delete (int *)handle; left--; return BLAS_OK; }
API int cublasLtMatmulDescCreate(void **made, int compute, int scale) {
    if (scale != FLOAT) return BLAS_INVALID;
    *made = new Operation{compute};
    left++;
    return BLAS_OK;
}
API int cublasLtMatmulDescDestroy(void *made) { delete (Operation *)made; left--; return BLAS_OK; }
API int cublasLtMatmulDescSetAttribute(void *made, int attribute, const void *value, size_t size) {
    Operation &operation = *(Operation *)made;
    if (size != (attribute == 8 ? 8 : 4)) return BLAS_INVALID;
    switch (attribute) {
        case 3: case 4: operation.transposed[attribute - 3] = *(int *)value; return BLAS_OK;
        case 7: operation.epilogue = *(unsigned *)value; return BLAS_OK;
        case 8: operation.bias = *(uint64_t *)value; return BLAS_OK;
    }
    return BLAS_INVALID;
}
API int cublasLtMatrixLayoutCreate(void **made, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    *made = new Layout{type, rows, columns, leading};
    left++;
    return BLAS_OK;
}
API int cublasLtMatrixLayoutDestroy(void *made) { delete (Layout *)made; left--; return BLAS_OK; }
API int cublasLtMatrixLayoutSetAttribute(void *made, int attribute, const void *value, size_t size) {
    Layout &layout = *(Layout *)made;
    if (attribute == 5 && size == 4) layout.batches = *(int *)value;
    else if (attribute == 6 && size == 8) layout.stride = *(int64_t *)value;
    else return BLAS_INVALID;
    return BLAS_OK;
}
API int cublasLtMatmulPreferenceCreate(void **made) { *made = new Preference; left++; return BLAS_OK; }
API int cublasLtMatmulPreferenceDestroy(void *made) { delete (Preference *)made; left--; return BLAS_OK; }
API int cublasLtMatmulPreferenceSetAttribute(void *made, int attribute, const void *value, size_t size) {
    Preference &preference = *(Preference *)made;
    if (attribute == 1 && size == 8) preference.workspace = *(uint64_t *)value;
    else if (attribute == 3 && size == 4) preference.sums = *(unsigned *)value;
    else if (attribute >= 5 && attribute <= 8 && size == 4) preference.alignment[attribute - 5] = *(unsigned *)value;
    else return BLAS_INVALID;
    return BLAS_OK;
}
API int cublasLtMatmulAlgoGetHeuristic(void *, void *operation, void *first, void *second, void *result, void *out,
                                       void *preference, int wanted, Found *found, int *count) {
    ENTER_BLAS("heuristic");
    const Operation &how = *(Operation *)operation;
    const Layout &a = *(Layout *)first, &b = *(Layout *)second, &c = *(Layout *)result;
    const Preference &prefer = *(Preference *)preference;
    auto rows = [&](const Layout &of, int which) { return how.transposed[which] ? of.columns : of.rows; };
    auto columns = [&](const Layout &of, int which) { return how.transposed[which] ? of.rows : of.columns; };
    uint64_t m = rows(a, 0), k = columns(a, 0), n = columns(b, 1);
    bool agree = result == out && wanted == 1 && rows(b, 1) == k && c.rows == m && c.columns == n && m && n
        && a.batches == b.batches && a.batches == c.batches && prefer.sums == 2
        && (how.epilogue == 1 || (how.epilogue == 4 && how.bias));
    for (const Layout *layout : {&a, &b, &c}) agree = agree && layout->leading >= (int64_t)layout->rows;
    if (!agree) return BLAS_INVALID;
    bool known = a.type == b.type && (c.type == a.type || c.type == FLOAT) && (a.type == BF16 || a.type == FLOAT);
    *count = 0;
    if (!known || !k || !(how.compute == 68 || (how.compute == 77 && a.type == FLOAT))) return BLAS_UNSUPPORTED;
    memset(found, 0, sizeof *found);
    found->algorithm = {m, n, k, (uint64_t)a.batches,
                        {prefer.alignment[0], prefer.alignment[1], prefer.alignment[3]}, prefer.workspace};
    found->workspace = prefer.workspace;
    *count = 1;
    return BLAS_OK;
}
API int cublasLtMatmul(void *, void *operation, const float *alpha, uint64_t first, void *a_layout, uint64_t second,
                       void *b_layout, const float *beta, uint64_t result, void *c_layout, uint64_t out, void *d_layout,
                       const Algorithm *algorithm, uint64_t workspace, size_t size, void *stream) {
    ENTER_BLAS("product");
    Operation how = *(Operation *)operation;
    Layout a = *(Layout *)a_layout, b = *(Layout *)b_layout, c = *(Layout *)c_layout;
    Algorithm plan = *algorithm;
    float keep = *beta, scale = *alpha;
    if (result != out || c_layout != d_layout || !stream || size < plan.workspace) return BLAS_INVALID;
    if (!within(memory, workspace, size) || workspace % 256) return BLAS_INVALID;
    if (first % plan.alignment[0] || second % plan.alignment[1] || result % plan.alignment[2]) return BLAS_EXECUTION;
    if (plan.m != c.rows || plan.n != c.columns || plan.batches != (uint64_t)c.batches) return BLAS_INVALID;
    ask([=] {
        if (!within(memory, result, 1)) {
            sticky = ILLEGAL_ADDRESS;
            return;
        }
        auto read = [](int type, uint64_t base, int64_t number) {
            if (type == FLOAT) return ((float *)base)[number];
            uint32_t bits = (uint32_t)((uint16_t *)base)[number] << 16;
            float value;
            memcpy(&value, &bits, 4);
            return value;
        };
        auto at = [](const Layout &of, bool transposed, int64_t batch, int64_t row, int64_t column) {
            return batch * of.stride + (transposed ? row * of.leading + column : column * of.leading + row);
        };
        for (int64_t batch = 0; batch < c.batches; batch++)
            for (int64_t column = 0; column < (int64_t)plan.n; column++)
                for (int64_t row = 0; row < (int64_t)plan.m; row++) {
                    int64_t place = at(c, false, batch, row, column);
                    float sum = keep ? keep * read(c.type, result, place) : 0.0f;
                    for (int64_t i = 0; i < (int64_t)plan.k; i++)
                        sum += scale * read(a.type, first, at(a, how.transposed[0], batch, row, i))
                            * read(b.type, second, at(b, how.transposed[1], batch, i, column));
                    if (how.epilogue == 4) sum += read(c.type, how.bias, row);
                    if (c.type == FLOAT) {
                        ((float *)result)[place] = sum;
                    } else {
                        uint32_t bits;
                        memcpy(&bits, &sum, 4);
                        ((uint16_t *)result)[place] = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
                    }
                }
    });
    return BLAS_OK;
}
