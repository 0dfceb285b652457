//! Which checkpoints to keep; apart from how they are written. Counts as the Hugging Face trainer counts.

/// The checkpoints to delete, oldest first, so that `limit` are left. The newest (to go on from) and the best always
/// stay, even where that is one more than the limit; once the run is `finished` and the limit is 1, only the best does.
#[must_use]
pub(super) fn to_remove(epochs: &[u32], best: u32, limit: usize, finished: bool) -> Vec<u32> {
    let newest = epochs.iter().copied().max();
    let keeps = |epoch: u32| epoch == best || (Some(epoch) == newest && !(finished && limit == 1));
    let excess = if finished && limit == 1 { epochs.len() } else { epochs.len().saturating_sub(limit) };
    let mut removable: Vec<u32> = epochs.iter().copied().filter(|epoch| !keeps(*epoch)).collect();
    removable.sort_unstable();
    removable.truncate(excess);
    removable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_but_never_the_best_or_the_newest() {
        assert!(to_remove(&[1, 2, 3], 1, 3, false).is_empty());
        assert_eq!(to_remove(&[1, 2, 3, 4], 4, 3, false), [1]);
        assert_eq!(to_remove(&[1, 2, 3, 4], 1, 3, false), [2]);
        assert_eq!(to_remove(&[1, 2, 3, 4, 5], 2, 2, false), [1, 3, 4]);
        assert!(to_remove(&[], 0, 1, true).is_empty());
    }

    #[test]
    fn a_limit_of_one_keeps_a_second_to_go_on_from_until_the_end() {
        assert!(to_remove(&[1, 2], 1, 1, false).is_empty());
        assert_eq!(to_remove(&[1, 2, 3], 1, 1, false), [2]);
        assert_eq!(to_remove(&[1, 3], 1, 1, true), [3]);
        assert!(to_remove(&[3], 3, 1, true).is_empty());
        assert!(to_remove(&[2, 3], 2, 2, true).is_empty());
    }
}
