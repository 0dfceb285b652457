// Layer norms with what stands before them (bias, dropout, residual sum), and sums over columns. A warp takes a row;
// rows of up to 1,024 columns stay in registers, in instances `_1` to `_4` for so many pieces of 256 columns, longer
// ones are read again (`_any`). Columns are a multiple of 8; rows and float32 arrays begin at multiples of 16 bytes.

/// output = norm(residual + dropout(hidden + bias)). `normalized` and `inverse` may be none; `normalized` may be
/// `hidden`.
template <int PIECES, typename T>
__device__ __forceinline__ void residual_norm(T *normalized, float *inverse, T *output, const T *hidden,
                                              const T *residual, const float *bias, const float *weight,
                                              const float *shift, const u32 *mask, u32 rows, u32 columns, u32 row_words,
                                              float scale, float epsilon) {
    const u32 row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (row >= rows) return;
    const u64 start = (u64)row * columns;
    const u32 *kept = mask_row(mask, row, row_words);
    auto read = [&](u32 piece, float (&x)[8]) {
        float other[8];
        load8(hidden + start + 8 * piece, x);
        load8(bias + 8 * piece, other);
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] += other[i];
        mask8(x, kept, piece, scale);
        load8(residual + start + 8 * piece, other);
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] += other[i];
    };
    auto write = [&](u32 piece, float (&x)[8]) {
        float factor[8], addend[8];
        if (normalized != 0) store8(normalized + start + 8 * piece, x);
        load8(weight + 8 * piece, factor);
        load8(shift + 8 * piece, addend);
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] = x[i] * factor[i] + addend[i];
        store8(output + start + 8 * piece, x);
    };
    float deviation = normalize_row<PIECES>(columns, epsilon, read, write);
    if (inverse != 0 && (threadIdx.x & 31) == 0) inverse[row] = deviation;
}

#define RESIDUAL_NORM_TAKES(T)                                                                                         \
    T *normalized, float *inverse, T *output, const T *hidden, const T *residual, const float *__restrict__ bias,      \
        const float *__restrict__ weight, const float *__restrict__ shift, const u32 *__restrict__ mask, u32 rows,     \
        u32 columns, u32 row_words, float scale, float epsilon
#define RESIDUAL_NORM_RUNS(PIECES)                                                                                     \
    {                                                                                                                  \
        residual_norm<PIECES>(normalized, inverse, output, hidden, residual, bias, weight, shift, mask, rows, columns, \
                              row_words, scale, epsilon);                                                              \
    }

extern "C" __global__ void residual_norm_1_bf16(RESIDUAL_NORM_TAKES(bf16)) RESIDUAL_NORM_RUNS(1)
extern "C" __global__ void residual_norm_2_bf16(RESIDUAL_NORM_TAKES(bf16)) RESIDUAL_NORM_RUNS(2)
extern "C" __global__ void residual_norm_3_bf16(RESIDUAL_NORM_TAKES(bf16)) RESIDUAL_NORM_RUNS(3)
extern "C" __global__ void residual_norm_4_bf16(RESIDUAL_NORM_TAKES(bf16)) RESIDUAL_NORM_RUNS(4)
extern "C" __global__ void residual_norm_any_bf16(RESIDUAL_NORM_TAKES(bf16)) RESIDUAL_NORM_RUNS(0)
extern "C" __global__ void residual_norm_1_f32(RESIDUAL_NORM_TAKES(float)) RESIDUAL_NORM_RUNS(1)
extern "C" __global__ void residual_norm_2_f32(RESIDUAL_NORM_TAKES(float)) RESIDUAL_NORM_RUNS(2)
extern "C" __global__ void residual_norm_3_f32(RESIDUAL_NORM_TAKES(float)) RESIDUAL_NORM_RUNS(3)
extern "C" __global__ void residual_norm_4_f32(RESIDUAL_NORM_TAKES(float)) RESIDUAL_NORM_RUNS(4)
extern "C" __global__ void residual_norm_any_f32(RESIDUAL_NORM_TAKES(float)) RESIDUAL_NORM_RUNS(0)

/// Adds the warps' sums of columns in order and writes them to `partial`, `[columns]`; `shared` is `[warps, columns]`.
template <int PIECES>
__device__ __forceinline__ void add_warps(float *partial, float *shared, const float (&sums)[PIECES][8], u32 columns) {
    const u32 lane = threadIdx.x & 31, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
#pragma unroll
    for (int p = 0; p < PIECES; p++)
        if (32u * p + lane < columns / 8) store8(shared + warp * columns + 8 * (32u * p + lane), sums[p]);
    __syncthreads();
    for (u32 column = threadIdx.x; column < columns; column += blockDim.x) {
        float sum = shared[column];
        for (u32 other = 1; other < warps; other++) sum += shared[other * columns + column];
        partial[column] = sum;
    }
    __syncthreads();
}

