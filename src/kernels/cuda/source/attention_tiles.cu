// What attention's kernels share. A block owns a tile of rows of one sequence and head, 16 rows for each of its warps,
// and walks over all of the sequence's rows, a tile at a time in shared memory: forward and the gradients by queries
// own queries and walk over keys and values; the gradients by keys and values own keys and walk over queries. A tile's
// copy is under way while the one before it is worked on. What lies beyond a sequence's end is zero in shared memory.

namespace attention {

/// Where a pointer into shared memory points, as the instructions below take it.
__device__ __forceinline__ u32 shared_address(const void *place) {
#ifdef MATRYO_EMULATED
    return 0;
#else
    return (u32)__cvta_generic_to_shared(place);
#endif
}

/// Begins to copy 16 or 4 bytes to shared memory, or to write as many zeros where the bytes are not `there`.
template <int BYTES> __device__ __forceinline__ void begin_copy(void *to, const void *from, bool there) {
    static_assert(BYTES == 16 || BYTES == 4, "other sizes have other instructions");
#ifdef MATRYO_EMULATED
    emulated_begin_copy(to, there ? from : 0, BYTES);
#else
    u32 bytes = there ? BYTES : 0;
    if (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
                     : "memory");
#endif
}

/// Makes a group of this thread's copies begun since the last one.
__device__ __forceinline__ void end_copies() {
#ifdef MATRYO_EMULATED
    emulated_end_copies();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits for all of this thread's groups but the last `LEFT`.
template <int LEFT> __device__ __forceinline__ void wait_for_copies() {
#ifdef MATRYO_EMULATED
    emulated_wait_for_copies(LEFT);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#endif
}

/// Four 8 × 8 matrices of bfloat16 from shared memory: lanes 8 m to 8 m + 7 give the rows of matrix m, 16 bytes each.
/// With g = lane / 4 and t = lane % 4 a lane gets m(g, 2t..), two columns, of each; transposed m(2t.., g), two rows.
template <bool TRANSPOSED> __device__ __forceinline__ void load_matrices(u32 (&to)[4], const bf16 *row) {
#ifdef MATRYO_EMULATED
    int g = emulator::lane() / 4, t = emulator::lane() % 4;
    const emulator::Slot *rows = emulator::exchange(*(const Words *)row);
    for (int m = 0; m < 4; m++) {
        const u16 *first = (const u16 *)rows[8 * m + (TRANSPOSED ? 2 * t : g)].bytes;
        const u16 *second = TRANSPOSED ? (const u16 *)rows[8 * m + 2 * t + 1].bytes : first;
        to[m] = TRANSPOSED ? first[g] | (u32)second[g] << 16 : first[2 * t] | (u32)second[2 * t + 1] << 16;
    }
#else
    if (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(shared_address(row))
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(shared_address(row))
                     : "memory");
#endif
}

/// 2 to the power of `value` in one instruction; 0 for -infinity.
__device__ __forceinline__ float fast_exp2(float value) {
#ifdef MATRYO_EMULATED
    return exp2f(value);
#else
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(value));
    return power;
#endif
}

#define LOG2_E 1.4426950408889634f
#define MINUS_INFINITY __uint_as_float(0xff800000u)

/// The sum over the four lanes that share a row, in each.
__device__ __forceinline__ float quad_sum(float value) {
    value += __shfl_xor_sync(FULL_WARP, value, 1);
    return value + __shfl_xor_sync(FULL_WARP, value, 2);
}

__device__ __forceinline__ float quad_max(float value) {
    value = fmaxf(value, __shfl_xor_sync(FULL_WARP, value, 1));
    return fmaxf(value, __shfl_xor_sync(FULL_WARP, value, 2));
}

/// A tile's rows in shared memory: 16 bytes more than they need, so that rows lie in different banks; as many rows as
/// keep two tiles of two matrices below 40 KB.
template <typename T, int D> struct Tiled {
    static constexpr int ELEMENTS = 16 / sizeof(T);
    static constexpr int PITCH = D + ELEMENTS;
    static constexpr int MOST_ROWS = D * sizeof(T) <= 128 ? 64 : 32;
};

/// Where a block works.
struct Place {
    /// The sequence's first token, and how many it has.
    u32 start, length;
    /// The first row that the block owns.
    u32 first;
    u32 head, hidden;
    /// Rows of a tile that is walked over.
    u32 rows;
    /// The unit's mask, of `mask_words` words; none where it is 0.
    const u32 *mask;
    u32 mask_words;

