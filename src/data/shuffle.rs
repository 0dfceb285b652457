//! Shuffles that stay the same across versions, machines and thread counts.
//!
//! The generator is PCG XSL RR 128/64, whose output is fixed by its paper; the seeding and the shuffle itself are
//! written out here, since a library may change either in any release and every resumed run would then differ.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// The numbers 0 to `len` - 1 in an order that `purpose`, `seed` and `round` decide. Two purposes, two seeds or two
/// rounds give unrelated orders.
#[must_use]
pub fn shuffled(len: usize, purpose: &str, seed: u64, round: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(len).expect("fewer than 2^32 rows")).collect();
    let mut generator = generator(purpose, seed, round);
    // Fisher and Yates: each place, from the last down, takes one of those at or before it.
    for last in (1..order.len()).rev() {
        order.swap(last, below(&mut generator, last as u64 + 1));
    }
    order
}

/// Seeds by hash, because generators seeded by neighboring numbers (`seed + epoch`) would give related streams.
fn generator(purpose: &str, seed: u64, round: u64) -> Pcg64 {
    let digest = Sha256::new()
        .chain_update(purpose)
        .chain_update([0])
        .chain_update(seed.to_le_bytes())
        .chain_update(round.to_le_bytes())
        .finalize();
    Pcg64::from_seed(digest.into())
}

/// A number from 0 to `bound` - 1, each as likely as the others: the high half of a 128-bit product, drawn again in the
/// rare case where it would favor some numbers (Lemire 2019).
fn below(generator: &mut Pcg64, bound: u64) -> usize {
    let reject_under = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(generator.next_u64()) * u128::from(bound);
        if product as u64 >= reject_under {
            return (product >> 64) as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_never_changes() {
        // Written down once. A change here means that jobs resumed across the release end with other weights.
        assert_eq!(shuffled(10, "test", 42, 0), [0, 5, 9, 2, 7, 6, 4, 3, 1, 8]);
    }

    #[test]
    fn each_number_comes_once_and_purpose_seed_and_round_matter() {
        let order = shuffled(1000, "test", 1, 1);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..1000));
        for other in [shuffled(1000, "text", 1, 1), shuffled(1000, "test", 2, 0), shuffled(1000, "test", 0, 2)] {
            let same = order.iter().zip(&other).filter(|(left, right)| left == right).count();
            assert!(same < 20, "{same} of 1000 stand at the same place");
        }
        assert!(shuffled(0, "test", 1, 1).is_empty());
    }

    #[test]
    fn every_order_is_about_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for round in 0..6000 {
            *counts.entry(shuffled(3, "test", 0, round)).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 6);
        // 1000 expected each, standard deviation 29.
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
