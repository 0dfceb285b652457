// AdamW over flat float32 parameters, and the gradient's norm. All arrays begin at multiples of 16 bytes.

#define SQUARES_BLOCK 65536u
#define SQUARES_WARPS 8
#define NORM_WARPS 32

/// The sum of squares of each 65,536 numbers: squares of four are added in float32, all else in float64. A square
/// beyond float32 makes the sum infinite.
extern "C" __global__ void sum_of_squares(double *partials, const float *__restrict__ values, u32 count) {
    __shared__ double of_warps[SQUARES_WARPS];
    const u64 block = (u64)blockIdx.x * SQUARES_BLOCK;
    double sum = 0.0;
#pragma unroll 4
    for (u32 offset = 4 * threadIdx.x; offset < SQUARES_BLOCK; offset += 4 * SQUARES_WARPS * WARP) {
        const u64 place = block + offset;
        float squares = 0.0f;
        if (place + 4 <= count) {
            Words words = *(const Words *)(values + place);
#pragma unroll
            for (int i = 0; i < 4; i++) squares += __uint_as_float(words.word[i]) * __uint_as_float(words.word[i]);
        } else {
            for (u64 last = place; last < count; last++) squares += values[last] * values[last];
        }
        sum += (double)squares;
    }
    sum = warp_sum(sum);
    if ((threadIdx.x & 31) == 0) of_warps[threadIdx.x / WARP] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int warp = 1; warp < SQUARES_WARPS; warp++) sum += of_warps[warp];
    partials[blockIdx.x] = sum;
}

/// The root of the sum of all parts. One block.
extern "C" __global__ void norm_of_squares(float *norm, const double *__restrict__ partials, u32 parts) {
    __shared__ double of_warps[NORM_WARPS];
    double sum = 0.0;
    for (u32 part = threadIdx.x; part < parts; part += NORM_WARPS * WARP) sum += partials[part];
    sum = warp_sum(sum);
    if ((threadIdx.x & 31) == 0) of_warps[threadIdx.x / WARP] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int warp = 1; warp < NORM_WARPS; warp++) sum += of_warps[warp];
    *norm = (float)sqrt(sum);
}

