// What all kernels share: number types, warp sums, the tensor cores' product. No header is included, so that NVRTC needs
// none; the emulator defines MATRYO_EMULATED and the few words of CUDA before this file.
//
// Conventions: matrices are row-major; T is the type of activations, `bf16` or `float`; sums are taken in float32, in an
// order that depends on sizes alone, so that a run gives the same bits again. Kernels are instantiated at each file's end
// as `name_bf16` and `name_f32`.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;

#define FULL_WARP 0xffffffffu
#define WARP 32

/// A bfloat16 as its bits.
struct bf16 {
    u16 bits;
};

__device__ __forceinline__ float to_float(float value) {
    return value;
}

__device__ __forceinline__ float to_float(bf16 value) {
    return __uint_as_float((u32)value.bits << 16);
}

/// Rounds to the nearest bfloat16, halves to even; what is not a number stays so.
__device__ __forceinline__ bf16 to_bf16(float value) {
    u32 bits = __float_as_uint(value);
    bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    bits = is_nan ? bits | 0x00400000u : bits + 0x7fffu + ((bits >> 16) & 1u);
    bf16 rounded;
    rounded.bits = (u16)(bits >> 16);
    return rounded;
}

template <typename T> struct Convert;

template <> struct Convert<float> {
    static __device__ __forceinline__ float from(float value) {
        return value;
    }
};

template <> struct Convert<bf16> {
    static __device__ __forceinline__ bf16 from(float value) {
        return to_bf16(value);
    }
};

/// Two numbers as bfloat16 in one register, the first in the low half, as the tensor cores take them: one instruction,
/// where `to_bf16` is half a dozen for each.
__device__ __forceinline__ u32 pack_bf16(float low, float high) {
#ifdef MATRYO_EMULATED
    return (u32)to_bf16(low).bits | (u32)to_bf16(high).bits << 16;
#else
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#endif
}

/// 16 bytes, moved at once; addresses must be multiples of 16.
struct __align__(16) Words {
    u32 word[4];
};

/// Reads 8 consecutive numbers; the address must be a multiple of 16 bytes.
__device__ __forceinline__ void load8(const bf16 *from, float (&to)[8]) {
    Words words = *(const Words *)from;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        to[2 * i] = __uint_as_float(words.word[i] << 16);
        to[2 * i + 1] = __uint_as_float(words.word[i] & 0xffff0000u);
    }
}

__device__ __forceinline__ void load8(const float *from, float (&to)[8]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        Words words = *(const Words *)(from + 4 * half);
#pragma unroll
        for (int i = 0; i < 4; i++) to[4 * half + i] = __uint_as_float(words.word[i]);
    }
}

/// Writes 8 consecutive numbers; the address must be a multiple of 16 bytes.
__device__ __forceinline__ void store8(bf16 *to, const float (&from)[8]) {
    Words words;
#pragma unroll
    for (int i = 0; i < 4; i++) words.word[i] = pack_bf16(from[2 * i], from[2 * i + 1]);
    *(Words *)to = words;
}

__device__ __forceinline__ void store8(float *to, const float (&from)[8]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        Words words;
#pragma unroll
        for (int i = 0; i < 4; i++) words.word[i] = __float_as_uint(from[4 * half + i]);
        *(Words *)(to + 4 * half) = words;
    }
}

/// The sum over a warp, in every lane. All 32 lanes must come.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1) value += __shfl_xor_sync(FULL_WARP, value, distance);
    return value;
}

__device__ __forceinline__ double warp_sum(double value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1) value += __shfl_xor_sync(FULL_WARP, value, distance);
    return value;
}

/// The largest over a warp, in every lane.
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1)
        value = fmaxf(value, __shfl_xor_sync(FULL_WARP, value, distance));
    return value;
}

/// The tensor cores' product of a warp, d += a b, in bfloat16 with float32 sums: a is 16 × 16, b 16 × 8, d 16 × 8. With
/// g = lane / 4 and t = lane % 4 a lane holds
///   a[0] = a(g, 2t..), a[1] = a(g + 8, 2t..), a[2] = a(g, 2t + 8..), a[3] = a(g + 8, 2t + 8..), two columns each,
///   b[0] = b(2t.., g), b[1] = b(2t + 8.., g), two rows each,
///   d[0..2] = d(g, 2t..), d[2..4] = d(g + 8, 2t..).
__device__ __forceinline__ void multiply_16x8x16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#ifdef MATRYO_EMULATED
    emulated_multiply_16x8x16(d, a, b);
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/// Dynamic shared memory, whose size the launch gives, as bytes; aligned to 16.
#ifdef MATRYO_EMULATED
#define DYNAMIC_SHARED(name) unsigned char *name = emulated_dynamic_shared()
#else
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif

