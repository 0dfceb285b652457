// Softmax attention over packed sequences, forward and backward, as `kernels/attention` computes it on the CPU. A block
// takes a tile of a sequence's rows and a head: grid.x counts tiles, grid.y heads. `tiles` holds for each its sequence,
// that one's first token and length, and the tile's first row; a block of 32 w threads owns 16 w rows. `log_sums` and
// `deltas` are `[heads, tokens]`.

namespace attention {

/// `context = dropout(softmax(query keyᵀ factor)) value`, where the mask's factor is `scale`; `log_sums`, if it is not
/// 0, gets the logarithm of each softmax's sum.
template <typename T, int D>
__device__ __forceinline__ void forward(const T *qkv, const u32 *tiles, T *context, float *log_sums, u32 tokens,
                                        const u32 *mask, const u32 *mask_starts, float factor, float scale) {
    DYNAMIC_SHARED(shared);
    Place place = place_of<T, D>(tiles, mask, mask_starts);
    u32 stride = 3 * place.hidden;
    const T *query = qkv + (u64)place.start * stride + place.head * D;
    Walked<T> walked = {query + place.hidden, query + 2 * place.hidden, stride, stride, 0, 0};
    begin_tile<T, D>(shared, 0, place, walked, 0);
    Forward<T, D> warp(place, query, stride, factor, scale);
    walk<T, D>(warp, shared, place, walked);
    if (!place.has_rows()) return;
    if (log_sums != 0) log_sums += (u64)place.head * tokens + place.start;
    warp.finish(context + (u64)place.start * place.hidden + place.head * D, place.hidden, log_sums, shared);
}

/// The gradient by queries, to their columns of `d_qkv`, and for the gradients by keys and values, which come next,
/// `deltas`: the products of each query's context with its gradient.
template <typename T, int D>
__device__ __forceinline__ void d_query(const T *qkv, const T *context, const T *d_context, const u32 *tiles,
                                        const float *log_sums, float *deltas, T *d_qkv, u32 tokens, const u32 *mask,
                                        const u32 *mask_starts, float factor, float scale) {
    DYNAMIC_SHARED(shared);
    Place place = place_of<T, D>(tiles, mask, mask_starts);
    u32 stride = 3 * place.hidden;
    u64 query = (u64)place.start * stride + place.head * D;
    u64 row = (u64)place.start * place.hidden + place.head * D, sums = (u64)place.head * tokens + place.start;
    Walked<T> walked = {qkv + query + place.hidden, qkv + query + 2 * place.hidden, stride, stride, 0, 0};
    begin_tile<T, D>(shared, 0, place, walked, 0);
    QueryGradient<T, D> warp(place, qkv + query, stride, context + row, d_context + row, place.hidden, log_sums + sums,
                             deltas + sums, factor, scale);
    walk<T, D>(warp, shared, place, walked);
    if (place.has_rows()) warp.finish(d_qkv + query, stride, shared);
}

/// The gradients by keys and values, to their columns of `d_qkv`.
template <typename T, int D>
__device__ __forceinline__ void d_key(const T *qkv, const T *d_context, const u32 *tiles, const float *log_sums,
                                      const float *deltas, T *d_qkv, u32 tokens, const u32 *mask,
                                      const u32 *mask_starts, float factor, float scale) {
    DYNAMIC_SHARED(shared);
    Place place = place_of<T, D>(tiles, mask, mask_starts);
    u32 stride = 3 * place.hidden;
    u64 query = (u64)place.start * stride + place.head * D, key = query + place.hidden, value = key + place.hidden;
    u64 row = (u64)place.start * place.hidden + place.head * D, sums = (u64)place.head * tokens + place.start;
    Walked<T> walked = {qkv + query, d_context + row, stride, place.hidden, log_sums + sums, deltas + sums};
    begin_tile<T, D>(shared, 0, place, walked, 0);
    KeyGradient<T, D> warp(place, qkv + key, qkv + value, stride, factor, scale);
    walk<T, D>(warp, shared, place, walked);
    if (place.has_rows()) warp.finish(d_qkv + key, d_qkv + value, stride, shared);
}

}  // namespace attention

