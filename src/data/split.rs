//! Draws the evaluation rows.
//!
//! The counts are those of scikit-learn's (and so datasets') `train_test_split`: the evaluation gets the ceiling. The draw
//! is a partial Fisher–Yates shuffle by SplitMix64 (Steele, Lea and Flood, 2014), so that a seed means the same rows on
//! every machine and in every version.

use std::collections::HashSet;

use crate::domain::Pair;

use super::error::DatasetError;

/// Splits rows into (training, evaluation): `ceil(test_size × rows)` evaluate, drawn by `seed`; both parts keep the
/// file's order. A `test_size` of 0 leaves no evaluation rows.
///
/// # Errors
/// [`DatasetError::TestSize`] where it is not from 0 to below 1 or leaves no row to train on.
pub fn split_pairs(pairs: Vec<Pair>, test_size: f64, seed: u64) -> Result<(Vec<Pair>, Vec<Pair>), DatasetError> {
    if !(0.0..1.0).contains(&test_size) {
        return Err(DatasetError::TestSize { message: format!("{test_size} is not from 0 to below 1") });
    }
    let rows = pairs.len();
    // A share below 1 of a count that fits f64 exactly rounds up to at most the count.
    let eval_rows = (test_size * rows as f64).ceil() as usize;
    if eval_rows >= rows {
        return Err(DatasetError::TestSize {
            message: format!("{test_size} of {rows} rows is {eval_rows}, which leaves none to train on"),
        });
    }
    let mut order: Vec<usize> = (0..rows).collect();
    let mut random = SplitMix64(seed);
    for drawn in 0..eval_rows {
        order.swap(drawn, drawn + random.below(rows - drawn));
    }
    let mut evaluates = vec![false; rows];
    for index in &order[..eval_rows] {
        evaluates[*index] = true;
    }
    let (mut train, mut eval) = (Vec::with_capacity(rows - eval_rows), Vec::with_capacity(eval_rows));
    for (pair, evaluates) in pairs.into_iter().zip(evaluates) {
        if evaluates { eval.push(pair) } else { train.push(pair) }
    }
    Ok((train, eval))
}

/// Makes ids unique over both files of a dataset: where both number their rows alike, the evaluation's ids all get
/// `eval-` before them (as often as it takes).
pub fn separate_ids(train: &[Pair], eval: &mut [Pair]) {
    let taken: HashSet<&str> = train.iter().map(|pair| pair.id.as_str()).collect();
    while eval.iter().any(|pair| taken.contains(pair.id.as_str())) {
        for pair in eval.iter_mut() {
            pair.id.insert_str(0, "eval-");
        }
    }
}

/// The generator: a counter, and a mix of its bits.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below `bound`, each as likely: values of the last, incomplete round are drawn again.
    fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        let complete = u64::MAX - u64::MAX % bound;
        loop {
            let drawn = self.next();
            if drawn < complete {
                return (drawn % bound) as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(count: usize) -> Vec<Pair> {
        (0..count).map(|id| Pair { id: id.to_string(), anchor: format!("q{id}"), positive: format!("p{id}") }).collect()
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // First outputs for seed 1234567, as the authors' reference in C gives them.
        let mut random = SplitMix64(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn counts_are_scikit_learns() {
        // [(n, t, len(train_test_split(range(n), test_size=t)[1])) for …]
        for (rows, test_size, eval) in
            [(7000, 0.1, 700), (10, 0.11, 2), (10, 0.1, 1), (3, 0.01, 1), (101, 0.5, 51), (5, 0.0, 0)]
        {
            let (train, test) = split_pairs(pairs(rows), test_size, 42).unwrap();
            assert_eq!((train.len(), test.len()), (rows - eval, eval), "{test_size} of {rows}");
        }
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        for test_size in [-0.1, 1.0, 1.5, f64::NAN, f64::INFINITY] {
            assert!(split_pairs(pairs(10), test_size, 1).is_err(), "{test_size}");
        }
        assert!(split_pairs(pairs(1), 0.5, 1).is_err());
        assert!(split_pairs(pairs(4), 0.99, 1).is_err());
    }

    #[test]
    fn every_row_is_drawn_about_as_often() {
        let mut drawn = [0_u32; 10];
        for seed in 0..4000 {
            for pair in split_pairs(pairs(10), 0.3, seed).unwrap().1 {
                drawn[pair.id.parse::<usize>().unwrap()] += 1;
            }
        }
        // 1200 expected each, with a standard deviation of 29.
        assert!(drawn.iter().all(|count| (1050..1350).contains(count)), "{drawn:?}");
    }

    #[test]
    fn ids_of_two_files_are_kept_apart() {
        let train = pairs(3);
        let mut eval = pairs(2);
        separate_ids(&train, &mut eval);
        assert_eq!(eval[1].id, "eval-1");
        let mut apart = vec![Pair { id: "x".into(), anchor: String::new(), positive: String::new() }];
        separate_ids(&train, &mut apart);
        assert_eq!(apart[0].id, "x");
        let both = [pairs(1), eval.clone()].concat();
        let mut eval = pairs(1);
        separate_ids(&both, &mut eval);
        assert_eq!(eval[0].id, "eval-eval-0");
    }

    proptest! {
        #[test]
        fn each_row_lands_once_in_order_and_the_same_again(rows in 2_usize..300, share in 0.0..0.5, seed: u64) {
            let (train, eval) = split_pairs(pairs(rows), share, seed).unwrap();
            let again = split_pairs(pairs(rows), share, seed).unwrap();
            prop_assert_eq!((&train, &eval), (&again.0, &again.1));
            let number = |pair: &Pair| pair.id.parse::<usize>().unwrap();
            prop_assert!(train.is_sorted_by_key(number) && eval.is_sorted_by_key(number));
            let mut all: Vec<usize> = train.iter().chain(&eval).map(number).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..rows).collect::<Vec<_>>());
        }
    }
}
