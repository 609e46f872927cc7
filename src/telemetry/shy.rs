//! A value that is logged only at the operator's own risk.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether `trace` is on for Vizard.
static OPEN: AtomicBool = AtomicBool::new(false);

pub(super) fn set_open(open: bool) {
    OPEN.store(open, Ordering::Relaxed);
}

/// Prints `…`, unless the log level `trace` is on for Vizard: for Matrix IDs, room and event ids in log lines.
///
/// ```
/// use vizard::telemetry::Shy;
///
/// assert_eq!(format!("joined {}", Shy("!room:example.org")), "joined …");
/// ```
#[derive(Clone, Copy)]
pub struct Shy<T>(pub T);

impl<T: fmt::Display> fmt::Display for Shy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if OPEN.load(Ordering::Relaxed) {
            self.0.fmt(f)
        } else {
            f.write_str("…")
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Shy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if OPEN.load(Ordering::Relaxed) {
            self.0.fmt(f)
        } else {
            f.write_str("…")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_nothing_until_it_is_opened() {
        let shy = Shy("@alice:a.example");
        assert_eq!(format!("{shy} {shy:?}"), "… …");
        set_open(true);
        assert_eq!(
            format!("{shy} {shy:?}"),
            "@alice:a.example \"@alice:a.example\""
        );
        set_open(false);
    }
}