#define ATTENTION_MASK const u32 *mask, const u32 *mask_starts, float factor, float scale
#define ATTENTION_FORWARD(T) const T *qkv, const u32 *tiles, T *context, float *log_sums, u32 tokens, ATTENTION_MASK
#define ATTENTION_FORWARD_PASSED qkv, tiles, context, log_sums, tokens, mask, mask_starts, factor, scale
#define ATTENTION_D_QUERY(T)                                                                                          \
    const T *qkv, const T *context, const T *d_context, const u32 *tiles, const float *log_sums, float *deltas,       \
        T *d_qkv, u32 tokens, ATTENTION_MASK
#define ATTENTION_D_QUERY_PASSED                                                                                      \
    qkv, context, d_context, tiles, log_sums, deltas, d_qkv, tokens, mask, mask_starts, factor, scale
#define ATTENTION_D_KEY(T)                                                                                            \
    const T *qkv, const T *d_context, const u32 *tiles, const float *log_sums, const float *deltas, T *d_qkv,         \
        u32 tokens, ATTENTION_MASK
#define ATTENTION_D_KEY_PASSED qkv, d_context, tiles, log_sums, deltas, d_qkv, tokens, mask, mask_starts, factor, scale

extern "C" __global__ void __launch_bounds__(128) attention_forward_16_bf16(ATTENTION_FORWARD(bf16)) {
    attention::forward<bf16, 16>(ATTENTION_FORWARD_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_forward_32_bf16(ATTENTION_FORWARD(bf16)) {
    attention::forward<bf16, 32>(ATTENTION_FORWARD_PASSED);
}
extern "C" __global__ void __launch_bounds__(128, 4) attention_forward_64_bf16(ATTENTION_FORWARD(bf16)) {
    attention::forward<bf16, 64>(ATTENTION_FORWARD_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_forward_128_bf16(ATTENTION_FORWARD(bf16)) {
    attention::forward<bf16, 128>(ATTENTION_FORWARD_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_forward_16_f32(ATTENTION_FORWARD(float)) {
    attention::forward<float, 16>(ATTENTION_FORWARD_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_forward_32_f32(ATTENTION_FORWARD(float)) {
    attention::forward<float, 32>(ATTENTION_FORWARD_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_forward_64_f32(ATTENTION_FORWARD(float)) {
    attention::forward<float, 64>(ATTENTION_FORWARD_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_query_16_bf16(ATTENTION_D_QUERY(bf16)) {
    attention::d_query<bf16, 16>(ATTENTION_D_QUERY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_query_32_bf16(ATTENTION_D_QUERY(bf16)) {
    attention::d_query<bf16, 32>(ATTENTION_D_QUERY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_query_64_bf16(ATTENTION_D_QUERY(bf16)) {
    attention::d_query<bf16, 64>(ATTENTION_D_QUERY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_query_128_bf16(ATTENTION_D_QUERY(bf16)) {
    attention::d_query<bf16, 128>(ATTENTION_D_QUERY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_query_16_f32(ATTENTION_D_QUERY(float)) {
    attention::d_query<float, 16>(ATTENTION_D_QUERY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_query_32_f32(ATTENTION_D_QUERY(float)) {
    attention::d_query<float, 32>(ATTENTION_D_QUERY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_query_64_f32(ATTENTION_D_QUERY(float)) {
    attention::d_query<float, 64>(ATTENTION_D_QUERY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_key_16_bf16(ATTENTION_D_KEY(bf16)) {
    attention::d_key<bf16, 16>(ATTENTION_D_KEY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_key_32_bf16(ATTENTION_D_KEY(bf16)) {
    attention::d_key<bf16, 32>(ATTENTION_D_KEY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_key_64_bf16(ATTENTION_D_KEY(bf16)) {
    attention::d_key<bf16, 64>(ATTENTION_D_KEY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_key_128_bf16(ATTENTION_D_KEY(bf16)) {
    attention::d_key<bf16, 128>(ATTENTION_D_KEY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_key_16_f32(ATTENTION_D_KEY(float)) {
    attention::d_key<float, 16>(ATTENTION_D_KEY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_key_32_f32(ATTENTION_D_KEY(float)) {
    attention::d_key<float, 32>(ATTENTION_D_KEY_PASSED);
}
extern "C" __global__ void __launch_bounds__(128) attention_d_key_64_f32(ATTENTION_D_KEY(float)) {
    attention::d_key<float, 64>(ATTENTION_D_KEY_PASSED);
}
