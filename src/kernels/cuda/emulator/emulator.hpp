// Runs CUDA kernels on the CPU, so that tests can hold them against the CPU engine where there is no GPU. It knows the few
// words of CUDA that our kernels use. Each thread of a block is a fiber with a stack of its own; barriers and warp
// operations hand control to the next. Blocks are divided among the machine's threads.
//
// It is stricter than a GPU where mistakes hide: fresh memory holds NaN, what lies after an allocation cannot be read
// (emulator/mod.rs), threads run in ascending order in one launch and in descending order in the next, so that a missing
// barrier shows as different results, and a barrier that not all reach ends the process.
#pragma once
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#define MATRYO_EMULATED 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__
#define __shared__ static thread_local
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __constant__ static const

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
};

namespace emulator {
constexpr int MOST_THREADS = 1024;
constexpr size_t STACK = 128 << 10;
enum State { READY, AT_BARRIER, AT_WARP, DONE };

struct Fiber {
    void *stack_pointer;
    State state;
    unsigned collectives;
    uint3 index;
};

struct Slot {
    unsigned char bytes[32];
};

/// One worker's block under way.
struct Block {
    Fiber fibers[MOST_THREADS];
    Slot slots[2][MOST_THREADS];
    std::vector<unsigned char> stacks = std::vector<unsigned char>(STACK * MOST_THREADS);
    std::vector<unsigned char> dynamic_shared;
    void *scheduler = nullptr;
    int current = 0;
    const std::function<void()> *body = nullptr;
};

inline Block &block() {
    static thread_local Block *mine = new Block;
    return *mine;
}
}  // namespace emulator

static thread_local uint3 threadIdx, blockIdx;
static thread_local dim3 blockDim, gridDim;

// Saves what the System V ABI lets a function expect to be kept, and goes on where `to` left off.
extern "C" void emulator_switch(void **from, void *to);
asm(R"(
.text
.local emulator_switch
.type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulator_switch, .-emulator_switch
)");

