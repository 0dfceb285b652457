// Attention's warps in bfloat16 that go backward.

namespace attention {

/// A warp's 16 queries in backward: the gradient by them.
template <int D> struct QueryGradient<bf16, D> {
    static constexpr int PITCH = Tiled<bf16, D>::PITCH;
    const Place &place;
    float factor, scale;
    u32 query[D / 16][4], d_context[D / 16][4];
    float sums[D / 8][4], log_sum[2], delta[2];

    __device__ __forceinline__ QueryGradient(const Place &place, const bf16 *queries, u32 query_stride,
                                             const bf16 *contexts, const bf16 *d_contexts, u32 stride,
                                             const float *log_sums, float *deltas, float factor, float scale)
        : place(place), factor(factor), scale(scale) {
        u32 row = place.warp_row(), rows = place.has_rows() ? place.length - row : 0, g = threadIdx.x % WARP / 4;
        u32 context[D / 16][4];
        load_owned<D>(query, queries + (u64)row * query_stride, query_stride, rows);
        load_owned<D>(context, contexts + (u64)row * stride, stride, rows);
        load_owned<D>(d_context, d_contexts + (u64)row * stride, stride, rows);
        delta[0] = delta[1] = 0;
#pragma unroll
        for (int step = 0; step < D / 16; step++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                u32 left = context[step][i], right = d_context[step][i];
                delta[i % 2] += __uint_as_float(left << 16) * __uint_as_float(right << 16) +
                                __uint_as_float(left & 0xffff0000u) * __uint_as_float(right & 0xffff0000u);
            }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            bool there = g + 8 * half < rows;
            delta[half] = quad_sum(delta[half]);
            log_sum[half] = there ? log_sums[row + g + 8 * half] * LOG2_E : 0;
            if (there && threadIdx.x % 4 == 0) deltas[row + g + 8 * half] = delta[half];
        }
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) sums[n][i] = 0;
    }

    __device__ __forceinline__ void step(const Tile<bf16> &tile, u32 first, u32 keys) {
        u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, row = place.warp_row() + g;
        const u32 *words = tile.bits + 4 * (place.warp_row() - place.first + g);
        for (u32 unit = 0; unit < keys; unit += 16) {
            float score[2][4] = {}, gradient[2][4] = {};
            multiply_rows<D>(score[0], score[1], query, tile.left + unit * PITCH);
            hide_columns(score, keys - unit);
            multiply_rows<D>(gradient[0], gradient[1], d_context, tile.right + unit * PITCH);
            if (place.mask != 0) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    u32 kept = bits_of(words + 32 * half, place, row + 8 * half, first, unit) >> 2 * t;
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        gradient[i / 2][2 * half + i % 2] *= kept >> (i / 2 * 8 + i % 2) & 1 ? scale : 0.0f;
                }
            }
#pragma unroll
            for (int i = 0; i < 8; i++) {
                int half = i % 4 / 2;
                float p = fast_exp2(score[i / 4][i % 4] * (factor * LOG2_E) - log_sum[half]);
                score[i / 4][i % 4] = p * (gradient[i / 4][i % 4] - delta[half]);
            }
            u32 weights[4];
            as_weights(weights, score);
            add_rows<D>(sums, weights, tile.left + unit * PITCH);
        }
    }

    __device__ __forceinline__ void finish(bf16 *d_queries, u32 stride, unsigned char *shared) {
        u32 row = place.warp_row();
        float factors[2] = {factor, factor};
        store_owned<D>(d_queries + (u64)row * stride, stride, place.length - row, sums, factors, shared);
    }
};

/// A warp's 16 keys in backward: the gradients by them and their values. Products are turned: rows are keys, columns
/// queries.
template <int D> struct KeyGradient<bf16, D> {
    static constexpr int PITCH = Tiled<bf16, D>::PITCH;
    const Place &place;
    float factor, scale;
    u32 key[D / 16][4], value[D / 16][4];
    float d_key[D / 8][4], d_value[D / 8][4];

    __device__ __forceinline__ KeyGradient(const Place &place, const bf16 *keys, const bf16 *values, u32 stride,
                                           float factor, float scale)
        : place(place), factor(factor), scale(scale) {
        u32 row = place.warp_row(), rows = place.has_rows() ? place.length - row : 0;
        load_owned<D>(key, keys + (u64)row * stride, stride, rows);
        load_owned<D>(value, values + (u64)row * stride, stride, rows);
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) d_key[n][i] = d_value[n][i] = 0;
    }

    __device__ __forceinline__ void step(const Tile<bf16> &tile, u32 first, u32 queries) {
        u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, further = place.warp_row() - place.first;
        for (u32 unit = 0; unit < queries; unit += 16) {
            float score[2][4] = {}, gradient[2][4] = {};
            multiply_rows<D>(score[0], score[1], key, tile.left + unit * PITCH);
            hide_columns(score, queries - unit);
            multiply_rows<D>(gradient[0], gradient[1], value, tile.right + unit * PITCH);
            float kept_p[2][4];
#pragma unroll
            for (int column = 0; column < 4; column++) {
                u32 query = unit + column / 2 * 8 + 2 * t + column % 2;
                float log_sum = tile.log_sums[query] * LOG2_E, delta = tile.deltas[query];
                u32 kept = 0;
                if (place.mask != 0)
                    kept = bits_of(tile.bits + 4 * query, place, first + query, place.first, further) >> g;
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    int n = column / 2, i = 2 * half + column % 2;
                    float p = fast_exp2(score[n][i] * (factor * LOG2_E) - log_sum);
                    bool is_kept = place.mask == 0 || (kept >> 8 * half & 1) != 0;
                    kept_p[n][i] = is_kept ? p : 0;
                    score[n][i] = p * ((is_kept ? gradient[n][i] * scale : 0) - delta);
                }
            }
            u32 weights[4];
            as_weights(weights, kept_p);
            add_rows<D>(d_value, weights, tile.right + unit * PITCH);
            as_weights(weights, score);
            add_rows<D>(d_key, weights, tile.left + unit * PITCH);
        }
    }

    __device__ __forceinline__ void finish(bf16 *d_keys, bf16 *d_values, u32 stride, unsigned char *shared) {
        u32 row = place.warp_row(), rows = place.length - row;
        float factors[2] = {factor, factor}, scales[2] = {scale, scale};
        store_owned<D>(d_keys + (u64)row * stride, stride, rows, d_key, factors, shared);
        store_owned<D>(d_values + (u64)row * stride, stride, rows, d_value, scales, shared);
    }
};

}  // namespace attention
