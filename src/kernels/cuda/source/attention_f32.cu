// Attention's warps in float32. The geometry is that of bfloat16: a warp owns 16 rows, four lanes share rows g and
// g + 8, and lane t of them holds the columns 16 j + 4 t to 16 j + 4 t + 3. Dot products are sums over the four lanes.

namespace attention {

/// Four numbers at once.
__device__ __forceinline__ void load4(const float *from, float (&to)[4]) {
    Words words = *(const Words *)from;
#pragma unroll
    for (int i = 0; i < 4; i++) to[i] = __uint_as_float(words.word[i]);
}

/// This lane's columns of a row in shared memory, or anywhere.
template <int D> __device__ __forceinline__ void load_columns(float (&to)[D / 4], const float *row) {
#pragma unroll
    for (int j = 0; j < D / 16; j++) {
        float four[4];
        load4(row + 16 * j + threadIdx.x % 4 * 4, four);
#pragma unroll
        for (int i = 0; i < 4; i++) to[4 * j + i] = four[i];
    }
}

/// Rows g and g + 8 of 16, zeros from `rows` on.
template <int D>
__device__ __forceinline__ void load_owned(float (&to)[2][D / 4], const float *from, u32 stride, u32 rows) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        u32 row = threadIdx.x % WARP / 4 + 8 * half;
        if (row < rows) {
            load_columns<D>(to[half], from + (u64)row * stride);
        } else {
#pragma unroll
            for (int i = 0; i < D / 4; i++) to[half][i] = 0;
        }
    }
}

template <int D>
__device__ __forceinline__ void store_owned(float *to, u32 stride, u32 rows, const float (&sums)[2][D / 4],
                                            const float (&factors)[2]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        u32 row = threadIdx.x % WARP / 4 + 8 * half;
        if (row >= rows) continue;
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            Words words;
#pragma unroll
            for (int i = 0; i < 4; i++) words.word[i] = __float_as_uint(sums[half][4 * j + i] * factors[half]);
            *(Words *)(to + (u64)row * stride + 16 * j + threadIdx.x % 4 * 4) = words;
        }
    }
}

template <int D> __device__ __forceinline__ void clear(float (&sums)[2][D / 4]) {
#pragma unroll
    for (int i = 0; i < D / 4; i++) sums[0][i] = sums[1][i] = 0;
}

/// The product of two rows.
template <int D> __device__ __forceinline__ float dot(const float (&a)[D / 4], const float (&b)[D / 4]) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < D / 4; i++) sum += a[i] * b[i];
    return quad_sum(sum);
}

template <int D> __device__ __forceinline__ void add(float (&sums)[D / 4], float weight, const float (&row)[D / 4]) {
#pragma unroll
    for (int i = 0; i < D / 4; i++) sums[i] += weight * row[i];
}

template <int D> struct Forward<float, D> {
    static constexpr int PITCH = Tiled<float, D>::PITCH, UNIT = 8;
    const Place &place;
    float factor, scale;
    float query[2][D / 4], sums[2][D / 4], most[2], total[2];

    __device__ __forceinline__ Forward(const Place &place, const float *queries, u32 stride, float factor, float scale)
        : place(place), factor(factor), scale(scale) {
        u32 row = place.warp_row();
        load_owned<D>(query, queries + (u64)row * stride, stride, place.has_rows() ? place.length - row : 0);
        clear<D>(sums);
#pragma unroll
        for (int half = 0; half < 2; half++) most[half] = MINUS_INFINITY, total[half] = 0;
    }

    __device__ __forceinline__ void step(const Tile<float> &tile, u32 first, u32 keys) {
        u32 g = threadIdx.x % WARP / 4, row = place.warp_row() + g;
        const u32 *words = tile.bits + 4 * (place.warp_row() - place.first + g);
        for (u32 unit = 0; unit < keys; unit += UNIT) {
            float score[2][UNIT], now[2] = {most[0], most[1]};
#pragma unroll
            for (int i = 0; i < UNIT; i++) {
                float key[D / 4];
                load_columns<D>(key, tile.left + (unit + i) * PITCH);
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    float product = dot<D>(query[half], key) * factor;
                    score[half][i] = unit + i < keys ? product : MINUS_INFINITY;
                    now[half] = fmaxf(now[half], score[half][i]);
                }
            }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                u32 kept = 0xffffffffu;
                if (place.mask != 0) kept = bits_of(words + 32 * half, place, row + 8 * half, first, unit);
                float correction = expf(most[half] - now[half]);
                most[half] = now[half];
                total[half] *= correction;
#pragma unroll
                for (int i = 0; i < D / 4; i++) sums[half][i] *= correction;
#pragma unroll
                for (int i = 0; i < UNIT; i++) {
                    float p = expf(score[half][i] - now[half]);
                    total[half] += p;
                    score[half][i] = kept >> i & 1 ? p : 0;
                }
            }
#pragma unroll
            for (int i = 0; i < UNIT; i++) {
                float value[D / 4];
                load_columns<D>(value, tile.right + (unit + i) * PITCH);
#pragma unroll
                for (int half = 0; half < 2; half++) add<D>(sums[half], score[half][i], value);
            }
        }
    }

    __device__ __forceinline__ void finish(float *context, u32 stride, float *log_sums, unsigned char *) {
        u32 row = place.warp_row(), g = threadIdx.x % WARP / 4, rows = place.length - row;
        float shares[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            shares[half] = scale / total[half];
            if (log_sums != 0 && threadIdx.x % 4 == 0 && g + 8 * half < rows)
                log_sums[row + g + 8 * half] = most[half] + logf(total[half]);
        }
        store_owned<D>(context + (u64)row * stride, stride, rows, sums, shares);
    }
};

