// Attention's warps in bfloat16, on tensor cores. A warp owns 16 rows as `a` of the products and keeps them in
// registers; the tile's rows are `b`, 16 at a time. What one product leaves in a lane's registers is what the next
// takes as `a`, so that neither scores nor probabilities pass through memory. Rows g and g + 8 are a lane's, and of 16
// columns 2t, 2t + 1, 2t + 8 and 2t + 9: place [n][i] of a product is row g + 8 (i / 2), column 8 n + 2 t + i % 2.

namespace attention {

template <typename T, int D> struct Forward;
template <typename T, int D> struct QueryGradient;
template <typename T, int D> struct KeyGradient;

/// This lane's numbers of 16 rows as the products' `a`, zeros from `rows` on; `from` is the first row.
template <int D>
__device__ __forceinline__ void load_owned(u32 (&to)[D / 16][4], const bf16 *from, u32 stride, u32 rows) {
    u32 g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int step = 0; step < D / 16; step++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            u32 row = g + 8 * (i % 2), column = 16 * step + 2 * t + 8 * (i / 2);
            to[step][i] = row < rows ? *(const u32 *)(from + (u64)row * stride + column) : 0;
        }
}

/// Writes 16 rows of which a lane holds `sums`, times `factors` for rows g and g + 8, to rows below `rows` of `to`. The
/// warp's part of shared memory turns them into whole rows first.
template <int D>
__device__ __forceinline__ void store_owned(bf16 *to, u32 stride, u32 rows, const float (&sums)[D / 8][4],
                                            const float (&factors)[2], unsigned char *shared) {
    constexpr int PITCH = Tiled<bf16, D>::PITCH;
    u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    bf16 *mine = (bf16 *)shared + threadIdx.x / WARP * 16 * PITCH;
    __syncwarp();
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            *(u32 *)(mine + (g + 8 * half) * PITCH + 8 * n + 2 * t) =
                pack_bf16(sums[n][2 * half] * factors[half], sums[n][2 * half + 1] * factors[half]);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
        u32 row = (lane + WARP * i) / (D / 8), place = (lane + WARP * i) % (D / 8) * 8;
        if (row < rows) *(Words *)(to + (u64)row * stride + place) = *(const Words *)(mine + row * PITCH + place);
    }
}

/// Products of the owned rows with 16 of the tile's: `d[n] += a rowsᵀ`.
template <int D>
__device__ __forceinline__ void multiply_rows(float (&d0)[4], float (&d1)[4], const u32 (&a)[D / 16][4],
                                              const bf16 *rows) {
    u32 lane = threadIdx.x % WARP;
    const bf16 *from = rows + (lane / 16 * 8 + lane % 8) * Tiled<bf16, D>::PITCH + lane / 8 % 2 * 8;
#pragma unroll
    for (int step = 0; step < D / 16; step++) {
        u32 b[4];
        load_matrices<false>(b, from + 16 * step);
        multiply_16x8x16(d0, a[step], {b[0], b[1]});
        multiply_16x8x16(d1, a[step], {b[2], b[3]});
    }
}

/// Sums of 16 of the tile's rows, `a` as their weights: `d += a rows`.
template <int D>
__device__ __forceinline__ void add_rows(float (&d)[D / 8][4], const u32 (&a)[4], const bf16 *rows) {
    u32 lane = threadIdx.x % WARP;
    const bf16 *from = rows + lane % 16 * Tiled<bf16, D>::PITCH + lane / 16 * 8;
#pragma unroll
    for (int pair = 0; pair < D / 16; pair++) {
        u32 b[4];
        load_matrices<true>(b, from + 16 * pair);
        multiply_16x8x16(d[2 * pair], a, {b[0], b[1]});
        multiply_16x8x16(d[2 * pair + 1], a, {b[2], b[3]});
    }
}

/// Makes the scores of the 16 columns from number `columns` on such that their probabilities are 0.
__device__ __forceinline__ void hide_columns(float (&score)[2][4], u32 columns) {
    if (columns >= 16) return;
    u32 t = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (i / 4 * 8 + 2 * t + i % 2 >= columns) score[i / 4][i % 4] = MINUS_INFINITY;
}

