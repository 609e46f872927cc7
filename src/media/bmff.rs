//! MP4, QuickTime and M4A (ISO base media file format, ISO/IEC 14496-12), in place: boxes that tell something become
//! `free` boxes full of zeros, so that no offset changes.
//!
//! Tracks that are neither sound, picture nor text (places and movements that cameras record) lose their samples
//! too; see `samples`. Where such a track is in fragments, the file is not cleaned; see `fragments`.

use std::ops::Range;

use super::{
    fragments,
    noise::Noise,
    plan::Plan,
    read::{File, Needed as _, Out, Result, malformed},
    samples,
};

/// One box: where it begins, its type, and where its content lies.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) at: u64,
    pub(super) kind: [u8; 4],
    pub(super) data: Range<u64>,
    /// It does not say how long it is: it goes on to the end.
    pub(super) open: bool,
}

/// How deep boxes are looked into; real files need seven.
const DEEPEST: usize = 12;

/// How many boxes may stand in a row: a day of a film in pieces of some seconds.
const MOST: usize = 1 << 16;

/// The boxes in a range, which they fill. QuickTime may end a row of them with four zero bytes.
pub(super) fn parts(file: &mut File<'_>, within: Range<u64>) -> Result<Vec<Part>> {
    let mut found = Vec::new();
    let mut at = within.start;
    while at < within.end {
        if within.end - at < 8 {
            let length = usize::try_from(within.end - at).unwrap_or(8);
            let rest = file.piece(at, length)?;
            return if rest.iter().all(|byte| *byte == 0) {
                Ok(found)
            } else {
                malformed()
            };
        }
        let kind = file.array(at + 4)?;
        let (head, length) = match file.be32(at)? {
            0 => (8, within.end - at),
            1 => (16, file.be64(at + 8)?),
            short => (8, u64::from(short)),
        };
        let end = at.checked_add(length).needed()?;
        if length < head || end > within.end || found.len() == MOST {
            return malformed();
        }
        found.push(Part {
            at,
            kind,
            data: at + head..end,
            open: file.be32(at)? == 0,
        });
        at = end;
    }
    Ok(found)
}

/// The film or the sound without metadata.
pub(super) fn strip(file: &mut File<'_>, noise: &Noise, out: &mut Out<'_>) -> Result<()> {
    let top = parts(file, 0..file.length())?;
    let data = top.iter().filter(|part| &part.kind == b"mdat");
    let mut plan = Plan::new(data.map(|part| part.data.clone()));
    if !top.iter().any(|part| &part.kind == b"moov") {
        return malformed();
    }
    inside(file, &mut plan, *b"    ", &top, 0)?;
    fragments::are_shown(file, &top)?;
    let last = top.iter().rfind(|part| !goes(*b"    ", part.kind));
    let end = closed(&mut plan, last)?;
    plan.apply(file, end, noise, out)
}

/// Where a file ends whose last box that stays is this one. What comes behind is in no box but its own.
pub(super) fn closed(plan: &mut Plan, last: Option<&Part>) -> Result<u64> {
    let last = last.needed()?;
    if last.open
        && let Ok(length) = u32::try_from(last.data.end - last.at)
    {
        plan.write(last.at, &length.to_be_bytes())?;
    }
    Ok(last.data.end)
}

/// Makes a box a `free` one.
pub(super) fn free(plan: &mut Plan, part: &Part) -> Result<()> {
    plan.write(part.at + 4, b"free")?;
    plan.zero(part.data.clone())
}

/// What stays in a box, `None`: everything but what tells something anywhere.
fn stays(parent: [u8; 4]) -> Option<&'static [&'static [u8; 4]]> {
    match &parent {
        b"    " => Some(&[
            b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"ssix", b"pdin",
        ]),
        b"moov" => Some(&[b"mvhd", b"trak", b"mvex", b"iods"]),
        b"trak" => Some(&[b"tkhd", b"edts", b"mdia", b"tref", b"tapt", b"load"]),
        b"mdia" => Some(&[b"mdhd", b"hdlr", b"minf", b"elng"]),
        b"traf" => Some(&[
            b"tfhd", b"tfdt", b"trun", b"sbgp", b"sgpd", b"subs", b"saiz", b"saio", b"senc",
        ]),
        _ => None,
    }
}

