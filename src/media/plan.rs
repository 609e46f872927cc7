//! What is changed in a file in which nothing may move: ranges that become zeros, and bytes that are written over.
//! Found before anything is written, and then applied on the way.

use std::ops::Range;

use super::{
    noise::Noise,
    read::{File, Out, Result, malformed},
};

/// No real file needs more changes. It bounds the memory for them, to a few MiB.
const MOST: usize = 1 << 17;

/// No write is longer.
const LONGEST: u64 = 32;

/// The changes.
#[derive(Debug, Default)]
pub(super) struct Plan {
    zeros: Vec<Range<u64>>,
    /// After all zeros; short ones.
    writes: Vec<(u64, Vec<u8>)>,
    /// Where samples and items may lie.
    data: Vec<Range<u64>>,
}

impl Plan {
    /// Nothing yet. `data`: where samples and items may lie.
    pub(super) fn new(data: impl Iterator<Item = Range<u64>>) -> Self {
        Self {
            data: data.collect(),
            ..Self::default()
        }
    }

    /// Zeros instead of a sample or an item. A file that names another place for it is not sound.
    pub(super) fn zero_data(&mut self, range: Range<u64>) -> Result<()> {
        let holds = |data: &Range<u64>| data.start <= range.start && range.end <= data.end;
        // Nothing lies anywhere.
        if range.is_empty() || self.data.iter().any(holds) {
            self.zero(range)
        } else {
            malformed()
        }
    }

    /// Zeros.
    pub(super) fn zero(&mut self, range: Range<u64>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        match self.zeros.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.zeros.push(range),
        }
        if self.zeros.len() > MOST {
            return malformed();
        }
        Ok(())
    }

    /// A few bytes, over whatever becomes of the place otherwise.
    pub(super) fn write(&mut self, at: u64, data: &[u8]) -> Result<()> {
        self.writes.push((at, data.to_vec()));
        if self.writes.len() > MOST || data.len() as u64 > LONGEST {
            return malformed();
        }
        Ok(())
    }

    /// Writes the file with the changes, up to `end`, and noise in a box of its own behind it.
    pub(super) fn apply(
        mut self,
        file: &mut File<'_>,
        end: u64,
        noise: &Noise,
        out: &mut Out<'_>,
    ) -> Result<()> {
        self.zeros.sort_unstable_by_key(|range| range.start);
        // A hostile file may name one place many times; it is written once.
        self.zeros.dedup_by(|next, last| {
            let meets = next.start <= last.end;
            if meets {
                last.end = last.end.max(next.end);
            }
            meets
        });
        self.writes.sort_by_key(|(at, _)| *at);
        let (mut zeros, mut writes) = (&self.zeros[..], &self.writes[..]);
        let mut at = 0;
        let mut buffer = Vec::new();
        while at < end {
            let rest = file.rest(at)?;
            if rest.is_empty() {
                return malformed();
            }
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            buffer.clear();
            buffer.extend_from_slice(&rest[..rest.len().min(left)]);
            let here = at..at + buffer.len() as u64;
            // Ranges may lie across several buffers.
            for range in zeros {
                if range.start >= here.end {
                    break;
                }
                if let Some(place) = overlap(range, &here) {
                    buffer[place].fill(0);
                }
            }
            for (from, data) in writes {
                if *from >= here.end {
                    break;
                }
                let range = *from..*from + data.len() as u64;
                if let Some(place) = overlap(&range, &here) {
                    let skip = usize::try_from(here.start.saturating_sub(*from)).unwrap_or(0);
                    let length = place.len();
                    buffer[place].copy_from_slice(&data[skip..skip + length]);
                }
            }
            out.bytes(&buffer)?;
            at = here.end;
            zeros = &zeros[zeros.partition_point(|range| range.end <= at)..];
            writes = &writes[writes.partition_point(|(from, _)| *from + LONGEST <= at)..];
        }
        let noise = noise.text();
        let length = u32::try_from(noise.len() + 8).unwrap_or(8);
        out.bytes(&length.to_be_bytes())?;
        out.bytes(b"free")?;
        out.bytes(noise)
    }
}

/// What a range has in common with the buffer `here`, as places in the buffer.
fn overlap(range: &Range<u64>, here: &Range<u64>) -> Option<Range<usize>> {
    let start = range.start.max(here.start);
    let end = range.end.min(here.end);
    if start >= end {
        return None;
    }
    let place = |at: u64| usize::try_from(at - here.start).ok();
    Some(place(start)?..place(end)?)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn changes_lie_across_buffers_and_over_one_another() {
        let original = vec![1; 100_000];
        let mut expected = original.clone();
        expected[10..70_000].fill(0);
        expected[32_766..32_770].copy_from_slice(b"free");
        expected[69_999..70_002].copy_from_slice(b"abc");
        let mut plan = Plan::default();
        for range in [30_000..70_000, 10..40_000, 20..30, 30_000..70_000] {
            plan.zero(range).unwrap();
        }
        plan.write(69_999, b"abc").unwrap();
        plan.write(32_766, b"free").unwrap();
        let mut out = Vec::new();
        let mut from = Cursor::new(original);
        let noise = Noise::new(&Rng::seeded(1));
        let mut file = File::new(&mut from).unwrap();
        plan.apply(&mut file, 90_000, &noise, &mut Out::new(&mut out))
            .unwrap();
        assert_eq!(out[..90_000], expected[..90_000]);
        assert_eq!(&out[90_004..90_008], b"free");
        assert_eq!(&out[90_008..], noise.text());
    }

    #[test]
    fn there_is_an_end_to_changes() {
        let mut plan = Plan::default();
        assert!((0..1_000_000).any(|at| plan.zero(2 * at..2 * at + 1).is_err()));
    }
}
