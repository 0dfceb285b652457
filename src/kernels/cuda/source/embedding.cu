// Sums of embedding rows, normalised and dropped out, and the way their gradient goes back into the tables. Instances
// and alignment as norm.cu says.

/// output = dropout(norm(words[id] + positions[position] + token_type)). `normalized` and `inverse` may be none.
template <int PIECES, typename T>
__device__ __forceinline__ void embed(T *normalized, float *inverse, T *output, const u32 *ids, const u32 *positions,
                                      const float *words, const float *position_table, const float *token_type,
                                      const float *weight, const float *shift, const u32 *mask, u32 rows, u32 columns,
                                      u32 row_words, float scale, float epsilon) {
    const u32 row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (row >= rows) return;
    const u64 start = (u64)row * columns;
    const float *word = words + (u64)ids[row] * columns, *place = position_table + (u64)positions[row] * columns;
    const u32 *kept = mask_row(mask, row, row_words);
    auto read = [&](u32 piece, float (&x)[8]) {
        float of_word[8], of_place[8];
        load8(token_type + 8 * piece, x);
        load8(word + 8 * piece, of_word);
        load8(place + 8 * piece, of_place);
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] = x[i] + of_word[i] + of_place[i];
    };
    auto write = [&](u32 piece, float (&x)[8]) {
        float factor[8], addend[8];
        if (normalized != 0) store8(normalized + start + 8 * piece, x);
        load8(weight + 8 * piece, factor);
        load8(shift + 8 * piece, addend);
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] = x[i] * factor[i] + addend[i];
        mask8(x, kept, piece, scale);
        store8(output + start + 8 * piece, x);
    };
    float deviation = normalize_row<PIECES>(columns, epsilon, read, write);
    if (inverse != 0 && (threadIdx.x & 31) == 0) inverse[row] = deviation;
}

#define EMBED_TAKES(T)                                                                                                 \
    T *normalized, float *inverse, T *output, const u32 *__restrict__ ids, const u32 *__restrict__ positions,          \
        const float *__restrict__ words, const float *__restrict__ position_table,                                     \
        const float *__restrict__ token_type, const float *__restrict__ weight, const float *__restrict__ shift,       \
        const u32 *__restrict__ mask, u32 rows, u32 columns, u32 row_words, float scale, float epsilon
#define EMBED_RUNS(PIECES)                                                                                             \
    {                                                                                                                  \
        embed<PIECES>(normalized, inverse, output, ids, positions, words, position_table, token_type, weight, shift,   \
                      mask, rows, columns, row_words, scale, epsilon);                                                 \
    }

extern "C" __global__ void embed_1_bf16(EMBED_TAKES(bf16)) EMBED_RUNS(1)
extern "C" __global__ void embed_2_bf16(EMBED_TAKES(bf16)) EMBED_RUNS(2)
extern "C" __global__ void embed_3_bf16(EMBED_TAKES(bf16)) EMBED_RUNS(3)
extern "C" __global__ void embed_4_bf16(EMBED_TAKES(bf16)) EMBED_RUNS(4)
extern "C" __global__ void embed_any_bf16(EMBED_TAKES(bf16)) EMBED_RUNS(0)
extern "C" __global__ void embed_1_f32(EMBED_TAKES(float)) EMBED_RUNS(1)
extern "C" __global__ void embed_2_f32(EMBED_TAKES(float)) EMBED_RUNS(2)
extern "C" __global__ void embed_3_f32(EMBED_TAKES(float)) EMBED_RUNS(3)
extern "C" __global__ void embed_4_f32(EMBED_TAKES(float)) EMBED_RUNS(4)
extern "C" __global__ void embed_any_f32(EMBED_TAKES(float)) EMBED_RUNS(0)

#define NO_SLOT 0xffffffffu

/// Adds 8 numbers to those in memory.
__device__ __forceinline__ void add8(float *to, const float (&values)[8]) {
    float there[8];
    load8(to, there);
#pragma unroll
    for (int i = 0; i < 8; i++) there[i] += values[i];
    store8(to, there);
}

/// Sums the gradient rows of each segment's tokens, in their order: to the segment's row of the table's gradient where
/// it is the row's only one, else to its slot of `partials`. A warp takes 256 columns of a segment, blocks are
/// (segments, columns / 256).
template <typename T>
__device__ __forceinline__ void gather_rows(float *gradient, float *partials, const T *d_rows, const u32 *tokens,
                                            const u32 *starts, const u32 *rows, const u32 *slots, u32 segments,
                                            u32 columns) {
    const u32 segment = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    const u32 column = 256 * blockIdx.y + 8 * (threadIdx.x & 31);
    if (segment >= segments || column >= columns) return;
    float sum[8] = {};
    const u32 last = starts[segment + 1];
#pragma unroll 4
    for (u32 place = starts[segment]; place < last; place++) {
        float d[8];
        load8(d_rows + (u64)tokens[place] * columns + column, d);
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += d[i];
    }
    const u32 slot = slots[segment];
    if (slot == NO_SLOT)
        add8(gradient + (u64)rows[segment] * columns + column, sum);
    else
        store8(partials + (u64)slot * columns + column, sum);
}

extern "C" __global__ void gather_rows_bf16(float *gradient, float *partials, const bf16 *__restrict__ d_rows,
                                            const u32 *__restrict__ tokens, const u32 *__restrict__ starts,
                                            const u32 *__restrict__ rows, const u32 *__restrict__ slots, u32 segments,
                                            u32 columns) {
    gather_rows(gradient, partials, d_rows, tokens, starts, rows, slots, segments, columns);
}
extern "C" __global__ void gather_rows_f32(float *gradient, float *partials, const float *__restrict__ d_rows,
                                           const u32 *__restrict__ tokens, const u32 *__restrict__ starts,
                                           const u32 *__restrict__ rows, const u32 *__restrict__ slots, u32 segments,
                                           u32 columns) {
    gather_rows(gradient, partials, d_rows, tokens, starts, rows, slots, segments, columns);
}

/// Adds the slots of rows with several segments to the table's gradient, in their order: row `rows[r]` has slots
/// `starts[r]` to `starts[r + 1] - 1`. Warps and blocks as above.
extern "C" __global__ void merge_gathered(float *gradient, const float *__restrict__ partials,
                                          const u32 *__restrict__ rows, const u32 *__restrict__ starts, u32 count,
                                          u32 columns) {
    const u32 number = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    const u32 column = 256 * blockIdx.y + 8 * (threadIdx.x & 31);
    if (number >= count || column >= columns) return;
    float sum[8] = {};
    const u32 last = starts[number + 1];
#pragma unroll 4
    for (u32 slot = starts[number]; slot < last; slot++) {
        float part[8];
        load8(partials + (u64)slot * columns + column, part);
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += part[i];
    }
    add8(gradient + (u64)rows[number] * columns + column, sum);
}