/// Whether a box becomes a `free` one.
fn goes(parent: [u8; 4], kind: [u8; 4]) -> bool {
    let tells = matches!(
        &kind,
        b"udta" | b"meta" | b"uuid" | b"free" | b"skip" | b"wide"
    );
    tells || stays(parent).is_some_and(|list| !list.contains(&&kind))
}

fn inside(
    file: &mut File<'_>,
    plan: &mut Plan,
    parent: [u8; 4],
    children: &[Part],
    depth: usize,
) -> Result<()> {
    if depth > DEEPEST {
        return malformed();
    }
    for part in children {
        if goes(parent, part.kind) {
            // A header in a compressed box holds everything.
            if &part.kind == b"cmov" {
                return malformed();
            }
            free(plan, part)?;
            continue;
        }
        match &part.kind {
            b"mvhd" | b"tkhd" | b"mdhd" => times(file, plan, part)?,
            b"hdlr" => plan.zero((part.data.start + 24).min(part.data.end)..part.data.end)?,
            b"stsd" => names_of_encoders(file, plan, part)?,
            b"trak" => {
                let inner = parts(file, part.data.clone())?;
                if is_shown(file, &inner)? {
                    inside(file, plan, part.kind, &inner, depth + 1)?;
                } else {
                    samples::zero(file, plan, &inner)?;
                    free(plan, part)?;
                }
            }
            b"moov" | b"mdia" | b"minf" | b"stbl" | b"edts" | b"dinf" | b"mvex" | b"moof"
            | b"traf" | b"mfra" | b"tapt" => {
                let inner = parts(file, part.data.clone())?;
                inside(file, plan, part.kind, &inner, depth + 1)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Dates of making and changing.
fn times(file: &mut File<'_>, plan: &mut Plan, part: &Part) -> Result<()> {
    let from = part.data.start + 4;
    let length = if file.byte(part.data.start)? == 1 {
        16
    } else {
        8
    };
    if from + length > part.data.end {
        return malformed();
    }
    plan.zero(from..from + length)
}

/// Cameras write themselves into the description of a picture track, as the name of the encoder.
fn names_of_encoders(file: &mut File<'_>, plan: &mut Plan, part: &Part) -> Result<()> {
    for entry in parts(file, part.data.start + 8..part.data.end)? {
        let is_picture = matches!(
            &entry.kind,
            b"avc1"
                | b"avc3"
                | b"hvc1"
                | b"hev1"
                | b"av01"
                | b"vp09"
                | b"mp4v"
                | b"jpeg"
                | b"apcn"
                | b"apch"
        );
        let name = entry.data.start + 42..entry.data.start + 74;
        if is_picture && name.end <= entry.data.end {
            // Vendor.
            plan.zero(entry.data.start + 12..entry.data.start + 16)?;
            plan.zero(name)?;
        }
    }
    Ok(())
}

/// Whether people see or hear a track.
pub(super) fn is_shown(file: &mut File<'_>, track: &[Part]) -> Result<bool> {
    let media = track.iter().find(|part| &part.kind == b"mdia").needed()?;
    let handler = only(file, media, *b"hdlr")?.needed()?;
    let kind = file.array(handler.data.start + 8)?;
    Ok(matches!(
        &kind,
        b"vide" | b"soun" | b"subt" | b"sbtl" | b"text" | b"clcp" | b"auxv" | b"pict"
    ))
}

/// The one box of this kind.
pub(super) fn only(file: &mut File<'_>, within: &Part, kind: [u8; 4]) -> Result<Option<Part>> {
    let parts = parts(file, within.data.clone())?;
    Ok(parts.into_iter().find(|part| part.kind == kind))
}

/// A number of `width` bytes: 0, 2, 4 or 8.
pub(super) fn number(file: &mut File<'_>, at: u64, width: u64) -> Result<u64> {
    match width {
        0 => Ok(0),
        2 => file.be16(at).map(u64::from),
        4 => file.be32(at).map(u64::from),
        8 => file.be64(at),
        _ => malformed(),
    }
}