/// The gradient by a norm's input: d_sum from d_output, which may be the same memory and is first multiplied by
/// `output_mask`; then d_hidden (may be none), which is d_sum times `input_mask`. A block takes `block_rows` rows and
/// writes their sums to `partials`, `[blocks, 3, columns]`: the gradients by weight and shift, and d_hidden's columns.
template <int PIECES, typename T>
__device__ __forceinline__ void norm_backward(T *d_sum, T *d_hidden, float *partials, const T *d_output,
                                              const T *normalized, const float *inverse, const float *weight,
                                              const u32 *input_mask, const u32 *output_mask, u32 rows, u32 columns,
                                              u32 row_words, u32 block_rows, float scale) {
    DYNAMIC_SHARED(shared);
    const u32 lane = threadIdx.x & 31, warp = threadIdx.x / WARP, warps = blockDim.x / WARP, pieces = columns / 8;
    const bool has_last = 32 * (PIECES - 1) + lane < pieces;
    float d_weight[PIECES][8] = {}, d_shift[PIECES][8] = {}, d_bias[PIECES][8] = {};
    const u32 first = blockIdx.x * block_rows, last = min(first + block_rows, rows);
    for (u32 row = first + warp; row < last; row += warps) {
        const u64 start = (u64)row * columns;
        const u32 *before = mask_row(output_mask, row, row_words), *after = mask_row(input_mask, row, row_words);
        float d[PIECES][8], x[PIECES][8], mean = 0.0f, along = 0.0f;
        const float deviation = inverse[row];
#pragma unroll
        for (int p = 0; p < PIECES; p++) {
            u32 piece = min(32u * p + lane, pieces - 1);
            load8(d_output + start + 8 * piece, d[p]);
            load8(normalized + start + 8 * piece, x[p]);
        }
#pragma unroll
        for (int p = 0; p < PIECES; p++) {
            u32 piece = min(32u * p + lane, pieces - 1);
            bool mine = p < PIECES - 1 || has_last;
            float factor[8];
            load8(weight + 8 * piece, factor);
            mask8(d[p], before, piece, scale);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                float value = mine ? d[p][i] : 0.0f;
                d_shift[p][i] += value;
                d_weight[p][i] += value * x[p][i];
                value *= factor[i];
                mean += value;
                along += value * x[p][i];
                d[p][i] = value;
            }
        }
        mean = warp_sum(mean) / (float)columns;
        along = warp_sum(along) / (float)columns;
#pragma unroll
        for (int p = 0; p < PIECES; p++) {
            u32 piece = 32u * p + lane;
            if (p == PIECES - 1 && !has_last) continue;
#pragma unroll
            for (int i = 0; i < 8; i++) d[p][i] = deviation * (d[p][i] - mean - x[p][i] * along);
            store8(d_sum + start + 8 * piece, d[p]);
            mask8(d[p], after, piece, scale);
            if (d_hidden != 0) store8(d_hidden + start + 8 * piece, d[p]);
#pragma unroll
            for (int i = 0; i < 8; i++) d_bias[p][i] += d[p][i];
        }
    }
    float *mine = partials + (u64)blockIdx.x * 3 * columns;
    add_warps(mine, (float *)shared, d_weight, columns);
    add_warps(mine + columns, (float *)shared, d_shift, columns);
    add_warps(mine + 2 * columns, (float *)shared, d_bias, columns);
}

#define NORM_BACKWARD_TAKES(T)                                                                                         \
    T *d_sum, T *d_hidden, float *partials, const T *d_output, const T *__restrict__ normalized,                       \
        const float *__restrict__ inverse, const float *__restrict__ weight, const u32 *__restrict__ input_mask,       \
        const u32 *__restrict__ output_mask, u32 rows, u32 columns, u32 row_words, u32 block_rows, float scale
#define NORM_BACKWARD_RUNS(PIECES)                                                                                     \
    {                                                                                                                  \
        norm_backward<PIECES>(d_sum, d_hidden, partials, d_output, normalized, inverse, weight, input_mask,            \
                              output_mask, rows, columns, row_words, block_rows, scale);                               \
    }

