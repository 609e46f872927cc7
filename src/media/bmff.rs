//! MP4, QuickTime and M4A (ISO base media file format, ISO/IEC 14496-12), in place: boxes that tell something become
//! `free` boxes full of zeros, so that no offset changes.
//!
//! Tracks that are neither sound, picture nor text (places and movements that cameras record) lose their samples
//! too; see `samples`.

use std::ops::Range;

use bytes::Bytes;

use super::{
    read::{be32, be64, piece, size},
    samples,
};

/// What is changed, found before anything is.
#[derive(Debug, Default)]
pub(super) struct Plan {
    zeros: Vec<Range<usize>>,
    writes: Vec<(usize, &'static [u8])>,
}

impl Plan {
    /// The file with the changes.
    pub(super) fn apply(self, bytes: &Bytes) -> Bytes {
        let mut out = bytes.to_vec();
        for range in self.zeros {
            if let Some(piece) = out.get_mut(range) {
                piece.fill(0);
            }
        }
        for (at, data) in self.writes {
            if let Some(piece) = out.get_mut(at..at + data.len()) {
                piece.copy_from_slice(data);
            }
        }
        out.into()
    }

    /// Zeros.
    pub(super) fn zero(&mut self, range: Range<usize>) {
        self.zeros.push(range);
    }

    /// Bytes, after all zeros.
    pub(super) fn write(&mut self, at: usize, data: &'static [u8]) {
        self.writes.push((at, data));
    }

    /// Makes a box a `free` one.
    pub(super) fn free(&mut self, part: &Part) {
        self.write(part.at + 4, b"free");
        self.zero(part.data.clone());
    }
}

/// One box: where it begins, its type, and where its content lies.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) at: usize,
    pub(super) kind: [u8; 4],
    pub(super) data: Range<usize>,
}

/// How deep boxes are looked into; real files need seven.
const DEEPEST: usize = 12;

/// The boxes in a range, which they fill. QuickTime may end a row of them with four zero bytes.
pub(super) fn parts(bytes: &[u8], within: Range<usize>) -> Option<Vec<Part>> {
    let mut found = Vec::new();
    let mut at = within.start;
    while at < within.end {
        if within.end - at < 8 {
            let rest = bytes.get(at..within.end)?;
            return rest.iter().all(|byte| *byte == 0).then_some(found);
        }
        let kind = piece(bytes, at + 4, 4)?.try_into().ok()?;
        let (head, length) = match be32(bytes, at)? {
            0 => (8, within.end - at),
            1 => (16, usize::try_from(be64(bytes, at + 8)?).ok()?),
            short => (8, usize::try_from(short).ok()?),
        };
        let end = at.checked_add(length)?;
        if length < head || end > within.end {
            return None;
        }
        found.push(Part {
            at,
            kind,
            data: at + head..end,
        });
        at = end;
    }
    Some(found)
}

/// What has to change in a film or a sound.
pub(super) fn plan(bytes: &[u8]) -> Option<Plan> {
    let mut plan = Plan::default();
    let top = parts(bytes, 0..bytes.len())?;
    if !top.iter().any(|part| &part.kind == b"moov") {
        return None;
    }
    inside(bytes, &mut plan, *b"    ", &top, 0)?;
    Some(plan)
}

/// What stays in a box, `None`: everything but what tells something anywhere.
fn stays(parent: [u8; 4]) -> Option<&'static [&'static [u8; 4]]> {
    match &parent {
        b"    " => Some(&[
            b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"ssix", b"pdin",
            b"prft",
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

fn inside(
    bytes: &[u8],
    plan: &mut Plan,
    parent: [u8; 4],
    children: &[Part],
    depth: usize,
) -> Option<()> {
    if depth > DEEPEST {
        return None;
    }
    for part in children {
        let tells = matches!(
            &part.kind,
            b"udta" | b"meta" | b"uuid" | b"free" | b"skip" | b"wide"
        );
        let known = stays(parent).is_none_or(|list| list.contains(&&part.kind));
        if tells || !known {
            // A header in a compressed box holds everything.
            if &part.kind == b"cmov" {
                return None;
            }
            plan.free(part);
            continue;
        }
        match &part.kind {
            b"mvhd" | b"tkhd" | b"mdhd" => times(bytes, plan, part)?,
            b"hdlr" => {
                plan.zero(part.data.start.checked_add(24)?.min(part.data.end)..part.data.end);
            }
            b"stsd" => names_of_encoders(bytes, plan, part)?,
            b"trak" => {
                let inner = parts(bytes, part.data.clone())?;
                if is_shown(bytes, &inner)? {
                    inside(bytes, plan, part.kind, &inner, depth + 1)?;
                } else {
                    for range in samples::of_track(bytes, &inner)? {
                        plan.zero(range);
                    }
                    plan.free(part);
                }
            }
            b"moov" | b"mdia" | b"minf" | b"stbl" | b"edts" | b"dinf" | b"mvex" | b"moof"
            | b"traf" | b"mfra" | b"tapt" => {
                let inner = parts(bytes, part.data.clone())?;
                inside(bytes, plan, part.kind, &inner, depth + 1)?;
            }
            _ => {}
        }
    }
    Some(())
}

/// Dates of making and changing.
fn times(bytes: &[u8], plan: &mut Plan, part: &Part) -> Option<()> {
    let from = part.data.start + 4;
    let length = if *bytes.get(part.data.start)? == 1 {
        16
    } else {
        8
    };
    let range = from..from + length;
    (range.end <= part.data.end).then(|| plan.zero(range))
}

/// Cameras write themselves into the description of a picture track, as the name of the encoder.
fn names_of_encoders(bytes: &[u8], plan: &mut Plan, part: &Part) -> Option<()> {
    for entry in parts(bytes, part.data.start.checked_add(8)?..part.data.end)? {
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
            plan.zero(name);
            // Vendor.
            plan.zero(entry.data.start + 12..entry.data.start + 16);
        }
    }
    Some(())
}

/// Whether people see or hear a track.
fn is_shown(bytes: &[u8], track: &[Part]) -> Option<bool> {
    let media = track.iter().find(|part| &part.kind == b"mdia")?;
    let media = parts(bytes, media.data.clone())?;
    let handler = media.iter().find(|part| &part.kind == b"hdlr")?;
    let kind = piece(bytes, handler.data.start + 8, 4)?;
    Some(matches!(
        kind,
        b"vide" | b"soun" | b"subt" | b"sbtl" | b"text" | b"clcp" | b"auxv" | b"pict"
    ))
}

/// The one box of this kind.
pub(super) fn only(bytes: &[u8], within: &Part, kind: [u8; 4]) -> Option<Part> {
    parts(bytes, within.data.clone())?
        .into_iter()
        .find(|part| part.kind == kind)
}

/// A number of `width` bytes: 0, 2, 4 or 8.
pub(super) fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    match width {
        0 => Some(0),
        2 => super::read::be16(bytes, at).map(usize::from),
        4 => size(bytes, at),
        8 => usize::try_from(be64(bytes, at)?).ok(),
        _ => None,
    }
}
