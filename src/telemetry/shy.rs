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
        veil(OPEN.load(Ordering::Relaxed), f, |f| self.0.fmt(f))
    }
}

impl<T: fmt::Debug> fmt::Debug for Shy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        veil(OPEN.load(Ordering::Relaxed), f, |f| self.0.fmt(f))
    }
}

fn veil(
    open: bool,
    f: &mut fmt::Formatter<'_>,
    print: impl FnOnce(&mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    if open { print(f) } else { f.write_str("…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value behind a veil of its own, so that no other test's lines are opened.
    struct Veiled(bool);

    impl fmt::Display for Veiled {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            veil(self.0, f, |f| f.write_str("@alice:a.example"))
        }
    }

    #[test]
    fn prints_nothing_until_it_is_opened() {
        let shy = Shy("@alice:a.example");
        assert_eq!(format!("{shy} {shy:?}"), "… …");
        assert_eq!(Veiled(false).to_string(), "…");
        assert_eq!(Veiled(true).to_string(), "@alice:a.example");
    }
}
