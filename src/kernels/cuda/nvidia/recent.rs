//! What was made for a key, as long as it was needed lately.

use std::collections::HashMap;
use std::hash::Hash;

/// Values in two generations: once the younger is full, it becomes the older, and what nobody asked for since the last
/// time goes. It holds at most twice the limit.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    limit: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash + Copy, V> Recent<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, young: HashMap::new(), old: HashMap::new() }
    }

    /// The value of a key, made where there is none.
    ///
    /// # Errors
    /// That of making it.
    pub(super) fn get<E>(&mut self, key: K, make: impl FnOnce() -> Result<V, E>) -> Result<&mut V, E> {
        if !self.young.contains_key(&key) {
            let value = match self.old.remove(&key) {
                Some(value) => value,
                None => make()?,
            };
            if self.young.len() >= self.limit {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(key, value);
        }
        Ok(self.young.get_mut(&key).expect("it was there or has been inserted"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_often_stays_and_the_rest_goes() {
        let mut recent = Recent::new(4);
        let mut made = Vec::new();
        for round in 0..100_u32 {
            for key in [7, 1000 + round] {
                let value = recent.get(key, || {
                    made.push(key);
                    Ok::<_, ()>(2 * key)
                });
                assert_eq!(*value.unwrap(), 2 * key);
            }
            assert!(recent.young.len() + recent.old.len() <= 8);
        }
        assert_eq!(made.iter().filter(|key| **key == 7).count(), 1);
        assert_eq!(made.len(), 101);
        assert_eq!(recent.get(8, || Err("none")), Err("none"));
    }
}
