//! Draws the evaluation rows.

use crate::domain::Pair;

use super::error::DatasetError;

/// Splits rows into (training, evaluation): `ceil(test_size × rows)` evaluate, drawn by `seed`; both parts keep the
/// file's order.
///
/// # Errors
/// [`DatasetError::TestSize`] where it is not from 0 to below 1 or leaves no row to train on.
pub fn split_pairs(_pairs: Vec<Pair>, _test_size: f64, _seed: u64) -> Result<(Vec<Pair>, Vec<Pair>), DatasetError> {
    todo!("data")
}

/// Makes ids unique over both files of a dataset: where both number their rows alike, the evaluation's ids all get
/// `eval-` before them.
pub fn separate_ids(_train: &[Pair], _eval: &mut [Pair]) {
    todo!("data")
}