/// The last of sorted ranges that begins at `place` or before; 0 where none does.
__device__ __forceinline__ u32 range_of(const u32 *firsts, u32 ranges, u32 place) {
    u32 low = 0, high = ranges;
    while (high - low > 1) {
        u32 middle = (low + high) / 2;
        if (firsts[middle] <= place)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/// 8 bytes, moved at once.
struct __align__(8) TwoWords {
    u32 word[2];
};

/// Writes 4 consecutive numbers; the address must be a multiple of their size.
__device__ __forceinline__ void store4(bf16 *to, const float (&from)[4]) {
    TwoWords words;
    words.word[0] = pack_bf16(from[0], from[1]);
    words.word[1] = pack_bf16(from[2], from[3]);
    *(TwoWords *)to = words;
}

__device__ __forceinline__ void store4(float *to, const float (&from)[4]) {
    Words words;
#pragma unroll
    for (int i = 0; i < 4; i++) words.word[i] = __float_as_uint(from[i]);
    *(Words *)to = words;
}

struct AdamW {
    float clip, first_share, beta2, second_share, epsilon, step_size, second_correction_sqrt;
};

__device__ __forceinline__ void adamw_number(const AdamW &step, float weight_factor, float gradient, float &weight,
                                             float &m, float &v) {
    gradient *= step.clip;
    m += step.first_share * (gradient - m);
    v = step.beta2 * v + step.second_share * gradient * gradient;
    float denominator = sqrtf(v) / step.second_correction_sqrt + step.epsilon;
    weight = weight * weight_factor - step.step_size * (m / denominator);
}

/// One step over the numbers within `ranges` sorted ranges, from `firsts[r]` to `ends[r] - 1`, whose weights are first
/// multiplied by `decay_factor` where `decays[r]` is not 0. The rounded weights go to `shadow` (may be none), the
/// gradient becomes 0. Where the gradient's norm is not finite nothing happens at all. A thread takes four numbers.
template <typename T>
__device__ __forceinline__ void adamw(float *weights, float *gradient, float *first, float *second, T *shadow,
                                      const float *norm, const u32 *firsts, const u32 *ends, const u32 *decays,
                                      u32 ranges, u32 count, float max_grad_norm, float first_share, float beta2,
                                      float second_share, float epsilon, float step_size, float second_correction_sqrt,
                                      float decay_factor) {
    const u64 place = 4 * ((u64)blockIdx.x * blockDim.x + threadIdx.x);
    const float length = *norm;
    if (place >= count || (__float_as_uint(length) & 0x7f800000u) == 0x7f800000u) return;
    // The small number is torch's clip_grad_norm_'s.
    const float clip = max_grad_norm > 0.0f ? fminf(max_grad_norm / (length + 1e-6f), 1.0f) : 1.0f;
    const AdamW step = {clip, first_share, beta2, second_share, epsilon, step_size, second_correction_sqrt};
    const u32 range = range_of(firsts, ranges, (u32)place);
    if (firsts[range] <= place && place + 4 <= ends[range]) {
        const float weight_factor = decays[range] != 0 ? decay_factor : 1.0f;
        Words w = *(const Words *)(weights + place), g = *(const Words *)(gradient + place);
        Words m = *(const Words *)(first + place), v = *(const Words *)(second + place), zeros = {};
        float updated[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float weight = __uint_as_float(w.word[i]);
            float mean = __uint_as_float(m.word[i]), square = __uint_as_float(v.word[i]);
            adamw_number(step, weight_factor, __uint_as_float(g.word[i]), weight, mean, square);
            w.word[i] = __float_as_uint(weight);
            m.word[i] = __float_as_uint(mean);
            v.word[i] = __float_as_uint(square);
            updated[i] = weight;
        }
        *(Words *)(weights + place) = w;
        *(Words *)(first + place) = m;
        *(Words *)(second + place) = v;
        *(Words *)(gradient + place) = zeros;
        if (shadow != 0) store4(shadow + place, updated);
        return;
    }
    // Some of the four lie in another range, or in none.
    for (u64 one = place; one < place + 4 && one < count; one++) {
        const u32 mine = range_of(firsts, ranges, (u32)one);
        if (one < firsts[mine] || one >= ends[mine]) continue;
        adamw_number(step, decays[mine] != 0 ? decay_factor : 1.0f, gradient[one], weights[one], first[one],
                     second[one]);
        gradient[one] = 0.0f;
        if (shadow != 0) shadow[one] = Convert<T>::from(weights[one]);
    }
}

#define ADAMW_TAKES(T)                                                                                                 \
    float *__restrict__ weights, float *__restrict__ gradient, float *__restrict__ first, float *__restrict__ second,  \
        T *__restrict__ shadow, const float *__restrict__ norm, const u32 *__restrict__ firsts,                        \
        const u32 *__restrict__ ends, const u32 *__restrict__ decays, u32 ranges, u32 count, float max_grad_norm,      \
        float first_share, float beta2, float second_share, float epsilon, float step_size,                            \
        float second_correction_sqrt, float decay_factor
#define ADAMW_RUNS                                                                                                     \
    {                                                                                                                  \
        adamw(weights, gradient, first, second, shadow, norm, firsts, ends, decays, ranges, count, max_grad_norm,      \
              first_share, beta2, second_share, epsilon, step_size, second_correction_sqrt, decay_factor);             \
    }

extern "C" __global__ void adamw_bf16(ADAMW_TAKES(bf16)) ADAMW_RUNS
extern "C" __global__ void adamw_f32(ADAMW_TAKES(float)) ADAMW_RUNS
