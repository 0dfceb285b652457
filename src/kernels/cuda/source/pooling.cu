// From token embeddings to one per sequence, and its length set to 1. Columns are a multiple of 8.

#define POOL_CLS 0
#define POOL_MEAN 1
#define POOL_MAX 2
#define POOL_WARPS 8
#define POOL_COLUMNS 256
#define LEAST_NORM 1e-12f

/// Pools tokens `cu_seqlens[s]` to `cu_seqlens[s + 1] - 1` of sequence s to row s of `pooled`, `[sequences, columns]`.
/// Blocks are (sequences, columns / 256); a warp takes every eighth token.
template <typename T>
__device__ __forceinline__ void pool(float *pooled, const T *tokens, const u32 *cu_seqlens, u32 columns, u32 kind) {
    __shared__ __align__(16) float of_warps[POOL_WARPS][POOL_COLUMNS];
    const u32 lane = threadIdx.x & 31, warp = threadIdx.x / WARP, sequence = blockIdx.x;
    const u32 column = POOL_COLUMNS * blockIdx.y + 8 * lane;
    const u32 first = cu_seqlens[sequence], end = cu_seqlens[sequence + 1], last = kind == POOL_CLS ? first + 1 : end;
    const float nothing = kind == POOL_MAX ? __uint_as_float(0xff800000u) : 0.0f;
    float result[8];
#pragma unroll
    for (int i = 0; i < 8; i++) result[i] = nothing;
    if (column < columns) {
#pragma unroll 4
        for (u32 token = first + warp; token < last; token += POOL_WARPS) {
            float x[8];
            load8(tokens + (u64)token * columns + column, x);
#pragma unroll
            for (int i = 0; i < 8; i++) result[i] = kind == POOL_MAX ? fmaxf(result[i], x[i]) : result[i] + x[i];
        }
    }
    store8(&of_warps[warp][8 * lane], result);
    __syncthreads();
    const u32 mine = POOL_COLUMNS * blockIdx.y + threadIdx.x;
    if (mine >= columns) return;
    float total = of_warps[0][threadIdx.x];
#pragma unroll
    for (int other = 1; other < POOL_WARPS; other++) {
        float value = of_warps[other][threadIdx.x];
        total = kind == POOL_MAX ? fmaxf(total, value) : total + value;
    }
    pooled[(u64)sequence * columns + mine] = kind == POOL_MEAN ? total / (float)(end - first) : total;
}

extern "C" __global__ void pool_bf16(float *pooled, const bf16 *__restrict__ tokens,
                                     const u32 *__restrict__ cu_seqlens, u32 columns, u32 kind) {
    pool(pooled, tokens, cu_seqlens, columns, kind);
}
extern "C" __global__ void pool_f32(float *pooled, const float *__restrict__ tokens,
                                    const u32 *__restrict__ cu_seqlens, u32 columns, u32 kind) {
    pool(pooled, tokens, cu_seqlens, columns, kind);
}

