//! Which part of a ring of host memory the next copy goes through.

/// Places start at multiples of this.
const ALIGNMENT: usize = 256;

/// Slots of equal size, used one after the other. Copies fill a slot; when it is left, an event marks that all of them
/// are on their way, and before it is entered again, they must have arrived.
#[derive(Debug)]
pub(super) struct Ring {
    slots: usize,
    size: usize,
    slot: usize,
    used: usize,
    lapped: bool,
}

/// The next part of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it lies in the ring, in bytes.
    pub(super) place: usize,
    /// How long it is.
    pub(super) length: usize,
    /// The slot that was left for it: its event is to be recorded first.
    pub(super) left: Option<usize>,
    /// The slot that was entered again: its event is to be waited for first.
    pub(super) entered: Option<usize>,
}

impl Ring {
    /// `size` is a multiple of 256.
    pub(super) fn new(slots: usize, size: usize) -> Self {
        Self { slots, size, slot: 0, used: 0, lapped: false }
    }

    /// Room for as many of `wanted` bytes as go in one piece: all, where a slot has so many.
    pub(super) fn take(&mut self, wanted: usize) -> Piece {
        let (mut left, mut entered) = (None, None);
        let room = self.size - self.used;
        if room == 0 || (room < wanted && wanted <= self.size) {
            left = Some(self.slot);
            self.slot += 1;
            if self.slot == self.slots {
                (self.slot, self.lapped) = (0, true);
            }
            entered = self.lapped.then_some(self.slot);
            self.used = 0;
        }
        let length = wanted.min(self.size - self.used);
        let place = self.slot * self.size + self.used;
        self.used += length.next_multiple_of(ALIGNMENT);
        Piece { place, length, left, entered }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_copies_share_a_slot_and_large_ones_take_several() {
        let mut ring = Ring::new(2, 1024);
        let piece = |place, length, left, entered| Piece { place, length, left, entered };
        assert_eq!(ring.take(100), piece(0, 100, None, None));
        assert_eq!(ring.take(256), piece(256, 256, None, None));
        // Does not fit what is left, but a slot.
        assert_eq!(ring.take(1000), piece(1024, 1000, Some(0), None));
        assert_eq!(ring.take(2500), piece(0, 1024, Some(1), Some(0)));
        assert_eq!(ring.take(1476), piece(1024, 1024, Some(0), Some(1)));
        assert_eq!(ring.take(452), piece(0, 452, Some(1), Some(0)));
        // More than a slot starts in what is left.
        assert_eq!(ring.take(1100), piece(512, 512, None, None));
    }

    proptest! {
        /// No place is written while a copy from it may be on its way.
        #[test]
        fn a_place_is_free_when_it_is_taken(wanted in prop::collection::vec(1_usize..5000, 1..60)) {
            let mut ring = Ring::new(3, 1024);
            // Pieces of each slot since it was last waited for, and whether its event covers them.
            let mut pieces = vec![Vec::new(); 3];
            let mut marked = [false; 3];
            for mut wanted in wanted {
                while wanted > 0 {
                    let piece = ring.take(wanted);
                    if let Some(slot) = piece.left {
                        marked[slot] = true;
                    }
                    if let Some(slot) = piece.entered {
                        prop_assert!(marked[slot]);
                        pieces[slot].clear();
                        marked[slot] = false;
                    }
                    let (slot, range) = (piece.place / 1024, piece.place..piece.place + piece.length);
                    prop_assert!(piece.length > 0 && piece.place.is_multiple_of(256) && range.end <= (slot + 1) * 1024);
                    prop_assert!(!marked[slot]);
                    prop_assert!(pieces[slot].iter().all(|other: &std::ops::Range<usize>| other.end <= range.start));
                    pieces[slot].push(range);
                    wanted -= piece.length;
                }
            }
        }
    }
}
