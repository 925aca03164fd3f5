// What our own code does on the device: pixels into a network's input, and a network's scores into its best
// classes. Compiled by NVRTC at the first start on a device, so nothing is included; the tests compile it for
// the CPU (tests/engines/cuda/cuda_on_cpu.h).

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifndef CUDA_ON_CPU  // which brings its own two
__device__ __forceinline__ u16 half_bits(float x) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

__device__ __forceinline__ float half_value(u16 bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

__device__ __forceinline__ float bits_value(u32 bits) { return __uint_as_float(bits); }
__device__ __forceinline__ u32 value_bits(float x) { return __float_as_uint(x); }
#endif

struct Fp32 {
    typedef float type;
    typedef float4 four;
    static __device__ __forceinline__ type from(float x) { return x; }
    static __device__ __forceinline__ float value(type x) { return x; }
};

struct Fp16 {
    typedef u16 type;
    typedef ushort4 four;
    static __device__ __forceinline__ type from(float x) { return half_bits(x); }
    static __device__ __forceinline__ float value(type x) { return half_value(x); }
};

struct Bf16 {
    typedef u16 type;
    static __device__ __forceinline__ float value(type x) { return bits_value((u32)x << 16); }
};

struct Uint8 {
    typedef u8 type;
    typedef uchar4 four;
    static __device__ __forceinline__ type from(float x) { return (u8)x; }
};

// ---- normalise ----------------------------------------------------------------------------------------
// uint8 [rows, H, W, 3] to x * gain - offset, to the last bit as the nodes of engines/graph.py compute it:
// rounded after each step, and grey as a matrix product does, which adds with one rounding.
//
// A thread makes four values of a channel that lie side by side, of one image after another along grid.y.
// Where H * W is a multiple of four, all is read and written as words; elsewhere byte by byte.

__device__ __forceinline__ float affine(float x, float gain, float offset) {
    return __fsub_rn(__fmul_rn(x, gain), offset);
}

__device__ __forceinline__ u32 first_of_four() { return 4 * (blockIdx.x * blockDim.x + threadIdx.x); }

// `count` bytes from the word at `from`, 12 at most; those that are not there are 0.
__device__ __forceinline__ void load_words(const u8* from, u32 (&words)[3], u32 count, bool aligned) {
    if (aligned) {
        for (u32 i = 0; i < 3; ++i) words[i] = 4 * i < count ? ((const u32*)from)[i] : 0;
        return;
    }
    words[0] = words[1] = words[2] = 0;
#pragma unroll
    for (u32 i = 0; i < 12; ++i)
        if (i < count) words[i / 4] |= (u32)from[i] << (8 * (i % 4));
}

__device__ __forceinline__ float byte_of(const u32 (&words)[3], u32 i) {
    return (float)((words[i / 4] >> (8 * (i % 4))) & 255);
}

template <class Out>
__device__ __forceinline__ void store_four(
    typename Out::type* to, const float (&values)[4], u32 count, bool aligned) {
    if (aligned) {
        *(typename Out::four*)to = {
            Out::from(values[0]), Out::from(values[1]), Out::from(values[2]), Out::from(values[3])};
        return;
    }
#pragma unroll
    for (u32 i = 0; i < 4; ++i)
        if (i < count) to[i] = Out::from(values[i]);
}

// [rows, 3, H, W]
template <class Out>
__device__ __forceinline__ void planes(const u8* source, typename Out::type* target, int rows, u32 pixels,
    int reverse, const float (&gain)[3], const float (&offset)[3]) {
    const u32 first = first_of_four();
    if (first >= pixels) return;
    const bool aligned = pixels % 4 == 0;
    const u32 count = pixels - first < 4 ? pixels - first : 4;
    for (u32 image = blockIdx.y; image < (u32)rows; image += gridDim.y) {
        const u64 begin = 3 * (u64)image * pixels;
        u32 words[3];
        load_words(source + begin + 3 * (u64)first, words, 3 * count, aligned);
#pragma unroll
        for (u32 c = 0; c < 3; ++c) {
            float values[4];
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                const float x = reverse ? byte_of(words, 3 * i + 2 - c) : byte_of(words, 3 * i + c);
                values[i] = affine(x, gain[c], offset[c]);
            }
            store_four<Out>(target + begin + (u64)c * pixels + first, values, count, aligned);
        }
    }
}