/// Bit `place` of a row of a dropout mask (`dropout.cu`), as the factor that it stands for; 1 where there is no mask.
__device__ __forceinline__ float mask_factor(const u32 *row, u32 place, float scale) {
    if (row == 0) return 1.0f;
    return row[place >> 5] >> (place & 31) & 1u ? scale : 0.0f;
}

/// Multiplies 8 numbers, those of piece `piece` of a row (numbers 8 piece to 8 piece + 7), by their factors in the
/// row's dropout mask; leaves them where there is no mask.
__device__ __forceinline__ void mask8(float (&values)[8], const u32 *row, u32 piece, float scale) {
    if (row == 0) return;
    u32 bits = ((const unsigned char *)row)[piece];
#pragma unroll
    for (int i = 0; i < 8; i++) values[i] *= bits >> i & 1u ? scale : 0.0f;
}

/// The row of a mask, `[rows, row_words]`, that may be none.
__device__ __forceinline__ const u32 *mask_row(const u32 *mask, u32 row, u32 row_words) {
    return mask == 0 ? mask : mask + (u64)row * row_words;
}

/// Layer norm of a row that a warp takes. `read(piece, x)` gives numbers 8 piece to 8 piece + 7, `write(piece, x)`
/// takes them normalised; both by the same lane. Returns 1 / the standard deviation. A lane holds PIECES pieces, which
/// reach for up to 256 PIECES columns and more than 256 (PIECES - 1); with 0 it holds none and reads the row three
/// times.
template <int PIECES, typename Read, typename Write>
__device__ __forceinline__ float normalize_row(u32 columns, float epsilon, Read read, Write write) {
    const u32 lane = threadIdx.x & 31, pieces = columns / 8;
    float sum = 0.0f, squares = 0.0f;
    if constexpr (PIECES > 0) {
        float x[PIECES][8];
        const bool has_last = 32 * (PIECES - 1) + lane < pieces;
        // Without a branch, so that all loads are under way before the first is waited for: lanes beyond the end read
        // the row's last piece.
#pragma unroll
        for (int p = 0; p < PIECES; p++) read(min(32u * p + lane, pieces - 1), x[p]);
#pragma unroll
        for (int p = 0; p < PIECES; p++) {
            bool mine = p < PIECES - 1 || has_last;
#pragma unroll
            for (int i = 0; i < 8; i++) sum += mine ? x[p][i] : 0.0f;
        }
        float mean = warp_sum(sum) / (float)columns;
#pragma unroll
        for (int p = 0; p < PIECES; p++) {
            bool mine = p < PIECES - 1 || has_last;
#pragma unroll
            for (int i = 0; i < 8; i++) {
                x[p][i] -= mean;
                squares += mine ? x[p][i] * x[p][i] : 0.0f;
            }
        }
        float inverse = 1.0f / sqrtf(warp_sum(squares) / (float)columns + epsilon);
#pragma unroll
        for (int p = 0; p < PIECES; p++) {
            if (p == PIECES - 1 && !has_last) continue;
#pragma unroll
            for (int i = 0; i < 8; i++) x[p][i] *= inverse;
            write(32u * p + lane, x[p]);
        }
        return inverse;
    } else {
        float x[8];
        for (u32 piece = lane; piece < pieces; piece += WARP) {
            read(piece, x);
#pragma unroll
            for (int i = 0; i < 8; i++) sum += x[i];
        }
        float mean = warp_sum(sum) / (float)columns;
        for (u32 piece = lane; piece < pieces; piece += WARP) {
            read(piece, x);
#pragma unroll
            for (int i = 0; i < 8; i++) squares += (x[i] - mean) * (x[i] - mean);
        }
        float inverse = 1.0f / sqrtf(warp_sum(squares) / (float)columns + epsilon);
        for (u32 piece = lane; piece < pieces; piece += WARP) {
            read(piece, x);
#pragma unroll
            for (int i = 0; i < 8; i++) x[i] = (x[i] - mean) * inverse;
            write(piece, x);
        }
        return inverse;
    }
}
