// Dropout masks as bits, 1 where a number is kept: the CPU engine's (kernels/dropout), bit for bit. Philox 4x32 with 7
// rounds; a counter's 128 bits are eight draws of 16 bits. Counter `16 c + l` draws for the numbers `128 c + 16 d + l` of
// its unit, d from 0 to 7, so that a warp's 32 counters draw for 256 numbers, and a ballot gives 32 of their bits.

__device__ __forceinline__ void philox(u32 (&word)[4], u32 key0, u32 key1) {
#pragma unroll
    for (int round = 0; round < 7; round++) {
        u32 low_high = __umulhi(word[0], 0xd2511f53u), low_low = word[0] * 0xd2511f53u;
        u32 high_high = __umulhi(word[2], 0xcd9e8d57u), high_low = word[2] * 0xcd9e8d57u;
        word[0] = high_high ^ word[1] ^ key0;
        word[1] = high_low;
        word[2] = low_high ^ word[3] ^ key1;
        word[3] = low_low;
        key0 += 0x9e3779b9u;
        key1 += 0xbb67ae85u;
    }
}

/// A warp writes the 256 bits of group `group` of a unit to `mask`, 8 words.
__device__ __forceinline__ void draw_group(u32 *mask, u32 group, u32 unit, u32 site, u32 micro_batch, u32 key0, u32 key1,
                                           u32 threshold) {
    u32 lane = threadIdx.x & 31;
    u32 word[4] = {32 * group + lane, unit, site, micro_batch};
    philox(word, key0, key1);
    u32 mine = 0;
#pragma unroll
    for (int draw = 0; draw < 8; draw++) {
        u32 drawn = draw & 1 ? word[draw / 2] >> 16 : word[draw / 2] & 0xffffu;
        u32 kept = __ballot_sync(FULL_WARP, drawn >= threshold);
        // Lane w is to hold word w: bits 32 w to 32 w + 31, of the first 16 lanes' chunk for w < 4.
        u32 half = (lane & 4) ? kept >> 16 : kept & 0xffffu;
        if ((lane & 3) == draw / 2) mine |= half << (draw & 1 ? 16 : 0);
    }
    if (lane < 8) mask[lane] = mine;
}

/// The masks of rows, each a unit of its own: `mask` is `[rows, row_words]`, row_words a multiple of 8. A row's unit and
/// micro-batch are `units[row]` and `micro_batches[row]`. A block takes a row.
extern "C" __global__ void dropout_rows(u32 *mask, const u32 *units, const u32 *micro_batches, u32 row_words, u32 site,
                                        u32 key0, u32 key1, u32 threshold) {
    u32 row = blockIdx.x, warps = blockDim.x / WARP;
    for (u32 group = threadIdx.x / WARP; group < row_words / 8; group += warps)
        draw_group(mask + (u64)row * row_words + 8 * group, group, units[row], site, micro_batches[row], key0, key1,
                   threshold);
}

/// The masks of attention's probabilities: one unit of length² numbers for each sequence and head. Sequence s of which
/// `units[s]` is the number in its micro-batch has its bits from word `8 heads starts[s]` on, `starts[s + 1] - starts[s]`
/// groups for each head. A block takes a head of a sequence.
extern "C" __global__ void dropout_probabilities(u32 *mask, const u32 *starts, const u32 *units,
                                                 const u32 *micro_batches, u32 heads, u32 site, u32 key0, u32 key1,
                                                 u32 threshold) {
    u32 sequence = blockIdx.x / heads, head = blockIdx.x % heads, warps = blockDim.x / WARP;
    u32 first = starts[sequence], groups = starts[sequence + 1] - first;
    u32 *mine = mask + 8 * ((u64)first * heads + (u64)head * groups);
    for (u32 group = threadIdx.x / WARP; group < groups; group += warps)
        draw_group(mine + 8 * (u64)group, group, units[sequence] * heads + head, site, micro_batches[sequence], key0,
                   key1, threshold);
}
