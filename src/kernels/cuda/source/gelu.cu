// Exact GELU, x Φ(x), and its derivative, by the CPU engine's formula (kernels/gelu.rs): one exponential serves both.

/// Φ(x) and φ(x), the normal distribution's integral and density.
__device__ __forceinline__ void gelu_normal(float x, float &integral, float &density) {
    // An exact quotient would be a fifth of the work. The divisor is 1 or more, the formula good to 1.5e-7.
    float t = __fdividef(1.0f, fmaf(fabsf(x), 0.3275911f * 0.70710678f, 1.0f));
    float e = __expf(-0.5f * x * x);
    float p = fmaf(1.061405429f, t, -1.453152027f);
    p = fmaf(p, t, 1.421413741f);
    p = fmaf(p, t, -0.284496736f);
    p = fmaf(p, t, 0.254829592f);
    float tail = 0.5f * p * t * e;
    integral = x >= 0.0f ? 1.0f - tail : tail;
    density = 0.39894228f * e;
}

/// A thread takes 8 numbers.
template <typename T> __device__ __forceinline__ void gelu(T *activated, const T *hidden, u32 pieces) {
    const u32 piece = blockIdx.x * blockDim.x + threadIdx.x;
    if (piece >= pieces) return;
    float x[8], integral, density;
    load8(hidden + 8 * (u64)piece, x);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        gelu_normal(x[i], integral, density);
        x[i] *= integral;
    }
    store8(activated + 8 * (u64)piece, x);
}

extern "C" __global__ void gelu_bf16(bf16 *activated, const bf16 *hidden, u32 pieces) {
    gelu(activated, hidden, pieces);
}
extern "C" __global__ void gelu_f32(float *activated, const float *hidden, u32 pieces) {
    gelu(activated, hidden, pieces);
}

/// Turns `d`, the gradient by GELU's output, into that by its input, writes the output anew, and sums d's columns;
/// blocks and `partials` as `sum_tile` says.
template <typename T>
__device__ __forceinline__ void gelu_backward(T *d, T *activated, float *partials, const T *hidden, u32 rows,
                                              u32 columns, u32 block_rows) {
    sum_tile<1>(partials, rows, columns, block_rows, [&](u32 row, u32 column, float (&sums)[1][8]) {
        const u64 place = (u64)row * columns + column;
        float x[8], slope[8], integral, density;
        load8(hidden + place, x);
        load8(d + place, slope);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            gelu_normal(x[i], integral, density);
            slope[i] *= integral + x[i] * density;
            x[i] *= integral;
            sums[0][i] += slope[i];
        }
        store8(d + place, slope);
        store8(activated + place, x);
    });
}

extern "C" __global__ void gelu_backward_bf16(bf16 *__restrict__ d, bf16 *__restrict__ activated, float *partials,
                                              const bf16 *__restrict__ hidden, u32 rows, u32 columns, u32 block_rows) {
    gelu_backward(d, activated, partials, hidden, rows, columns, block_rows);
}
extern "C" __global__ void gelu_backward_f32(float *__restrict__ d, float *__restrict__ activated, float *partials,
                                             const float *__restrict__ hidden, u32 rows, u32 columns, u32 block_rows) {
    gelu_backward(d, activated, partials, hidden, rows, columns, block_rows);
}