// [rows, H, W, 3]: four values are neighbours, not pixels, so that a warp writes without gaps.
template <class Out>
__device__ __forceinline__ void interleaved(const u8* source, typename Out::type* target, int rows,
    u32 pixels, int reverse, const float (&gain)[3], const float (&offset)[3]) {
    const u32 first = first_of_four();
    if (first >= 3 * pixels) return;
    const bool aligned = pixels % 4 == 0;
    const u32 count = 3 * pixels - first < 4 ? 3 * pixels - first : 4;
    for (u32 image = blockIdx.y; image < (u32)rows; image += gridDim.y) {
        const u64 begin = 3 * (u64)image * pixels;
        const u8* from = source + begin;
        float values[4] = {0, 0, 0, 0};
        u32 words[3];
        if (!reverse) load_words(from + first, words, count, aligned);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            if (i >= count) break;
            const u32 c = (first + i) % 3;
            // The mirrored byte of a pixel may lie in another word; the cache has it.
            const float x = reverse ? (float)from[first + i + 2 - 2 * c] : byte_of(words, i);
            values[i] = affine(x, c == 0 ? gain[0] : c == 1 ? gain[1] : gain[2],
                c == 0 ? offset[0] : c == 1 ? offset[1] : offset[2]);
        }
        store_four<Out>(target + begin + first, values, count, aligned);
    }
}

// [rows, 1, H, W], which is [rows, H, W, 1]: BT.601 grey, whose weights are the last three.
template <class Out>
__device__ __forceinline__ void grey(const u8* source, typename Out::type* target, int rows, u32 pixels,
    int reverse, float gain, float offset, const float (&luma)[3]) {
    const u32 first = first_of_four();
    if (first >= pixels) return;
    const bool aligned = pixels % 4 == 0;
    const u32 count = pixels - first < 4 ? pixels - first : 4;
    for (u32 image = blockIdx.y; image < (u32)rows; image += gridDim.y) {
        const u64 begin = (u64)image * pixels + first;
        u32 words[3];
        load_words(source + 3 * begin, words, 3 * count, aligned);
        float values[4];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            const float a = byte_of(words, 3 * i), b = byte_of(words, 3 * i + 2);
            const float x = __fmul_rn(reverse ? b : a, luma[0]);
            const float xy = __fmaf_rn(byte_of(words, 3 * i + 1), luma[1], x);
            values[i] = affine(__fmaf_rn(reverse ? a : b, luma[2], xy), gain, offset);
        }
        store_four<Out>(target + begin, values, count, aligned);
    }
}

#define NORMALISE_COLOUR(name, Out, body)                                                                 \
    extern "C" __global__ void __launch_bounds__(256) normalise_##name(const u8* source,                  \
        Out::type* target, int rows, u32 pixels, int reverse, float g0, float g1, float g2, float o0,     \
        float o1, float o2) {                                                                             \
        const float gain[3] = {g0, g1, g2}, offset[3] = {o0, o1, o2};                                     \
        body<Out>(source, target, rows, pixels, reverse, gain, offset);                                   \
    }