    /// This warp's first row.
    __device__ __forceinline__ u32 warp_row() const {
        return first + threadIdx.x / WARP * 16;
    }
    /// True where this warp has rows.
    __device__ __forceinline__ bool has_rows() const {
        return warp_row() < length;
    }
};

template <typename T, int D>
__device__ __forceinline__ Place place_of(const u32 *tiles, const u32 *mask, const u32 *mask_starts) {
    Place place;
    Words tile = ((const Words *)tiles)[blockIdx.x];
    u32 sequence = tile.word[0], heads = gridDim.y;
    place.start = tile.word[1];
    place.length = tile.word[2];
    place.first = tile.word[3];
    place.head = blockIdx.y;
    place.hidden = heads * D;
    place.rows = min((u32)Tiled<T, D>::MOST_ROWS, blockDim.x / 2);
    place.mask = 0;
    place.mask_words = 0;
    if (mask != 0) {
        u32 groups = mask_starts[sequence + 1] - mask_starts[sequence];
        place.mask = mask + 8 * ((u64)mask_starts[sequence] * heads + (u64)place.head * groups);
        place.mask_words = 8 * groups;
    }
    return place;
}

/// A tile in shared memory.
template <typename T> struct Tile {
    /// Rows of the two matrices, `PITCH` apart.
    T *left, *right;
    /// Four words for each row of queries, owned or walked over, of which three hold the mask's bits: from those of the
    /// tile's first key on, after `first bit % 32` others.
    u32 *bits;
    /// Of queries that are walked over.
    float *log_sums, *deltas;
};

/// Bytes of a tile; `attention.rs` computes the same.
template <typename T, int D> __device__ __forceinline__ Tile<T> tile_at(unsigned char *shared, u32 rows, u32 stage) {
    u32 matrix = rows * Tiled<T, D>::PITCH * sizeof(T), owned = blockDim.x / 2;
    unsigned char *from = shared + stage * (2 * matrix + 16 * owned + 8 * rows);
    return Tile<T>{(T *)from, (T *)(from + matrix), (u32 *)(from + 2 * matrix),
                   (float *)(from + 2 * matrix + 16 * owned), (float *)(from + 2 * matrix + 16 * owned) + rows};
}

/// Begins to copy a head's columns of the sequence's rows `first` to `first + rows`; `from` is row 0, `stride` numbers
/// apart from row 1.
template <typename T, int D>
__device__ __forceinline__ void copy_rows(T *to, const T *from, u32 stride, u32 first, u32 rows, u32 length) {
    constexpr u32 ELEMENTS = Tiled<T, D>::ELEMENTS, CHUNKS = D / ELEMENTS;
    for (u32 i = threadIdx.x; i < rows * CHUNKS; i += blockDim.x) {
        u32 row = i / CHUNKS, place = i % CHUNKS * ELEMENTS;
        bool there = first + row < length;
        begin_copy<16>(to + row * Tiled<T, D>::PITCH + place, from + (u64)(there ? first + row : 0) * stride + place,
                       there);
    }
}

/// Begins to copy the mask's bits of queries `query` to `query + queries` and the (at most 64) keys from `key` on.
__device__ __forceinline__ void copy_bits(u32 *to, const Place &place, u32 query, u32 queries, u32 key) {
    for (u32 i = threadIdx.x; i < 4 * queries; i += blockDim.x) {
        u32 row = i / 4, word = i % 4;
        u32 from = ((query + row) * place.length + key) / 32 + word;
        bool there = word < 3 && query + row < place.length && from < place.mask_words;
        begin_copy<4>(to + i, place.mask + (there ? from : 0), there);
    }
}

/// The mask's bits of a query whose words `copy_bits` brought, from key `key + further` on: at least 16 of them.
__device__ __forceinline__ u32 bits_of(const u32 *words, const Place &place, u32 query, u32 key, u32 further) {
    u32 bit = (query * place.length + key) % 32 + further;
    u64 both = (u64)words[bit / 32 + 1] << 32 | words[bit / 32];
    return (u32)(both >> bit % 32);
}

/// The matrices that a block walks over.
template <typename T> struct Walked {
    /// The head's columns of the sequence's first row, and how far rows are apart.
    const T *left, *right;
    u32 left_stride, right_stride;
    /// Of the sequence's first row; 0 where rows are keys.
    const float *log_sums, *deltas;
};

/// Begins to copy the walked rows from `first` on.
template <typename T, int D>
__device__ __forceinline__ void begin_tile(unsigned char *shared, u32 stage, const Place &place,
                                           const Walked<T> &walked, u32 first) {
    Tile<T> tile = tile_at<T, D>(shared, place.rows, stage);
    // Rows are worked on 16 at a time.
    u32 rows = min(place.rows, (place.length - first + 15) / 16 * 16);
    copy_rows<T, D>(tile.left, walked.left, walked.left_stride, first, rows, place.length);
    copy_rows<T, D>(tile.right, walked.right, walked.right_stride, first, rows, place.length);
    bool queries = walked.log_sums != 0;
    if (queries)
        for (u32 row = threadIdx.x; row < rows; row += blockDim.x) {
            bool there = first + row < place.length;
            begin_copy<4>(tile.log_sums + row, walked.log_sums + (there ? first + row : 0), there);
            begin_copy<4>(tile.deltas + row, walked.deltas + (there ? first + row : 0), there);
        }
    if (place.mask != 0)
        copy_bits(tile.bits, place, queries ? first : place.first, queries ? rows : blockDim.x / 2,
                  queries ? place.first : first);
    end_copies();
}

/// Walks over the sequence, whose first tile's copy was begun: `warp.step(tile, first row, rows)` for each tile. Shared
/// memory is free afterwards.
template <typename T, int D, typename Warp>
__device__ __forceinline__ void walk(Warp &warp, unsigned char *shared, const Place &place, const Walked<T> &walked) {
    u32 stage = 0;
    for (u32 first = 0; first < place.length; first += place.rows) {
        u32 next = first + place.rows;
        if (next < place.length) {
            begin_tile<T, D>(shared, stage ^ 1, place, walked, next);
            wait_for_copies<1>();
        } else {
            wait_for_copies<0>();
        }
        __syncthreads();
        if (place.has_rows())
            warp.step(tile_at<T, D>(shared, place.rows, stage), first, min(place.rows, place.length - first));
        // The next round's copies go where this tile is.
        __syncthreads();
        stage ^= 1;
    }
}

}  // namespace attention
