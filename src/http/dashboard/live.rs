//! The part of a page that follows what happens: a script asks for it again and puts in place what has changed.

use maud::{Markup, html};

/// What changes by itself. Each child that has an id and `data-part` is replaced by itself, where it differs.
///
/// `address` answers with the same region anew. `events` is a stream that tells when it is worth asking, `poll` says after
/// how many seconds to ask where there is none. `words` is what a screen reader says when it changes.
pub(super) fn live_region(
    address: &str,
    events: Option<&str>,
    poll: Option<u32>,
    words: &str,
    parts: &Markup,
) -> Markup {
    html! {
        div data-live=(address) data-events=[events] data-poll=[poll] {
            p class="visually-hidden" role="status" data-words { (words) }
            p class="notice warning" data-offline hidden {
                "The server does not answer; this is how things stood. The page goes on by itself once it does."
            }
            (parts)
        }
    }
}
