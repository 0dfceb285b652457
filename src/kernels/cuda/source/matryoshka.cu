// MatryoshkaLoss over MultipleNegativesRankingLoss, forward and backward; the matrix products between these kernels are
// made by the library (matryoshka.rs). Of the embeddings `[all_rows, dimension]` a micro-batch takes 2 pairs rows: its
// anchors, then its positives. `dims` ascend. Arrays by dimension and row, `[dims, all_rows]`, hold
//   norms: one over the length of the row cut to the dimension,
//   along: how far the row's gradient goes along the row itself, which normalising takes back.
// A tile is `rows` anchors of each of some micro-batches of equal size, of which the first begins at `first_row`. Its
// `dots`, `[dims, batches, rows, stride]` with a column for each positive, first hold the products over the columns
// from the dimension before to this one; then (rows) whole dot products; then (gradient) the sum of the gradients by
// the dot products of this and all larger dimensions, which is what the columns between the two dimensions' ends meet.

/// The first row of a tile's micro-batch.
__device__ __forceinline__ u32 tile_base(u32 first_row, u32 batch, u32 pairs) {
    return first_row + batch * 2 * pairs;
}

/// Inverse norms of rows cut to each dimension. A warp takes a row.
extern "C" __global__ void matryoshka_norms(float *norms, const float *embeddings, const u32 *dims, u32 dim_count,
                                            u32 all_rows, u32 dimension) {
    u32 row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x & 31;
    if (row >= all_rows) return;
    const float *mine = embeddings + (u64)row * dimension;
    float squares = 0.0f;
    for (u32 d = 0, column = lane; d < dim_count; d++) {
        for (u32 end = dims[d]; column < end; column += WARP) squares += mine[column] * mine[column];
        float all = warp_sum(squares);
        // What a norm is raised to before something is divided by it, as torch's `normalize` does it.
        if (lane == 0) norms[(u64)d * all_rows + row] = 1.0f / fmaxf(sqrtf(all), 1e-12f);
    }
}

/// The sum of what all threads of a block bring, in every thread, in order of warps. `room` has a place for each warp.
__device__ __forceinline__ float tile_row_sum(float value, float *room) {
    value = warp_sum(value);
    if ((threadIdx.x & 31) == 0) room[threadIdx.x / WARP] = value;
    __syncthreads();
    float sum = room[0];
    for (u32 warp = 1; warp < blockDim.x / WARP; warp++) sum += room[warp];
    __syncthreads();
    return sum;
}

__device__ __forceinline__ float tile_row_max(float value, float *room) {
    value = warp_max(value);
    if ((threadIdx.x & 31) == 0) room[threadIdx.x / WARP] = value;
    __syncthreads();
    float most = room[0];
    for (u32 warp = 1; warp < blockDim.x / WARP; warp++) most = fmaxf(most, room[warp]);
    __syncthreads();
    return most;
}

/// What makes probabilities of an anchor's scores at one dimension.
struct __align__(16) AnchorScores {
    /// The scale by the anchor's inverse norm, the highest score, the sum of the exponentials of the scores less that.
    float scaled, highest, total;
    /// What its own positive's probability is short of 1. Of a good model it is little, and 1 less what is nearly 1
    /// would have few digits.
    float missing;
};

/// Adds up dot products, and takes each anchor's weighted loss to `losses`, `[all_rows]`, its part of `along`, and its
/// `scores`, `[dims, batches, rows]`. `factor` is the micro-batch's share by its pairs; `first_anchor` the tile's
/// first. A block takes an anchor: the grid is rows by batches.
extern "C" __global__ void matryoshka_rows(float *dots, AnchorScores *scores, float *along, double *losses,
                                           const float *norms, const float *weights, u32 dim_count, u32 all_rows,
                                           u32 first_row, u32 first_anchor, u32 pairs, u32 stride, float scale,
                                           float factor) {
    __shared__ float room[32], own_score;
    u32 own = first_anchor + blockIdx.x, base = tile_base(first_row, blockIdx.y, pairs);
    u32 lines = gridDim.x * gridDim.y, line = blockIdx.y * gridDim.x + blockIdx.x;
    double loss = 0.0;
    for (u32 d = 0; d < dim_count; d++) {
        const float *norm = norms + (u64)d * all_rows + base;
        const float *positive_norm = norm + pairs;
        float *dot = dots + ((u64)d * lines + line) * stride;
        const float *before = dot - (u64)lines * stride;
        float scaled = scale * norm[own];
        float highest = __uint_as_float(0xff800000u);  // Minus infinity.
        for (u32 column = threadIdx.x; column < pairs; column += blockDim.x) {
            float whole = d > 0 ? before[column] + dot[column] : dot[column];
            dot[column] = whole;
            float score = scaled * positive_norm[column] * whole;
            highest = fmaxf(highest, score);
            if (column == own) own_score = score;
        }
        highest = tile_row_max(highest, room);
        // Read before the barriers of the sums, after which it may be the next dimension's.
        float target = own_score, gap = highest - target;
        // Of what is not a number the highest takes no notice, but the gap or these sums do, and so does the loss.
        float others = 0.0f, weighted = 0.0f;
        for (u32 column = threadIdx.x; column < pairs; column += blockDim.x) {
            float score = scaled * positive_norm[column] * dot[column];
            float part = column == own ? 0.0f : expf(score - highest);
            others += part;
            weighted += part * (score - target);
        }
        others = tile_row_sum(others, room);
        weighted = tile_row_sum(weighted, room);
        if (threadIdx.x == 0) {
            float total = others + expf(-gap);
            loss += (double)weights[d] * ((double)gap + (double)(gap == 0.0f ? log1pf(others) : logf(total)));
            AnchorScores mine = {scaled, highest, total, others / total};
            scores[(u64)d * lines + line] = mine;
            // A gradient by a dot product times the dot product is the gradient by the score times the score; their sum
            // over the row is the expected score less the own one.
            along[(u64)d * all_rows + base + own] = factor * weights[d] * (weighted / total) * norm[own] * norm[own];
        }
    }
    if (threadIdx.x == 0) losses[base + own] = loss;
}

