//! Where the samples of a track lie in an MP4 file, by its tables of chunks and sizes.

use std::ops::Range;

use super::{
    bmff::{Part, number, only},
    read::size,
};

/// The places of all samples of a track, chunk by chunk. `None` where the tables do not add up.
pub(super) fn of_track(bytes: &[u8], track: &[Part]) -> Option<Vec<Range<usize>>> {
    let media = track.iter().find(|part| &part.kind == b"mdia")?;
    let tables = only(bytes, &only(bytes, media, *b"minf")?, *b"stbl")?;
    let table = |kind| only(bytes, &tables, kind);
    let (chunks, width) = match table(*b"stco") {
        Some(chunks) => (chunks, 4),
        None => (table(*b"co64")?, 8),
    };
    let (runs, sizes) = (table(*b"stsc")?, table(*b"stsz")?);
    let runs_from = runs.data.start + 8;
    let run_count = size(bytes, runs.data.start + 4)?;
    let one_size = size(bytes, sizes.data.start + 4)?;
    let chunk_count = size(bytes, chunks.data.start + 4)?;
    let mut places = Vec::new();
    let (mut run, mut sample) = (0, 0_usize);
    for chunk in 0..chunk_count {
        let at = chunks.data.start + 8 + chunk.checked_mul(width)?;
        if at + width > chunks.data.end {
            return None;
        }
        let start = number(bytes, at, width)?;
        // The run that follows begins with a later chunk; chunks are counted from one.
        while run + 1 < run_count && size(bytes, runs_from + 12 * (run + 1))? <= chunk + 1 {
            run += 1;
        }
        let count = size(bytes, runs_from + 12 * run + 4)?;
        let length = if one_size > 0 {
            count.checked_mul(one_size)?
        } else {
            let mut length = 0_usize;
            for nth in sample..sample.checked_add(count)? {
                let at = sizes.data.start + 12 + nth.checked_mul(4)?;
                if at + 4 > sizes.data.end {
                    return None;
                }
                length = length.checked_add(size(bytes, at)?)?;
            }
            length
        };
        sample = sample.checked_add(count)?;
        let end = start.checked_add(length)?;
        if end > bytes.len() {
            return None;
        }
        places.push(start..end);
    }
    Some(places)
}
