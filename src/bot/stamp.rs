//! Times that remember which command made them.
//!
//! A command may be handled twice, when Vizard stops between doing it and noting that it is done. What a
//! command counts or asks for in the user's record is therefore marked with the command: the time keeps its
//! minute, and its milliseconds within the minute follow from the command's event.

use crate::clock::UnixMillis;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// The mark of a command, derived from its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    /// The mark of these derived bytes.
    pub fn new(derived: &[u8; 32]) -> Self {
        let number = derived[..8]
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        Self(number % MINUTE)
    }

    /// The minute of `time`, marked.
    pub fn on(self, time: UnixMillis) -> UnixMillis {
        time / MINUTE * MINUTE + self.0
    }

    /// Whether a marked time is this command's.
    pub fn is_on(self, time: UnixMillis) -> bool {
        time % MINUTE == self.0
    }
}

/// Counts a join against the limit of `limit` an hour, unless the same command counted it before. `Err` is the
/// time at which there is room for another.
pub fn count_join(
    joins: &mut Vec<UnixMillis>,
    now: UnixMillis,
    mark: Mark,
    limit: u32,
) -> Result<(), UnixMillis> {
    joins.retain(|join| join.saturating_add(HOUR) > now);
    if joins.iter().any(|join| mark.is_on(*join)) {
        return Ok(());
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if joins.len() >= limit {
        // The one that must be past before there are fewer than `limit`.
        let oldest = joins.get(joins.len() - limit).copied().unwrap_or(now);
        return Err(oldest.saturating_add(HOUR));
    }
    joins.push(mark.on(now));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(byte: u8) -> Mark {
        Mark::new(&[byte; 32])
    }

    #[test]
    fn a_mark_is_recognised() {
        let time = mark(1).on(1_700_000_012_345);
        assert_eq!(time / MINUTE, 1_700_000_012_345 / MINUTE);
        assert!(mark(1).is_on(time));
        assert!(!mark(2).is_on(time));
    }

    #[test]
    fn joins_are_counted_once_and_forgotten_after_an_hour() {
        let now = 1_700_000_000_000;
        let mut joins = Vec::new();
        assert_eq!(count_join(&mut joins, now, mark(1), 2), Ok(()));
        assert_eq!(count_join(&mut joins, now, mark(1), 2), Ok(()));
        assert_eq!(joins.len(), 1);
        assert_eq!(count_join(&mut joins, now, mark(2), 2), Ok(()));
        let again = count_join(&mut joins, now, mark(3), 2).expect_err("full");
        assert_eq!(again, mark(1).on(now) + HOUR);
        assert_eq!(count_join(&mut joins, now, mark(2), 2), Ok(()));
        assert_eq!(joins.len(), 2);
        let later = now + 2 * HOUR;
        assert_eq!(count_join(&mut joins, later, mark(3), 2), Ok(()));
        assert_eq!(joins.len(), 1);
    }

    #[test]
    fn a_limit_of_nothing_is_nothing() {
        assert!(count_join(&mut Vec::new(), 5, mark(1), 0).is_err());
    }
}