/// Writes the gradient by all tokens, given that by the pooled embeddings; that of a maximum goes to the first token
/// that has it. Blocks and warps as in `pool`; `tokens` is read for the maximum alone.
template <typename T>
__device__ __forceinline__ void pool_backward(T *d_tokens, const T *tokens, const u32 *cu_seqlens,
                                              const float *d_pooled, u32 columns, u32 kind) {
    __shared__ __align__(16) float of_warps[POOL_WARPS][POOL_COLUMNS];
    __shared__ u32 places[POOL_WARPS][POOL_COLUMNS];
    const u32 lane = threadIdx.x & 31, warp = threadIdx.x / WARP, sequence = blockIdx.x;
    const u32 column = POOL_COLUMNS * blockIdx.y + 8 * lane;
    const u32 first = cu_seqlens[sequence], last = cu_seqlens[sequence + 1];
    // The token that the gradient goes to, where it is one.
    u32 target[8];
#pragma unroll
    for (int i = 0; i < 8; i++) target[i] = first;
    if (kind == POOL_MAX) {
        float most[8];
#pragma unroll
        for (int i = 0; i < 8; i++) most[i] = __uint_as_float(0xff800000u);
        if (column < columns) {
#pragma unroll 4
            for (u32 token = first + warp; token < last; token += POOL_WARPS) {
                float x[8];
                load8(tokens + (u64)token * columns + column, x);
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    target[i] = x[i] > most[i] ? token : target[i];
                    most[i] = fmaxf(most[i], x[i]);
                }
            }
        }
        store8(&of_warps[warp][8 * lane], most);
#pragma unroll
        for (int i = 0; i < 8; i++) places[warp][8 * lane + i] = target[i];
        __syncthreads();
        float best = of_warps[0][threadIdx.x];
        u32 place = places[0][threadIdx.x];
#pragma unroll
        for (int other = 1; other < POOL_WARPS; other++) {
            float value = of_warps[other][threadIdx.x];
            u32 there = places[other][threadIdx.x];
            bool better = value > best || (value == best && there < place);
            best = better ? value : best;
            place = better ? there : place;
        }
        __syncthreads();
        places[0][threadIdx.x] = place;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 8; i++) target[i] = places[0][8 * lane + i];
    }
    if (column >= columns) return;
    const float share = 1.0f / (float)(last - first);
    float d[8];
    load8(d_pooled + (u64)sequence * columns + column, d);
    for (u32 token = first + warp; token < last; token += POOL_WARPS) {
        float mine[8];
#pragma unroll
        for (int i = 0; i < 8; i++) mine[i] = kind == POOL_MEAN ? share * d[i] : token == target[i] ? d[i] : 0.0f;
        store8(d_tokens + (u64)token * columns + column, mine);
    }
}

extern "C" __global__ void pool_backward_bf16(bf16 *d_tokens, const bf16 *__restrict__ tokens,
                                              const u32 *__restrict__ cu_seqlens, const float *__restrict__ d_pooled,
                                              u32 columns, u32 kind) {
    pool_backward(d_tokens, tokens, cu_seqlens, d_pooled, columns, kind);
}
extern "C" __global__ void pool_backward_f32(float *d_tokens, const float *__restrict__ tokens,
                                             const u32 *__restrict__ cu_seqlens, const float *__restrict__ d_pooled,
                                             u32 columns, u32 kind) {
    pool_backward(d_tokens, tokens, cu_seqlens, d_pooled, columns, kind);
}

/// Divides each row by its norm, which goes to `norms`. A warp takes a row.
extern "C" __global__ void normalize_rows(float *normalized, float *norms, const float *__restrict__ values, u32 rows,
                                          u32 columns) {
    const u32 row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x & 31;
    if (row >= rows) return;
    const u64 start = (u64)row * columns;
    float x[8], squares = 0.0f;
    for (u32 piece = lane; piece < columns / 8; piece += WARP) {
        load8(values + start + 8 * piece, x);
#pragma unroll
        for (int i = 0; i < 8; i++) squares += x[i] * x[i];
    }
    const float norm = fmaxf(sqrtf(warp_sum(squares)), LEAST_NORM);
    for (u32 piece = lane; piece < columns / 8; piece += WARP) {
        load8(values + start + 8 * piece, x);
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] /= norm;
        store8(normalized + start + 8 * piece, x);
    }
    if (lane == 0) norms[row] = norm;
}

/// The gradient by the rows that were normalised, given that by the normalised ones, in place if wanted. A warp takes a
/// row.
extern "C" __global__ void normalize_rows_backward(float *d_values, const float *__restrict__ normalized,
                                                   const float *__restrict__ norms, const float *d_normalized, u32 rows,
                                                   u32 columns) {
    const u32 row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x & 31;
    if (row >= rows) return;
    const u64 start = (u64)row * columns;
    float x[8], d[8], along = 0.0f;
    for (u32 piece = lane; piece < columns / 8; piece += WARP) {
        load8(normalized + start + 8 * piece, x);
        load8(d_normalized + start + 8 * piece, d);
#pragma unroll
        for (int i = 0; i < 8; i++) along += x[i] * d[i];
    }
    along = warp_sum(along);
    const float norm = norms[row];
    for (u32 piece = lane; piece < columns / 8; piece += WARP) {
        load8(normalized + start + 8 * piece, x);
        load8(d_normalized + start + 8 * piece, d);
#pragma unroll
        for (int i = 0; i < 8; i++) d[i] = (d[i] - x[i] * along) / norm;
        store8(d_values + start + 8 * piece, d);
    }
}
