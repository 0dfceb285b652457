//! The micro-batches of an epoch, packed on a thread of their own while the steps before them are computed.

use std::sync::Arc;
use std::sync::mpsc::{IntoIter, sync_channel};
use std::thread::JoinHandle;

use super::engine::Limits;
use super::micro_batch::Group;
use super::texts::TokenizedTexts;

/// Windows that may wait to be computed.
const AHEAD: usize = 2;

/// What one optimizer step is computed from.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) groups: Vec<Group>,
    /// Its micro-batches, also those that need no computing.
    pub(super) micro_batches: usize,
    /// Pairs of all its micro-batches.
    pub(super) pairs: usize,
}

/// The windows of an epoch, in order.
pub(super) struct Windows {
    packed: IntoIter<Window>,
    thread: Option<JoinHandle<()>>,
}

impl Windows {
    /// Starts packing batches (of rows), so many to a window; `first` is the first one's number since the start of the run.
    pub(super) fn start(
        texts: &Arc<TokenizedTexts>,
        batches: Vec<Vec<u32>>,
        per_window: usize,
        first: u64,
        limits: Limits,
    ) -> Self {
        let texts = Arc::clone(texts);
        let (sender, receiver) = sync_channel(AHEAD);
        let pack = move || {
            let mut first = first;
            for window in batches.chunks(per_window) {
                let packed = pack(&texts, window, first, limits);
                first += window.len() as u64;
                // Nobody takes them any more where the run was stopped.
                if sender.send(packed).is_err() {
                    return;
                }
            }
        };
        Self { packed: receiver.into_iter(), thread: Some(std::thread::spawn(pack)) }
    }
}

impl Iterator for Windows {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        let window = self.packed.next();
        if window.is_none()
            && let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
        {
            // An epoch that ended early would go unnoticed otherwise.
            std::panic::resume_unwind(panic);
        }
        window
    }
}

/// A pair alone has no negatives: its loss and gradient are exactly 0, which needs no computing.
fn pack(texts: &TokenizedTexts, window: &[Vec<u32>], first: u64, limits: Limits) -> Window {
    let micro_batches = (first..).zip(window).filter(|(_, rows)| rows.len() > 1);
    let micro_batches = micro_batches.map(|(number, rows)| (number, texts.sequences_of(rows).collect()));
    Window {
        groups: Group::pack(micro_batches, limits),
        micro_batches: window.len(),
        pairs: window.iter().map(Vec::len).sum(),
    }
}
