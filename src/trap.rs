//! Bugs to order, for the tests of what happens after one: not in release builds.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A trap, and whether it springs only once.
static TRAPS: Mutex<Vec<(String, bool)>> = Mutex::new(Vec::new());

fn traps() -> MutexGuard<'static, Vec<(String, bool)>> {
    TRAPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on whatever is about something that contains these words breaks off, as by a panic.
pub fn set(words: &str) {
    traps().push((words.to_owned(), false));
}

/// The same for the next time alone.
pub fn set_once(words: &str) {
    traps().push((words.to_owned(), true));
}

/// Whether a trap is set.
#[must_use]
pub fn is_set(words: &str) -> bool {
    traps().iter().any(|(own, _)| own == words)
}

/// Breaks off if a trap is set for something in this text.
pub(crate) fn spring(text: &str) {
    let mut traps = traps();
    let Some(at) = traps.iter().position(|(words, _)| text.contains(words)) else {
        return;
    };
    if traps[at].1 {
        traps.remove(at);
    }
    drop(traps);
    std::panic::resume_unwind(Box::new("a trap"));
}