extern "C" __global__ void __launch_bounds__(128) norm_backward_1_bf16(NORM_BACKWARD_TAKES(bf16)) NORM_BACKWARD_RUNS(1)
extern "C" __global__ void __launch_bounds__(128) norm_backward_2_bf16(NORM_BACKWARD_TAKES(bf16)) NORM_BACKWARD_RUNS(2)
extern "C" __global__ void __launch_bounds__(128) norm_backward_3_bf16(NORM_BACKWARD_TAKES(bf16)) NORM_BACKWARD_RUNS(3)
extern "C" __global__ void __launch_bounds__(128) norm_backward_4_bf16(NORM_BACKWARD_TAKES(bf16)) NORM_BACKWARD_RUNS(4)
extern "C" __global__ void __launch_bounds__(128) norm_backward_1_f32(NORM_BACKWARD_TAKES(float)) NORM_BACKWARD_RUNS(1)
extern "C" __global__ void __launch_bounds__(128) norm_backward_2_f32(NORM_BACKWARD_TAKES(float)) NORM_BACKWARD_RUNS(2)
extern "C" __global__ void __launch_bounds__(128) norm_backward_3_f32(NORM_BACKWARD_TAKES(float)) NORM_BACKWARD_RUNS(3)
extern "C" __global__ void __launch_bounds__(128) norm_backward_4_f32(NORM_BACKWARD_TAKES(float)) NORM_BACKWARD_RUNS(4)

/// The same for rows of any length, without the sums, for which there are no registers: `norm_sums` takes them before,
/// `column_sums` after.
template <typename T>
__device__ __forceinline__ void norm_backward_rows(T *d_sum, T *d_hidden, const T *d_output, const T *normalized,
                                                   const float *inverse, const float *weight, const u32 *input_mask,
                                                   const u32 *output_mask, u32 rows, u32 columns, u32 row_words,
                                                   float scale) {
    const u32 row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (row >= rows) return;
    const u64 start = (u64)row * columns;
    const u32 lane = threadIdx.x & 31, pieces = columns / 8;
    const u32 *before = mask_row(output_mask, row, row_words), *after = mask_row(input_mask, row, row_words);
    float d[8], x[8], factor[8], mean = 0.0f, along = 0.0f;
    const float deviation = inverse[row];
    for (u32 piece = lane; piece < pieces; piece += WARP) {
        load8(d_output + start + 8 * piece, d);
        load8(normalized + start + 8 * piece, x);
        load8(weight + 8 * piece, factor);
        mask8(d, before, piece, scale);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            mean += d[i] * factor[i];
            along += d[i] * factor[i] * x[i];
        }
    }
    mean = warp_sum(mean) / (float)columns;
    along = warp_sum(along) / (float)columns;
    for (u32 piece = lane; piece < pieces; piece += WARP) {
        load8(d_output + start + 8 * piece, d);
        load8(normalized + start + 8 * piece, x);
        load8(weight + 8 * piece, factor);
        mask8(d, before, piece, scale);
#pragma unroll
        for (int i = 0; i < 8; i++) d[i] = deviation * (d[i] * factor[i] - mean - x[i] * along);
        store8(d_sum + start + 8 * piece, d);
        mask8(d, after, piece, scale);
        if (d_hidden != 0) store8(d_hidden + start + 8 * piece, d);
    }
}

#define NORM_BACKWARD_ROWS_TAKES(T)                                                                                    \
    T *d_sum, T *d_hidden, const T *d_output, const T *__restrict__ normalized, const float *__restrict__ inverse,     \
        const float *__restrict__ weight, const u32 *__restrict__ input_mask, const u32 *__restrict__ output_mask,     \
        u32 rows, u32 columns, u32 row_words, float scale
#define NORM_BACKWARD_ROWS_RUNS                                                                                        \
    {                                                                                                                  \
        norm_backward_rows(d_sum, d_hidden, d_output, normalized, inverse, weight, input_mask, output_mask, rows,      \
                           columns, row_words, scale);                                                                 \
    }

extern "C" __global__ void norm_backward_rows_bf16(NORM_BACKWARD_ROWS_TAKES(bf16)) NORM_BACKWARD_ROWS_RUNS
extern "C" __global__ void norm_backward_rows_f32(NORM_BACKWARD_ROWS_TAKES(float)) NORM_BACKWARD_ROWS_RUNS

#define SUM_WARPS 8
#define SUM_COLUMNS 256

