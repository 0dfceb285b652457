//! Sums of embedding rows, normalised, and the way their gradient goes back into the tables.

use super::dropout::DropoutStream;
use super::layer_norm::Norm;
use super::vector::{add_scaled, vectorized};

/// `output = dropout(norm(words[id] + positions[position] + token_type))` for each token; tables and `output` have rows of
/// `columns`. `normalized` and `inverse` are left for backward, as [`super::layer_norm::dropout_residual_norm`] leaves them.
///
/// # Panics
/// Where an id or a position lies outside of its table.
#[expect(
    clippy::too_many_arguments,
    reason = "three tables, two outputs for backward, and nothing that belongs together"
)]
pub(crate) fn embed(
    first_row: usize,
    ids: &[u32],
    positions: &[u32],
    words: &[f32],
    position_table: &[f32],
    token_type: &[f32],
    norm: Norm<'_>,
    dropout: Option<DropoutStream<'_>>,
    normalized: &mut [f32],
    inverse: &mut [f32],
    output: &mut [f32],
) {
    let columns = token_type.len();
    vectorized!({
        for (row, (id, position)) in ids.iter().zip(positions).enumerate() {
            let place = row * columns..(row + 1) * columns;
            let (normalized, output) = (&mut normalized[place.clone()], &mut output[place]);
            normalized.copy_from_slice(token_type);
            add_scaled(normalized, 1.0, table_row(words, *id, columns));
            add_scaled(normalized, 1.0, table_row(position_table, *position, columns));
            inverse[row] = norm.row(normalized, output);
            if let Some(dropout) = &dropout {
                dropout.apply((first_row + row) as u32, output);
            }
        }
    });
}

#[inline(always)]
fn table_row(table: &[f32], row: u32, columns: usize) -> &[f32] {
    &table[row as usize * columns..][..columns]
}

/// Multiplies a gradient by the dropout masks of [`embed`]'s output.
pub(crate) fn embed_dropout_backward(
    first_row: usize,
    d_output: &mut [f32],
    columns: usize,
    dropout: Option<DropoutStream<'_>>,
) {
    let Some(dropout) = dropout else { return };
    for (row, values) in (first_row..).zip(d_output.chunks_exact_mut(columns)) {
        dropout.apply(row as u32, values);
    }
}

/// Adds each row of `d_rows` (`[tokens, columns]`) to the row of `d_table` that `indices` names. On one thread, in the
/// order of the tokens: rows of the table repeat, and their sums must not depend on threads.
pub(crate) fn scatter_add(indices: &[u32], d_rows: &[f32], columns: usize, d_table: &mut [f32]) {
    vectorized!({
        for (index, row) in indices.iter().zip(d_rows.chunks_exact(columns)) {
            add_scaled(&mut d_table[*index as usize * columns..][..columns], 1.0, row);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_summed_and_scattered_back() {
        let columns = 4;
        let table = |rows: usize, step: usize| -> Vec<f32> {
            (0..rows * columns).map(|index| ((index * step) % 7) as f32).collect()
        };
        let (words, places, token_type) = (table(5, 3), table(3, 5), table(1, 2));
        let (ids, positions) = ([4, 0, 4, 2], [0, 1, 2, 0]);
        let norm = Norm { weight: &[1.0; 4], bias: &[0.5; 4], epsilon: 0.0 };
        let (mut normalized, mut inverse, mut output) = ([0.0; 16], [0.0; 4], [0.0; 16]);
        embed(
            0,
            &ids,
            &positions,
            &words,
            &places,
            &token_type,
            norm,
            None,
            &mut normalized,
            &mut inverse,
            &mut output,
        );
        for row in 0..4 {
            let sum: Vec<f32> = (0..4)
                .map(|c| words[ids[row] as usize * 4 + c] + places[positions[row] as usize * 4 + c] + token_type[c])
                .collect();
            let mean = sum.iter().sum::<f32>() / 4.0;
            let deviation = (sum.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 4.0).sqrt();
            for c in 0..4 {
                assert!((output[row * 4 + c] - (sum[c] - mean) / deviation - 0.5).abs() < 1e-5);
                assert!((normalized[row * 4 + c] / inverse[row] - (sum[c] - mean)).abs() < 1e-5);
            }
        }
        let mut d_words = vec![1.0; words.len()];
        let d_rows: Vec<f32> = (0..16_u8).map(f32::from).collect();
        scatter_add(&ids, &d_rows, columns, &mut d_words);
        assert_eq!(d_words[16..], [9.0, 11.0, 13.0, 15.0]);
        assert_eq!(d_words[..4], [5.0, 6.0, 7.0, 8.0]);
        assert_eq!(d_words[4..8], [1.0; 4]);
    }
}
