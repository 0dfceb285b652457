//! The CUDA C sources as one text, in the order in which they build on each other.

/// What NVRTC compiles, and the emulator.
pub(crate) const SOURCE: &str = concat!(
    include_str!("source/prelude.cu"),
    include_str!("source/dropout.cu"),
    include_str!("source/embedding.cu"),
    include_str!("source/norm.cu"),
    include_str!("source/gelu.cu"),
    include_str!("source/attention_tiles.cu"),
    include_str!("source/attention_bf16.cu"),
    include_str!("source/attention_bf16_backward.cu"),
    include_str!("source/attention_f32.cu"),
    include_str!("source/attention.cu"),
    include_str!("source/pooling.cu"),
    include_str!("source/matryoshka.cu"),
    include_str!("source/adamw.cu"),
    include_str!("source/search.cu"),
);
