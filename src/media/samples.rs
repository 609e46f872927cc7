//! Where the samples of a track lie in an MP4 file, by its tables of chunks and sizes.

use super::{
    bmff::{Part, number, only},
    plan::Plan,
    read::{File, Needed as _, Result, malformed},
};

/// Zeros instead of all samples of a track, chunk by chunk. An error where the tables do not add up.
pub(super) fn zero(file: &mut File<'_>, plan: &mut Plan, track: &[Part]) -> Result<()> {
    let media = track.iter().find(|part| &part.kind == b"mdia").needed()?;
    let information = only(file, media, *b"minf")?.needed()?;
    let tables = only(file, &information, *b"stbl")?.needed()?;
    let (chunks, width) = match only(file, &tables, *b"stco")? {
        Some(chunks) => (chunks, 4),
        None => (only(file, &tables, *b"co64")?.needed()?, 8),
    };
    let runs = only(file, &tables, *b"stsc")?.needed()?;
    let sizes = only(file, &tables, *b"stsz")?.needed()?;
    let runs_from = runs.data.start + 8;
    let run_count = u64::from(file.be32(runs.data.start + 4)?);
    let one_size = u64::from(file.be32(sizes.data.start + 4)?);
    let chunk_count = u64::from(file.be32(chunks.data.start + 4)?);
    let (mut run, mut sample) = (0, 0_u64);
    for chunk in 0..chunk_count {
        let at = chunks.data.start + 8 + chunk * width;
        if at + width > chunks.data.end {
            return malformed();
        }
        let start = number(file, at, width)?;
        // The run that follows begins with a later chunk; chunks are counted from one.
        while run + 1 < run_count && u64::from(file.be32(runs_from + 12 * (run + 1))?) <= chunk + 1
        {
            run += 1;
        }
        let count = u64::from(file.be32(runs_from + 12 * run + 4)?);
        let length = if one_size > 0 {
            count * one_size
        } else {
            let mut length = 0;
            for nth in sample..sample + count {
                let at = sizes.data.start + 12 + nth * 4;
                if at + 4 > sizes.data.end {
                    return malformed();
                }
                length += u64::from(file.be32(at)?);
            }
            length
        };
        sample += count;
        plan.zero_data(start..file.after(start, length)?)?;
    }
    Ok(())
}
