//! What computes a precision.

use crate::domain::Precision;
use crate::kernels::Hardware;
use crate::kernels::linear::Arithmetic;
use crate::kernels::packed::Unit;

/// The arithmetic that stands for a precision on this machine's CPU.
pub(super) fn arithmetic(precision: Precision) -> Arithmetic {
    let hardware = Unit::for_bf16();
    match precision {
        Precision::Float32 => Arithmetic::float32(),
        Precision::Auto => {
            hardware.filter(|unit| unit.is_faster()).map_or_else(Arithmetic::float32, Arithmetic::Packed)
        }
        Precision::Bf16 => Arithmetic::Packed(hardware.unwrap_or(Unit::Portable)),
    }
}

/// The precision that `auto` stands for: on a GPU bfloat16, on a CPU the same where it computes it faster than float32.
#[must_use]
pub fn resolve_precision(hardware: &Hardware, precision: Precision) -> Precision {
    if hardware.is_gpu() {
        return if precision == Precision::Auto { Precision::Bf16 } else { precision };
    }
    match arithmetic(precision) {
        Arithmetic::Gemm | Arithmetic::Packed(Unit::Float32 | Unit::Float32Avx2) => Precision::Float32,
        Arithmetic::Packed(Unit::Amx | Unit::Avx512 | Unit::Portable) => Precision::Bf16,
    }
}

/// What computes a precision's matrix products, in words for logs and reports.
#[must_use]
pub fn describe_precision(hardware: &Hardware, precision: Precision) -> &'static str {
    if hardware.is_gpu() {
        return if precision == Precision::Float32 { "float32 (products in TF32)" } else { "bf16" };
    }
    match arithmetic(precision) {
        Arithmetic::Gemm | Arithmetic::Packed(Unit::Float32 | Unit::Float32Avx2) => "float32",
        Arithmetic::Packed(Unit::Amx) => "bf16 (AMX)",
        Arithmetic::Packed(Unit::Avx512) => "bf16 (AVX512-BF16)",
        Arithmetic::Packed(Unit::Portable) => "bf16 (plain Rust: this CPU has no instructions for it)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_bf16_exactly_where_that_is_faster() {
        let is_faster = Unit::for_bf16().is_some_and(Unit::is_faster);
        let expected = if is_faster { Precision::Bf16 } else { Precision::Float32 };
        assert_eq!(resolve_precision(&Hardware::cpu(), Precision::Auto), expected);
        assert_eq!(resolve_precision(&Hardware::cpu(), Precision::Float32), Precision::Float32);
        assert_eq!(resolve_precision(&Hardware::cpu(), Precision::Bf16), Precision::Bf16);
    }
}
