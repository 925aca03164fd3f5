// CUDA's words for g++, so that kernels.cu itself runs in tests without a GPU.
//
// The threads of a block are fibers that take turns in a fixed order, each as far as it can before it must wait:
// a warp goes on to the next __syncthreads while the others have not begun. So a barrier that is missing gives
// wrong answers in every run, forwards or backwards. What a warp's lanes do not all reach is an error.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#define CUDA_ON_CPU
#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(threads)

struct dim3 { unsigned x, y, z; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) ushort4 { unsigned short x, y, z, w; };
struct alignas(4) uchar4 { unsigned char x, y, z, w; };

inline dim3 gridDim, blockDim, blockIdx, threadIdx;

inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }

inline float bits_value(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

inline unsigned value_bits(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

// Exact by way of doubles, which hold every half and every float.
inline unsigned short half_bits(float x) {
    const unsigned sign = value_bits(x) >> 16 & 0x8000;
    const double size = std::fabs((double)x);
    if (std::isnan(x)) return sign | 0x7E00;
    if (size >= 65520) return sign | 0x7C00;
    const int exponent = size < 0x1p-14 ? -14 : std::ilogb(size);
    const unsigned steps = (unsigned)std::nearbyint(std::ldexp(size, 10 - exponent));
    // A carry out of the fraction counts the exponent up, as it should.
    return sign | ((unsigned)(exponent + 14 << 10) + steps);
}

inline float half_value(unsigned short bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float size = exponent ? std::ldexp(1024.0f + fraction, exponent - 25) : std::ldexp((float)fraction, -24);
    if (exponent == 31) size = fraction ? NAN : INFINITY;
    return bits & 0x8000 ? -size : size;
}

namespace on_cpu {

enum State { RUNS, AT_WARP, AT_BLOCK, DONE };

struct Fiber {
    State state = DONE;
    bool started = false;
    jmp_buf at;
    uint64_t published = 0;
    std::unique_ptr<char[]> stack;
};

inline std::vector<std::unique_ptr<Fiber>> fibers;
inline Fiber* current;
inline jmp_buf scheduler;
inline std::function<void()> body;

inline void wait(State state) {
    Fiber* self = current;
    self->state = state;
    if (!_setjmp(self->at)) _longjmp(scheduler, 1);
}

inline void live() {
    for (;;) {
        body();
        wait(DONE);
    }
}

inline void resume(unsigned thread) {
    current = fibers[thread].get();
    threadIdx = {thread, 0, 0};
    if (_setjmp(scheduler)) return;
    if (current->started) _longjmp(current->at, 1);
    constexpr size_t bytes = 64 << 10;
    ucontext_t context;
    getcontext(&context);
    current->stack = std::make_unique<char[]>(bytes);
    context.uc_stack.ss_sp = current->stack.get();
    context.uc_stack.ss_size = bytes;
    makecontext(&context, live, 0);
    current->started = true;
    setcontext(&context);
}

inline unsigned count(State state, unsigned first, unsigned last) {
    unsigned found = 0;
    for (unsigned thread = first; thread < last; ++thread) found += fibers[thread]->state == state;
    return found;
}

inline void release(State state, unsigned first, unsigned last) {
    for (unsigned thread = first; thread < last; ++thread)
        if (fibers[thread]->state == state) fibers[thread]->state = RUNS;
}

inline void run_warp(unsigned first, bool backwards) {
    for (;;) {
        for (unsigned lane = 0; lane < 32; ++lane) {
            const unsigned thread = first + (backwards ? 31 - lane : lane);
            if (fibers[thread]->state == RUNS) resume(thread);
        }
        const unsigned waiting = count(AT_WARP, first, first + 32);
        if (!waiting) return;
        if (waiting < 32) throw std::runtime_error("some lanes of a warp miss its shuffle");
        release(AT_WARP, first, first + 32);
    }
}

inline void run_block(bool backwards) {
    const unsigned threads = blockDim.x, warps = threads / 32;
    if (threads % 32 || blockDim.y != 1 || blockDim.z != 1) throw std::runtime_error("no whole warps");
    while (fibers.size() < threads) fibers.push_back(std::make_unique<Fiber>());
    release(DONE, 0, threads);
    for (;;) {
        for (unsigned warp = 0; warp < warps; ++warp) run_warp(32 * (backwards ? warps - 1 - warp : warp), backwards);
        if (count(DONE, 0, threads) == threads) return;
        if (count(AT_BLOCK, 0, threads) < threads) throw std::runtime_error("some threads miss __syncthreads");
        release(AT_BLOCK, 0, threads);
    }
}

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(arguments[I])...);
}

// The order of CUDA's blocks is free as well, so that it turns round with that of the threads.
template <class... A>
std::string launch(void (*kernel)(A...), const unsigned* grid, const unsigned* block, void** arguments, bool backwards) {
    static std::mutex one_at_a_time;
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    body = [=] { call(kernel, arguments, std::index_sequence_for<A...>()); };
    const unsigned blocks = grid[0] * grid[1] * grid[2];
    try {
        for (unsigned i = 0; i < blocks; ++i) {
            const unsigned flat = backwards ? blocks - 1 - i : i;
            blockIdx = {flat % grid[0], flat / grid[0] % grid[1], flat / grid[0] / grid[1]};
            run_block(backwards);
        }
    } catch (const std::runtime_error& error) {
        fibers.clear();  // some are stuck half-way
        return error.what();
    }
    return "";
}

// Letters of Python's ctypes: P void*, i int, I unsigned, f float.
template <class T> constexpr char letter = std::is_pointer_v<T> ? 'P' : 0;
template <> inline constexpr char letter<int> = 'i';
template <> inline constexpr char letter<unsigned> = 'I';
template <> inline constexpr char letter<float> = 'f';

template <class... A>
std::string signature(void (*)(A...)) { return {letter<A>...}; }

}  // namespace on_cpu

inline void __syncthreads() { on_cpu::wait(on_cpu::AT_BLOCK); }

template <class T>
T __shfl_xor_sync(unsigned, T mine, int far) {
    std::memcpy(&on_cpu::current->published, &mine, sizeof mine);
    on_cpu::wait(on_cpu::AT_WARP);
    const unsigned other = threadIdx.x ^ (unsigned)far;
    std::memcpy(&mine, &on_cpu::fibers[other]->published, sizeof mine);
    on_cpu::wait(on_cpu::AT_WARP);
    return mine;
}