#define NORMALISE(name, Out)                                                                              \
    NORMALISE_COLOUR(nchw_##name, Out, planes)                                                            \
    NORMALISE_COLOUR(nhwc_##name, Out, interleaved)                                                       \
    extern "C" __global__ void __launch_bounds__(256) normalise_grey_##name(const u8* source,             \
        Out::type* target, int rows, u32 pixels, int reverse, float gain, float offset, float red,        \
        float green, float blue) {                                                                        \
        const float luma[3] = {red, green, blue};                                                         \
        grey<Out>(source, target, rows, pixels, reverse, gain, offset, luma);                             \
    }

NORMALISE(fp32, Fp32)
NORMALISE(fp16, Fp16)
NORMALISE(uint8, Uint8)

// ---- rank ---------------------------------------------------------------------------------------------
// The k best of [rows, classes], as engines/classify.py has it. One block per row, of whole warps.
//
// A score and its index make one number that orders as classes rank: the score's bits, turned so that they
// grow with it, above the index, turned so that it falls. So each number exists once, the best is a maximum,
// and the next best is the maximum of those below. Every thread keeps its own best that has not won yet;
// after each round only the winner's thread has to look again.

static const u32 NEGATIVE_INFINITY = 0x007FFFFF, POSITIVE_INFINITY = 0xFF800000;  // as `ordered` has them

__device__ __forceinline__ u32 ordered(float x) {
    const u32 bits = value_bits(x);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return 0xFFC00000;  // NaN goes before everything, to be seen
    if (bits == 0x80000000) return 0x80000000;                // -0 equals 0
    return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

__device__ __forceinline__ u64 rank_key(float x, u32 index) { return (u64)ordered(x) << 32 | ~index; }
__device__ __forceinline__ u32 index_of(u64 key) { return ~(u32)key; }

struct Largest {
    static __device__ __forceinline__ u64 both(u64 a, u64 b) { return a > b ? a : b; }
};

struct Sum {
    static __device__ __forceinline__ float both(float a, float b) { return a + b; }
};

template <class Op, class T>
__device__ __forceinline__ T of_warp(T mine) {
#pragma unroll
    for (int far = 16; far > 0; far /= 2) mine = Op::both(mine, __shfl_xor_sync(0xFFFFFFFF, mine, far));
    return mine;
}

// The same for every thread. `warps` has room for one T of each warp; 0 must change nothing.
template <class Op, class T>
__device__ __forceinline__ T of_block(T mine, T* warps) {
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    mine = of_warp<Op>(mine);
    __syncthreads();  // all have read what the last call left
    if (lane == 0) warps[warp] = mine;
    __syncthreads();
    return of_warp<Op>(lane < blockDim.x / 32 ? warps[lane] : (T)0);
}

template <class In>
__device__ __forceinline__ u64 best_below(const typename In::type* row, u32 classes, u64 limit) {
    u64 best = 0;
    for (u32 i = threadIdx.x; i < classes; i += blockDim.x) {
        const u64 key = rank_key(In::value(row[i]), i);
        if (key < limit && key > best) best = key;
    }
    return best;
}

__device__ __forceinline__ float probability(float x, float best, float total, u32 classes) {
    if (classes > 1) return expf(x - best) / total;
    const float half = expf(-fabsf(x));
    return (x >= 0 ? 1.0f : half) / (1 + half);
}

template <class In>
__device__ __forceinline__ void rank(const typename In::type* scores, u32 classes, int k, int probabilities,
    float* top_scores, int* top_indices) {
    __shared__ u64 keys[32];
    __shared__ float sums[32];
    const typename In::type* row = scores + (u64)blockIdx.x * classes;
    top_scores += (u64)blockIdx.x * k;
    top_indices += (u64)blockIdx.x * k;

    u64 mine = best_below<In>(row, classes, ~(u64)0);
    u64 winner = of_block<Largest>(mine, keys);
    const u32 high = winner >> 32;
    if (high >= POSITIVE_INFINITY || high == NEGATIVE_INFINITY) {
        if (threadIdx.x < (u32)k) {
            top_scores[threadIdx.x] = bits_value(0x7FC00000);
            top_indices[threadIdx.x] = (int)threadIdx.x;
        }
        return;
    }
    const float best = In::value(row[index_of(winner)]);
    float total = 0;
    if (!probabilities && classes > 1) {
        for (u32 i = threadIdx.x; i < classes; i += blockDim.x) total += expf(In::value(row[i]) - best);
        total = of_block<Sum>(total, sums);
    }
    for (int place = 0;; ++place) {
        if (threadIdx.x == 0) {
            const float x = In::value(row[index_of(winner)]);
            top_scores[place] = probabilities ? x : probability(x, best, total, classes);
            top_indices[place] = (int)index_of(winner);
        }
        if (place + 1 == k) return;
        if (mine == winner) mine = best_below<In>(row, classes, winner);
        winner = of_block<Largest>(mine, keys);
    }
}

#define RANK(name, In)                                                                                    \
    extern "C" __global__ void __launch_bounds__(1024) rank_##name(const In::type* scores, u32 classes,   \
        int k, int probabilities, float* top_scores, int* top_indices) {                                  \
        rank<In>(scores, classes, k, probabilities, top_scores, top_indices);                             \
    }

RANK(fp32, Fp32)
RANK(fp16, Fp16)
RANK(bf16, Bf16)
