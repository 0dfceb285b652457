//! In what numbers an encoder's matrix products are computed.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The numbers that matrix products are computed in. Weights, gradients, moments and sums are float32 always. On a GPU what
/// stands between products has the same numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// `bf16` on a GPU, and where the processor computes it faster than `float32`, which is taken elsewhere.
    #[default]
    Auto,
    /// 24 bits of precision: as PyTorch computes by default, and within 1e-5 of it. On a GPU linear layers multiply 11 bits
    /// (TF32).
    Float32,
    /// Factors of products rounded to bfloat16 (8 bits of precision), as under PyTorch's autocast: faster.
    Bf16,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Float32, Self::Bf16];

    /// The word that stands for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Float32 => "float32",
            Self::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|precision| precision.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is not a precision; expected one of auto, float32, bf16"))
    }
}