/// Sums over the rows of a tile, `block_rows` rows of 256 columns, by 8 warps: `body(row, column, sums)` adds what rows
/// give to SUMS sums of 8 columns each. The blocks are (columns / 256, rows / block_rows); `partials` is
/// `[row blocks, SUMS, columns]`.
template <int SUMS, typename Body>
__device__ __forceinline__ void sum_tile(float *partials, u32 rows, u32 columns, u32 block_rows, Body body) {
    __shared__ __align__(16) float of_warps[SUM_WARPS][SUM_COLUMNS];
    const u32 lane = threadIdx.x & 31, warp = threadIdx.x / WARP;
    const u32 column = SUM_COLUMNS * blockIdx.x + 8 * lane;
    const u32 first = blockIdx.y * block_rows, last = min(first + block_rows, rows);
    float sums[SUMS][8] = {};
    if (column < columns) {
#pragma unroll 4
        for (u32 row = first + warp; row < last; row += SUM_WARPS) body(row, column, sums);
    }
    const u32 mine = SUM_COLUMNS * blockIdx.x + threadIdx.x;
#pragma unroll
    for (int which = 0; which < SUMS; which++) {
        store8(&of_warps[warp][8 * lane], sums[which]);
        __syncthreads();
        float sum = 0.0f;
#pragma unroll
        for (int other = 0; other < SUM_WARPS; other++) sum += of_warps[other][threadIdx.x];
        if (mine < columns) partials[((u64)blockIdx.y * SUMS + which) * columns + mine] = sum;
        __syncthreads();
    }
}

/// The sums of a norm's gradients by weight and shift, `partials` `[row blocks, 2, columns]`, for rows of any length.
template <typename T>
__device__ __forceinline__ void norm_sums(float *partials, const T *d_output, const T *normalized,
                                          const u32 *output_mask, u32 rows, u32 columns, u32 row_words, u32 block_rows,
                                          float scale) {
    sum_tile<2>(partials, rows, columns, block_rows, [&](u32 row, u32 column, float (&sums)[2][8]) {
        float d[8], x[8];
        load8(d_output + (u64)row * columns + column, d);
        load8(normalized + (u64)row * columns + column, x);
        mask8(d, mask_row(output_mask, row, row_words), column / 8, scale);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            sums[0][i] += d[i] * x[i];
            sums[1][i] += d[i];
        }
    });
}

extern "C" __global__ void norm_sums_bf16(float *partials, const bf16 *d_output, const bf16 *normalized,
                                          const u32 *output_mask, u32 rows, u32 columns, u32 row_words, u32 block_rows,
                                          float scale) {
    norm_sums(partials, d_output, normalized, output_mask, rows, columns, row_words, block_rows, scale);
}
extern "C" __global__ void norm_sums_f32(float *partials, const float *d_output, const float *normalized,
                                         const u32 *output_mask, u32 rows, u32 columns, u32 row_words, u32 block_rows,
                                         float scale) {
    norm_sums(partials, d_output, normalized, output_mask, rows, columns, row_words, block_rows, scale);
}

/// The sums of a matrix's columns, `partials` `[row blocks, columns]`.
template <typename T>
__device__ __forceinline__ void column_sums(float *partials, const T *values, u32 rows, u32 columns, u32 block_rows) {
    sum_tile<1>(partials, rows, columns, block_rows, [&](u32 row, u32 column, float (&sums)[1][8]) {
        float value[8];
        load8(values + (u64)row * columns + column, value);
#pragma unroll
        for (int i = 0; i < 8; i++) sums[0][i] += value[i];
    });
}

extern "C" __global__ void column_sums_bf16(float *partials, const bf16 *values, u32 rows, u32 columns,
                                            u32 block_rows) {
    column_sums(partials, values, rows, columns, block_rows);
}
extern "C" __global__ void column_sums_f32(float *partials, const float *values, u32 rows, u32 columns,
                                           u32 block_rows) {
    column_sums(partials, values, rows, columns, block_rows);
}

#define ADDING_WARPS 16

/// Adds `partials`, `[parts, width]`, to gradients of `columns` numbers each, width / columns of them, of which some
/// may be none: every warp the parts that are its number modulo 16, then the warps in order. A block takes 32 columns.
extern "C" __global__ void add_partials(float *gradient0, float *gradient1, float *gradient2,
                                        const float *__restrict__ partials, u32 parts, u32 width, u32 columns) {
    __shared__ float of_warps[ADDING_WARPS][WARP];
    const u32 lane = threadIdx.x & 31, warp = threadIdx.x / WARP, place = blockIdx.x * WARP + lane;
    float sum = 0.0f;
    if (place < width) {
#pragma unroll 8
        for (u32 part = warp; part < parts; part += ADDING_WARPS) sum += partials[(u64)part * width + place];
    }
    of_warps[warp][lane] = sum;
    __syncthreads();
    if (warp != 0 || place >= width) return;
    for (int other = 1; other < ADDING_WARPS; other++) sum += of_warps[other][lane];
    u32 which = place / columns;
    float *gradient = which == 0 ? gradient0 : which == 1 ? gradient1 : gradient2;
    if (gradient != 0) gradient[place - which * columns] += sum;
}