template <int D> struct QueryGradient<float, D> {
    static constexpr int PITCH = Tiled<float, D>::PITCH;
    const Place &place;
    float factor, scale;
    float query[2][D / 4], d_context[2][D / 4], sums[2][D / 4], log_sum[2], delta[2];

    __device__ __forceinline__ QueryGradient(const Place &place, const float *queries, u32 query_stride,
                                             const float *contexts, const float *d_contexts, u32 stride,
                                             const float *log_sums, float *deltas, float factor, float scale)
        : place(place), factor(factor), scale(scale) {
        u32 row = place.warp_row(), rows = place.has_rows() ? place.length - row : 0, g = threadIdx.x % WARP / 4;
        load_owned<D>(query, queries + (u64)row * query_stride, query_stride, rows);
        load_owned<D>(sums, contexts + (u64)row * stride, stride, rows);
        load_owned<D>(d_context, d_contexts + (u64)row * stride, stride, rows);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            bool there = g + 8 * half < rows;
            delta[half] = dot<D>(sums[half], d_context[half]);
            log_sum[half] = there ? log_sums[row + g + 8 * half] : 0;
            if (there && threadIdx.x % 4 == 0) deltas[row + g + 8 * half] = delta[half];
        }
        clear<D>(sums);
    }

    __device__ __forceinline__ void step(const Tile<float> &tile, u32 first, u32 keys) {
        u32 g = threadIdx.x % WARP / 4, row = place.warp_row() + g;
        const u32 *words = tile.bits + 4 * (place.warp_row() - place.first + g);
#pragma unroll 2
        for (u32 i = 0; i < keys; i++) {
            float key[D / 4], value[D / 4];
            load_columns<D>(key, tile.left + i * PITCH);
            load_columns<D>(value, tile.right + i * PITCH);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float p = expf(dot<D>(query[half], key) * factor - log_sum[half]);
                float gradient = dot<D>(d_context[half], value);
                if (place.mask != 0)
                    gradient *= bits_of(words + 32 * half, place, row + 8 * half, first, i) & 1 ? scale : 0.0f;
                add<D>(sums[half], p * (gradient - delta[half]), key);
            }
        }
    }

    __device__ __forceinline__ void finish(float *d_queries, u32 stride, unsigned char *) {
        u32 row = place.warp_row();
        float factors[2] = {factor, factor};
        store_owned<D>(d_queries + (u64)row * stride, stride, place.length - row, sums, factors);
    }
};

template <int D> struct KeyGradient<float, D> {
    static constexpr int PITCH = Tiled<float, D>::PITCH;
    const Place &place;
    float factor, scale;
    float key[2][D / 4], value[2][D / 4], d_key[2][D / 4], d_value[2][D / 4];

    __device__ __forceinline__ KeyGradient(const Place &place, const float *keys, const float *values, u32 stride,
                                           float factor, float scale)
        : place(place), factor(factor), scale(scale) {
        u32 row = place.warp_row(), rows = place.has_rows() ? place.length - row : 0;
        load_owned<D>(key, keys + (u64)row * stride, stride, rows);
        load_owned<D>(value, values + (u64)row * stride, stride, rows);
        clear<D>(d_key);
        clear<D>(d_value);
    }

    __device__ __forceinline__ void step(const Tile<float> &tile, u32 first, u32 queries) {
        u32 g = threadIdx.x % WARP / 4, further = place.warp_row() - place.first;
        for (u32 i = 0; i < queries; i++) {
            float query[D / 4], d_context[D / 4], log_sum = tile.log_sums[i], delta = tile.deltas[i];
            load_columns<D>(query, tile.left + i * PITCH);
            load_columns<D>(d_context, tile.right + i * PITCH);
            u32 kept = 0xffffffffu;
            if (place.mask != 0) kept = bits_of(tile.bits + 4 * i, place, first + i, place.first, further) >> g;
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float p = expf(dot<D>(key[half], query) * factor - log_sum);
                float mask = kept >> 8 * half & 1 ? scale : 0.0f;
                float gradient = dot<D>(value[half], d_context) * mask;
                add<D>(d_value[half], p * mask, d_context);
                add<D>(d_key[half], p * (gradient - delta), query);
            }
        }
    }

    __device__ __forceinline__ void finish(float *d_keys, float *d_values, u32 stride, unsigned char *) {
        u32 row = place.warp_row(), rows = place.length - row;
        float factors[2] = {factor, factor}, ones[2] = {1, 1};
        store_owned<D>(d_keys + (u64)row * stride, stride, rows, d_key, factors);
        store_owned<D>(d_values + (u64)row * stride, stride, rows, d_value, ones);
    }
};

}  // namespace attention
