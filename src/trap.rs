//! Bugs to order, for the tests of what happens after one: not in release builds.

use std::sync::{Mutex, PoisonError};

static WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on whatever is about something that contains these words breaks off, as by a panic.
pub fn set(words: &str) {
    let mut all = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    all.push(words.to_owned());
}

/// Breaks off if a trap is set for something in this text.
pub(crate) fn spring(text: &str) {
    let all = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    let sprung = all.iter().any(|words| text.contains(words));
    drop(all);
    if sprung {
        std::panic::resume_unwind(Box::new("a trap"));
    }
}