namespace emulator {
__attribute__((noinline)) inline void yield(State state) {
    Block &b = block();
    Fiber &fiber = b.fibers[b.current];
    fiber.state = state;
    emulator_switch(&fiber.stack_pointer, b.scheduler);
}

inline void enter() {
    (*block().body)();
    yield(DONE);
    std::abort();
}

[[noreturn]] inline void fail(const char *what) {
    std::fprintf(stderr, "emulated CUDA: %s in block (%u, %u, %u)\n", what, blockIdx.x, blockIdx.y, blockIdx.z);
    std::abort();
}

/// Runs one block to its end.
inline void run_block(int threads, bool descending) {
    Block &b = block();
    for (int i = 0; i < threads; i++) {
        Fiber &fiber = b.fibers[i];
        void **top = (void **)(&b.stacks[STACK * i] + STACK - 64);
        top = (void **)((uintptr_t)top & ~(uintptr_t)15);
        // As if `enter` had been called: the stack is 8 beyond a multiple of 16 at its first instruction.
        *--top = nullptr;
        *--top = (void *)enter;
        top -= 6;
        fiber = Fiber{top, READY, 0,
                      uint3{i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y}};
    }
    for (int left = threads; left > 0;) {
        bool moved = false;
        for (int n = 0; n < threads; n++) {
            int i = descending ? threads - 1 - n : n;
            Fiber &fiber = b.fibers[i];
            if (fiber.state != READY) continue;
            moved = true;
            b.current = i;
            threadIdx = fiber.index;
            emulator_switch(&b.scheduler, fiber.stack_pointer);
            if (fiber.state == DONE) left--;
        }
        for (int first = 0; first < threads; first += 32) {
            int last = std::min(first + 32, threads), waiting = 0;
            bool all = true;
            for (int i = first; i < last; i++) {
                waiting += b.fibers[i].state == AT_WARP;
                all = all && (b.fibers[i].state == AT_WARP || b.fibers[i].state == DONE);
            }
            if (!all || waiting == 0) continue;
            if (waiting != last - first || last - first != 32) fail("a warp operation that not all 32 lanes came to");
            for (int i = first; i < last; i++) b.fibers[i].state = READY;
            moved = true;
        }
        bool all = true, any = false;
        for (int i = 0; i < threads; i++) {
            any = any || b.fibers[i].state == AT_BARRIER;
            all = all && (b.fibers[i].state == AT_BARRIER || b.fibers[i].state == DONE);
        }
        if (all && any) {
            for (int i = 0; i < threads; i++)
                if (b.fibers[i].state == AT_BARRIER) b.fibers[i].state = READY;
            moved = true;
        }
        if (!moved && left > 0) fail("threads wait for each other at different places");
    }
}

/// All lanes show a value and see those of the others; returns the warp's slots.
template <typename V> inline const Slot *exchange(const V &value) {
    static_assert(sizeof(V) <= sizeof(Slot), "a slot is too small");
    Block &b = block();
    Fiber &fiber = b.fibers[b.current];
    int me = b.current;
    Slot *slots = b.slots[fiber.collectives++ & 1];
    std::memcpy(slots[me].bytes, &value, sizeof(V));
    yield(AT_WARP);
    return slots + me / 32 * 32;
}

inline int lane() {
    return block().current % 32;
}

template <typename V> inline V of(const Slot *slots, int lane) {
    V value;
    std::memcpy(&value, slots[lane & 31].bytes, sizeof(V));
    return value;
}

/// A launch: every block, on all of the machine's threads.
inline void launch(const unsigned *grid, const unsigned *threads, unsigned shared, const std::function<void()> &body) {
    static std::atomic<unsigned> launches{0};
    bool descending = launches++ % 2 == 1;
    uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    unsigned count = threads[0] * threads[1] * threads[2];
    if (count == 0 || count > MOST_THREADS || blocks == 0) {
        std::fprintf(stderr, "emulated CUDA: %llu blocks of %u threads cannot be launched\n", (unsigned long long)blocks, count);
        std::abort();
    }
    std::atomic<uint64_t> next{0};
    auto work = [&] {
        Block &b = block();
        b.body = &body;
        gridDim = dim3{grid[0], grid[1], grid[2]};
        blockDim = dim3{threads[0], threads[1], threads[2]};
        for (;;) {
            uint64_t number = next++;
            if (number >= blocks) break;
            if (descending) number = blocks - 1 - number;
            blockIdx = uint3{(unsigned)(number % grid[0]), (unsigned)(number / grid[0] % grid[1]),
                             (unsigned)(number / grid[0] / grid[1])};
            b.dynamic_shared.assign(shared + 16, 0xff);
            run_block((int)count, descending);
        }
    };
    // The workers stay, since each has megabytes of stacks.
    static std::mutex one_launch;
    std::lock_guard<std::mutex> lock(one_launch);
    unsigned workers = blocks < 4 ? 1 : std::min<uint64_t>(blocks, std::max(1u, std::thread::hardware_concurrency()));
    if (workers == 1) {
        work();
        return;
    }
    struct Pool {
        std::mutex mutex;
        std::condition_variable wake, done;
        std::function<void()> task;
        uint64_t round = 0;
        unsigned running = 0, size = 0;
    };
    static Pool *pool = [] {
        Pool *made = new Pool;
        made->size = std::max(1u, std::thread::hardware_concurrency()) - 1;
        for (unsigned i = 0; i < made->size; i++)
            std::thread([made] {
                uint64_t seen = 0;
                for (;;) {
                    std::unique_lock<std::mutex> lock(made->mutex);
                    made->wake.wait(lock, [&] { return made->round != seen; });
                    seen = made->round;
                    std::function<void()> task = made->task;
                    lock.unlock();
                    task();
                    lock.lock();
                    if (--made->running == 0) made->done.notify_one();
                }
            }).detach();
        return made;
    }();
    {
        std::lock_guard<std::mutex> guard(pool->mutex);
        pool->task = work;
        pool->running = pool->size;
        pool->round++;
    }
    pool->wake.notify_all();
    work();
    std::unique_lock<std::mutex> guard(pool->mutex);
    pool->done.wait(guard, [&] { return pool->running == 0; });
}

/// Calls a kernel with arguments as the driver takes them: a pointer to each.
template <typename... A, size_t... I>
void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A> *)arguments[I]...);
}

template <typename... A>
void run(void (*kernel)(A...), const unsigned *grid, const unsigned *threads, unsigned shared, void **arguments) {
    launch(grid, threads, shared, [&] { call(kernel, arguments, std::index_sequence_for<A...>()); });
}

template <typename... A> constexpr unsigned arity(void (*)(A...)) {
    return sizeof...(A);
}
}  // namespace emulator

inline void __syncthreads() {
    emulator::yield(emulator::AT_BARRIER);
}
inline void __syncwarp(unsigned = 0xffffffffu) {
    emulator::exchange(0);
}
inline void __threadfence() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