/// Turns dot products into gradients by them, and sums up for each positive what goes to `along`: for every 32 anchors
/// one line of `partial`, `[dims, batches, row blocks, pairs]`. A block of 8 warps takes 32 anchors and 32 positives:
/// the grid is blocks of positives by blocks of anchors by batches.
extern "C" __global__ void matryoshka_gradient(float *dots, float *partial, const AnchorScores *scores,
                                               const float *norms, const float *weights, u32 dim_count, u32 all_rows,
                                               u32 first_row, u32 first_anchor, u32 rows, u32 pairs, u32 stride,
                                               float factor) {
    __shared__ float sums[8][32];
    u32 lane = threadIdx.x & 31, warp = threadIdx.x / WARP;
    u32 batch = blockIdx.z, base = tile_base(first_row, batch, pairs), lines = gridDim.z * rows;
    u32 column = blockIdx.x * 32 + lane, first = blockIdx.y * 32, end = min(first + 32, rows);
    u64 slot = (u64)lines * stride;
    for (u32 d = dim_count; d-- > 0;) {
        float sum = 0.0f;
        if (column < pairs) {
            float norm = norms[(u64)d * all_rows + base + pairs + column], share = factor * weights[d];
            for (u32 row = first + warp; row < end; row += 8) {
                u32 line = batch * rows + row;
                AnchorScores anchor = scores[(u64)d * lines + line];
                float *place = dots + d * slot + (u64)line * stride + column;
                float score = anchor.scaled * norm * *place;
                float probability = expf(score - anchor.highest) / anchor.total;
                float by_score = share * (column == first_anchor + row ? -anchor.missing : probability);
                sum += by_score * score;
                float by_dot = by_score * anchor.scaled * norm;
                *place = d + 1 < dim_count ? place[slot] + by_dot : by_dot;
            }
        }
        sums[warp][lane] = sum;
        __syncthreads();
        if (warp == 0 && column < pairs) {
            for (u32 other = 1; other < 8; other++) sum += sums[other][lane];
            partial[(((u64)d * gridDim.z + batch) * gridDim.y + blockIdx.y) * pairs + column] = sum;
        }
        __syncthreads();
    }
}

/// Adds a tile's `partial` lines to `along` of the positives, or writes them there where `add` is 0. The grid is blocks
/// of positives by dimensions by batches.
extern "C" __global__ void matryoshka_columns(float *along, const float *partial, const float *norms, u32 all_rows,
                                              u32 first_row, u32 pairs, u32 row_blocks, u32 add) {
    u32 column = blockIdx.x * blockDim.x + threadIdx.x, batch = blockIdx.z;
    if (column >= pairs) return;
    u64 place = (u64)blockIdx.y * all_rows + tile_base(first_row, batch, pairs) + pairs + column;
    const float *lines = partial + ((u64)blockIdx.y * gridDim.z + batch) * row_blocks * pairs + column;
    float sum = 0.0f;
    for (u32 line = 0; line < row_blocks; line++) sum += lines[(u64)line * pairs];
    sum *= norms[place] * norms[place];
    along[place] = add ? along[place] + sum : sum;
}

/// Takes back from each row's gradient what goes along the row itself; columns beyond all dimensions get 0. A block
/// takes a row.
extern "C" __global__ void matryoshka_take_back(float *gradient, const float *embeddings, const float *along,
                                                const u32 *dims, u32 dim_count, u32 all_rows, u32 dimension) {
    u32 row = blockIdx.x;
    float *mine = gradient + (u64)row * dimension;
    const float *embedding = embeddings + (u64)row * dimension;
    float factor = 0.0f;
    for (u32 d = dim_count; d-- > 0;) {
        factor += along[(u64)d * all_rows + row];
        for (u32 column = (d > 0 ? dims[d - 1] : 0) + threadIdx.x; column < dims[d]; column += blockDim.x)
            mine[column] -= factor * embedding[column];
    }
    for (u32 column = dims[dim_count - 1] + threadIdx.x; column < dimension; column += blockDim.x) mine[column] = 0.0f;
}

/// Adds to `sum` each micro-batch's mean loss times `share`, one after the other. One block of 8 warps.
extern "C" __global__ void matryoshka_sum(double *sum, const double *losses, u32 first_row, u32 pairs, u32 batches,
                                          float share) {
    __shared__ double of_batch[8];
    u32 lane = threadIdx.x & 31, warp = threadIdx.x / WARP;
    for (u32 first = 0; first < batches; first += 8) {
        double mine = 0.0;
        if (first + warp < batches) {
            const double *from = losses + tile_base(first_row, first + warp, pairs);
            for (u32 anchor = lane; anchor < pairs; anchor += WARP) mine += from[anchor];
        }
        mine = warp_sum(mine);
        if (lane == 0) of_batch[warp] = mine;
        __syncthreads();
        if (threadIdx.x == 0) {
            double all = *sum;
            for (u32 batch = 0; batch < min(8u, batches - first); batch++)
                all += (double)share * (of_batch[batch] / (double)pairs);
            *sum = all;
        }
        __syncthreads();
    }
}
