// Exact search: the k best documents for each query, kept as sorted lists of keys. A key is the score's bits, turned so
// that they order as the scores do, before the inverted row: the larger key is the better hit, and no two are the same,
// so a list does not depend on the order in which documents come. 0 is no hit; every hit's key is more.

/// Keys that a block of `search_merge` has room for: the list, and documents that may come in. It is a power of two.
#define SEARCH_ROOM 2048
/// Documents that each thread looks at between two barriers.
#define SEARCH_WIDTH 4

/// One over the length of rows cut to each of `dims`, ascending, to `scales`, `[dims, stride]`; 0 for a row of zeros,
/// whose similarity to anything is then 0. A warp takes a row.
extern "C" __global__ void search_scales(float *scales, const float *embeddings, const u32 *dims, u32 dim_count,
                                         u32 rows, u32 stride, u32 dimension) {
    u32 row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x & 31;
    if (row >= rows) return;
    const float *mine = embeddings + (u64)row * dimension;
    double squares = 0.0;
    for (u32 d = 0, column = lane; d < dim_count; d++) {
        for (u32 end = dims[d]; column < end; column += WARP) squares += (double)mine[column] * (double)mine[column];
        double all = warp_sum(squares);
        if (lane == 0) scales[(u64)d * stride + row] = all > 0.0 ? (float)(1.0 / sqrt(all)) : 0.0f;
    }
}

/// A score's bits, turned so that unsigned numbers order as the scores do. What is not a number comes last, as minus
/// infinity, and -0 is 0.
__device__ __forceinline__ u32 search_order(float score) {
    if (score != score) return 0x007fffffu;
    u32 bits = score == 0.0f ? 0u : __float_as_uint(score);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/// Sorts `count` keys, of which none is beyond SEARCH_ROOM, the largest first. All threads of the block must come,
/// after a barrier, and leave with one.
__device__ __forceinline__ void search_sort(u64 *keys, u32 count) {
    u32 all = 2;
    while (all < count) all *= 2;
    for (u32 place = count + threadIdx.x; place < all; place += blockDim.x) keys[place] = 0;
    __syncthreads();
    for (u32 size = 2; size <= all; size *= 2) {
        for (u32 distance = size / 2; distance > 0; distance /= 2) {
            for (u32 pair = threadIdx.x; pair < all / 2; pair += blockDim.x) {
                u32 low = 2 * pair - (pair & (distance - 1)), high = low + distance;
                u64 first = keys[low], second = keys[high];
                bool falling = (low & size) == 0;
                if (first < second == falling) {
                    keys[low] = second;
                    keys[high] = first;
                }
            }
            __syncthreads();
        }
    }
}

/// Merges documents into the lists of a tile of queries at one dimension. `best` is `[queries, k]`; `dots`, `[queries,
/// stride]`, the products with documents, of which `scales` and `rows`, `[documents]`, tell the scale and the name;
/// `query_scales` is `[queries]`. `dots`, `scales` and `stride` allow loads of 16 bytes. A block of 256 takes a query.
extern "C" __global__ void search_merge(u64 *best, const float *dots, const float *query_scales, const float *scales,
                                        const u32 *rows, u32 k, u32 documents, u32 stride) {
    __shared__ u64 keys[SEARCH_ROOM];
    __shared__ u32 held;
    u64 *list = best + (u64)blockIdx.x * k;
    const float *mine = dots + (u64)blockIdx.x * stride;
    float query_scale = query_scales[blockIdx.x];
    for (u32 place = threadIdx.x; place < k; place += blockDim.x) keys[place] = list[place];
    if (threadIdx.x == 0) held = k;
    __syncthreads();
    u64 least = keys[k - 1];
    bool changed = false;
    u32 step = blockDim.x * SEARCH_WIDTH;
    for (u32 first = 0; first < documents; first += step) {
        u32 document = first + threadIdx.x * SEARCH_WIDTH;
        if (document < documents) {
            Words dot = *(const Words *)(mine + document), scale = *(const Words *)(scales + document);
#pragma unroll
            for (u32 i = 0; i < SEARCH_WIDTH; i++) {
                if (document + i >= documents) break;
                float score = __uint_as_float(dot.word[i]) * __uint_as_float(scale.word[i]) * query_scale;
                u32 order = search_order(score);
                // Nearly all documents end here.
                if (order < (u32)(least >> 32)) continue;
                u64 key = (u64)order << 32 | (u32)~rows[document + i];
                if (key > least) keys[atomicAdd(&held, 1u)] = key;
            }
        }
        __syncthreads();
        u32 count = held;
        __syncthreads();
        // Sorted where the next step's documents might not have room, and at the end.
        if (count > k && (count + step > SEARCH_ROOM || first + step >= documents)) {
            search_sort(keys, count);
            least = keys[k - 1];
            if (threadIdx.x == 0) held = k;
            changed = true;
            __syncthreads();
        }
    }
    if (!changed) return;
    for (u32 place = threadIdx.x; place < k; place += blockDim.x) list[place] = keys[place];
}
