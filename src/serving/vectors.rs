//! What is done to a pooled embedding before it is answered: cut, then normalised.

/// Below this length an embedding is divided by this instead, as in PyTorch: a zero embedding stays zero.
const SMALLEST_LENGTH: f64 = 1e-12;

/// Cuts each row of `[rows, full]` to `dimension` numbers.
pub fn truncate(values: Vec<f32>, full: usize, dimension: usize) -> Vec<f32> {
    if dimension == full {
        return values;
    }
    values.chunks_exact(full).flat_map(|row| &row[..dimension]).copied().collect()
}

/// Gives each row of `[rows, dimension]` length 1.
pub fn normalize(values: &mut [f32], dimension: usize) {
    for row in values.chunks_exact_mut(dimension) {
        let square: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
        let scale = 1.0 / square.sqrt().max(SMALLEST_LENGTH);
        for value in row {
            *value = (f64::from(*value) * scale) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_and_then_have_length_one() {
        let mut values = truncate(vec![3.0, 4.0, 12.0, 0.0, 0.0, 1.0], 3, 2);
        assert_eq!(values, [3.0, 4.0, 0.0, 0.0]);
        normalize(&mut values, 2);
        assert_eq!(values, [0.6, 0.8, 0.0, 0.0]);
    }

    #[test]
    fn large_numbers_do_not_overflow() {
        let mut values = vec![f32::MAX, f32::MAX];
        normalize(&mut values, 2);
        assert!(values.iter().all(|value| (value - 0.5_f32.sqrt()).abs() < 1e-7), "{values:?}");
    }
}