/// A product's result as the next one's `a`.
__device__ __forceinline__ void as_weights(u32 (&a)[4], const float (&d)[2][4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = pack_bf16(d[i / 2][2 * (i % 2)], d[i / 2][2 * (i % 2) + 1]);
}

/// A warp's 16 queries in forward: their softmax so far.
template <int D> struct Forward<bf16, D> {
    static constexpr int PITCH = Tiled<bf16, D>::PITCH, UNITS = Tiled<bf16, D>::MOST_ROWS / 16;
    const Place &place;
    /// From scores to powers of 2, and the factor of probabilities that are not dropped.
    float factor, scale;
    u32 query[D / 16][4];
    float sums[D / 8][4], most[2], total[2];

    __device__ __forceinline__ Forward(const Place &place, const bf16 *queries, u32 stride, float factor, float scale)
        : place(place), factor(factor * LOG2_E), scale(scale) {
        u32 row = place.warp_row();
        load_owned<D>(query, queries + (u64)row * stride, stride, place.has_rows() ? place.length - row : 0);
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) sums[n][i] = 0;
#pragma unroll
        for (int half = 0; half < 2; half++) most[half] = MINUS_INFINITY, total[half] = 0;
    }

    __device__ __forceinline__ void step(const Tile<bf16> &tile, u32 first, u32 keys) {
        u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, row = place.warp_row() + g;
        float score[UNITS][2][4], now[2] = {most[0], most[1]};
#pragma unroll
        for (int unit = 0; unit < UNITS; unit++) {
            if (16 * unit >= keys) continue;
#pragma unroll
            for (int i = 0; i < 8; i++) score[unit][i / 4][i % 4] = 0;
            multiply_rows<D>(score[unit][0], score[unit][1], query, tile.left + 16 * unit * PITCH);
            hide_columns(score[unit], keys - 16 * unit);
#pragma unroll
            for (int i = 0; i < 8; i++) now[i % 4 / 2] = fmaxf(now[i % 4 / 2], score[unit][i / 4][i % 4]);
        }
        // Every tile has a key that counts, so the largest is a number.
        float lowered[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            now[half] = quad_max(now[half]);
            float correction = fast_exp2((most[half] - now[half]) * factor);
            most[half] = now[half];
            lowered[half] = now[half] * factor;
            total[half] *= correction;
#pragma unroll
            for (int n = 0; n < D / 8; n++) sums[n][2 * half] *= correction, sums[n][2 * half + 1] *= correction;
        }
        const u32 *words = tile.bits + 4 * (place.warp_row() - place.first + g);
#pragma unroll
        for (int unit = 0; unit < UNITS; unit++) {
            if (16 * unit >= keys) continue;
#pragma unroll
            for (int i = 0; i < 8; i++) {
                float &value = score[unit][i / 4][i % 4];
                value = fast_exp2(value * factor - lowered[i % 4 / 2]);
                total[i % 4 / 2] += value;
            }
            if (place.mask != 0) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    u32 kept = bits_of(words + 32 * half, place, row + 8 * half, first, 16 * unit) >> 2 * t;
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        if (!(kept >> (i / 2 * 8 + i % 2) & 1)) score[unit][i / 2][2 * half + i % 2] = 0;
                }
            }
            u32 weights[4];
            as_weights(weights, score[unit]);
            add_rows<D>(sums, weights, tile.right + 16 * unit * PITCH);
        }
    }

    /// `context` is the head's columns of the sequence's first row; `log_sums`, if any, those of the sequence.
    __device__ __forceinline__ void finish(bf16 *context, u32 stride, float *log_sums, unsigned char *shared) {
        u32 row = place.warp_row(), g = threadIdx.x % WARP / 4, rows = place.length - row;
        float shares[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float all = quad_sum(total[half]);
            shares[half] = scale / all;
            if (log_sums != 0 && threadIdx.x % 4 == 0 && g + 8 * half < rows)
                log_sums[row + g + 8 * half] = most[half] * (factor / LOG2_E) + logf(all);
        }
        store_owned<D>(context + (u64)row * stride, stride, rows, sums, shares, shared);
    }
};

}  // namespace attention