template <typename V> inline V __shfl_sync(unsigned, V value, int from) {
    return emulator::of<V>(emulator::exchange(value), from);
}
template <typename V> inline V __shfl_xor_sync(unsigned, V value, int distance) {
    int me = emulator::lane();
    return emulator::of<V>(emulator::exchange(value), me ^ distance);
}
template <typename V> inline V __shfl_down_sync(unsigned, V value, int distance) {
    int from = emulator::lane() + distance;
    const emulator::Slot *slots = emulator::exchange(value);
    return from < 32 ? emulator::of<V>(slots, from) : value;
}
template <typename V> inline V __shfl_up_sync(unsigned, V value, int distance) {
    int from = emulator::lane() - distance;
    const emulator::Slot *slots = emulator::exchange(value);
    return from >= 0 ? emulator::of<V>(slots, from) : value;
}
inline unsigned __ballot_sync(unsigned, bool value) {
    const emulator::Slot *slots = emulator::exchange((int)value);
    unsigned bits = 0;
    for (int lane = 0; lane < 32; lane++) bits |= (unsigned)emulator::of<int>(slots, lane) << lane;
    return bits;
}
inline bool __any_sync(unsigned mask, bool value) {
    return __ballot_sync(mask, value) != 0;
}

inline void emulated_multiply_16x8x16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    struct Registers {
        unsigned a[4], b[2];
    } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    int lane = emulator::lane(), g = lane / 4, t = lane % 4;
    const emulator::Slot *slots = emulator::exchange(mine);
    auto number = [](unsigned word, int half) {
        unsigned bits = half ? word & 0xffff0000u : word << 16;
        float value;
        std::memcpy(&value, &bits, 4);
        return value;
    };
    for (int place = 0; place < 4; place++) {
        int row = place / 2, column = 2 * t + place % 2;
        float sum = 0;
        for (int k = 0; k < 16; k++) {
            auto left = emulator::of<Registers>(slots, 4 * g + k % 8 / 2);
            auto right = emulator::of<Registers>(slots, 4 * column + k % 8 / 2);
            sum += number(left.a[row + 2 * (k / 8)], k % 2) * number(right.b[k / 8], k % 2);
        }
        d[place] += sum;
    }
}

inline unsigned char *emulated_dynamic_shared() {
    return (unsigned char *)(((uintptr_t)emulator::block().dynamic_shared.data() + 15) & ~(uintptr_t)15);
}

inline float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}
inline int __float_as_int(float value) {
    return (int)__float_as_uint(value);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((uint64_t)a * b >> 32);
}
inline int __popc(unsigned value) {
    return __builtin_popcount(value);
}
inline int __ffs(unsigned value) {
    return __builtin_ffs((int)value);
}
inline float rsqrtf(float value) {
    return 1.0f / std::sqrt(value);
}
inline float __expf(float value) {
    return std::exp(value);
}
inline float __fdividef(float dividend, float divisor) {
    return dividend / divisor;
}
inline float __logf(float value) {
    return std::log(value);
}
template <typename V> inline V __ldg(const V *from) {
    return *from;
}
template <typename V> inline V min(V a, V b) {
    return b < a ? b : a;
}
template <typename V> inline V max(V a, V b) {
    return a < b ? b : a;
}
inline unsigned atomicAdd(unsigned *place, unsigned value) {
    return __atomic_fetch_add(place, value, __ATOMIC_SEQ_CST);
}
inline unsigned atomicMax(unsigned *place, unsigned value) {
    unsigned old = __atomic_load_n(place, __ATOMIC_SEQ_CST);
    while (old < value && !__atomic_compare_exchange_n(place, &old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
    return old;
}

// Asynchronous copies to shared memory: the bytes are not numbers until the thread waits for their group.
namespace emulator {
struct Copies {
    struct Copy {
        void *to;
        const void *from;
        int bytes;
        unsigned group;
    };
    std::vector<Copy> begun;
    unsigned group = 0;
};

/// Those of the thread that runs.
inline Copies &copies() {
    static thread_local std::vector<Copies> all(MOST_THREADS);
    return all[block().current];
}
}  // namespace emulator

/// Copies, or writes zeros where `from` is null.
inline void emulated_begin_copy(void *to, const void *from, int bytes) {
    std::memset(to, 0xff, bytes);
    emulator::copies().begun.push_back({to, from, bytes, emulator::copies().group});
}
inline void emulated_end_copies() {
    emulator::copies().group++;
}
inline void emulated_wait_for_copies(unsigned left) {
    emulator::Copies &mine = emulator::copies();
    auto is_late = [&](const emulator::Copies::Copy &copy) { return copy.group + left >= mine.group; };
    for (auto &copy : mine.begun) {
        if (is_late(copy)) continue;
        if (copy.from) std::memcpy(copy.to, copy.from, copy.bytes);
        else std::memset(copy.to, 0, copy.bytes);
    }
    mine.begun.erase(std::remove_if(mine.begun.begin(), mine.begun.end(), [&](auto &copy) { return !is_late(copy); }),
                     mine.begun.end());
}
