//! HEIC and AVIF pictures, in place: items that are no picture (EXIF, XMP, what makers add) become zeros, and so do boxes
//! that are not needed. How the picture is turned stands elsewhere in these files.

use std::collections::BTreeMap;

use super::{
    bmff::{Part, closed, free, number, parts},
    noise::Noise,
    plan::Plan,
    read::{File, Needed as _, Out, Result, malformed},
};

/// Items that are pictures, or are put together from pictures.
const PICTURES: &[&[u8; 4]] = &[
    b"hvc1", b"hev1", b"lhv1", b"av01", b"avc1", b"jpeg", b"grid", b"iovl", b"iden", b"tmap",
];

/// EXIF that says nothing.
const NO_EXIF: &[u8] = b"\0\0\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0";

/// No picture is in more pieces.
const MOST: usize = 1 << 16;

/// The picture without metadata.
pub(super) fn strip(file: &mut File<'_>, noise: &Noise, out: &mut Out<'_>) -> Result<()> {
    let top = parts(file, 0..file.length())?;
    // Or in the header.
    let data = top
        .iter()
        .filter(|part| matches!(&part.kind, b"mdat" | b"meta"));
    let mut plan = Plan::new(data.map(|part| part.data.clone()));
    let (mut seen, mut last) = (false, None);
    for part in top {
        match &part.kind {
            b"ftyp" | b"mdat" => last = Some(part),
            b"meta" if !seen => {
                seen = true;
                items(file, &mut plan, &part)?;
                last = Some(part);
            }
            // A film in it could be anything; a live picture shows without.
            _ => free(&mut plan, &part)?,
        }
    }
    if !seen {
        return malformed();
    }
    let end = closed(&mut plan, last.as_ref())?;
    plan.apply(file, end, noise, out)
}

fn items(file: &mut File<'_>, plan: &mut Plan, meta: &Part) -> Result<()> {
    let inner = parts(file, meta.data.start + 4..meta.data.end)?;
    let find = |kind: &[u8; 4]| inner.iter().find(|part| &part.kind == kind);
    let data = find(b"idat").map(|part| part.data.start);
    let mut foreign = foreign(file, plan, find(b"iinf").needed()?)?;
    for place in places(file, find(b"iloc").needed()?)? {
        let Some(item) = foreign.get_mut(&place.item) else {
            continue;
        };
        item.found = true;
        let base = match place.method {
            0 => 0,
            1 => data.needed()?,
            // In other items: not known.
            _ => return malformed(),
        };
        let start = base.checked_add(place.offset).needed()?;
        let end = file.after(start, place.length)?;
        if place.length == 0 {
            return malformed();
        }
        plan.zero_data(start..end)?;
        // Strict readers refuse a picture whose EXIF is none.
        if item.is_exif && place.length >= NO_EXIF.len() as u64 {
            plan.write(start, NO_EXIF)?;
        }
    }
    if foreign.values().any(|item| !item.found) {
        return malformed();
    }
    for part in &inner {
        match &part.kind {
            b"hdlr" => plan.zero((part.data.start + 24).min(part.data.end)..part.data.end)?,
            b"pitm" | b"iinf" | b"iloc" | b"iref" | b"iprp" | b"idat" | b"dinf" | b"ipro"
            | b"grpl" => {}
            _ => free(plan, part)?,
        }
    }
    // Descriptions that people wrote.
    if let Some(properties) = find(b"iprp") {
        for part in parts(file, properties.data.clone())? {
            if &part.kind == b"ipco" {
                for property in parts(file, part.data.clone())? {
                    if matches!(&property.kind, b"udes" | b"uuid" | b"crtt" | b"mdft") {
                        free(plan, &property)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// An item that is no picture.
struct Foreign {
    is_exif: bool,
    /// Whether it is known where it lies.
    found: bool,
}

/// The items that are no pictures; the names of all items go.
fn foreign(file: &mut File<'_>, plan: &mut Plan, info: &Part) -> Result<BTreeMap<u64, Foreign>> {
    let head = if file.byte(info.data.start)? == 0 {
        6
    } else {
        8
    };
    let mut found = BTreeMap::new();
    for entry in parts(file, info.data.start + head..info.data.end)? {
        let start = entry.data.start;
        let (item, at) = match file.byte(start)? {
            2 => (u64::from(file.be16(start + 4)?), start + 8),
            3 => (u64::from(file.be32(start + 4)?), start + 10),
            _ => return malformed(),
        };
        let kind = file.array::<4>(at)?;
        if !PICTURES.contains(&&kind) {
            let item_found = Foreign {
                is_exif: &kind == b"Exif",
                found: false,
            };
            found.insert(item, item_found);
        }
        if &kind != b"mime" {
            plan.zero(at + 4..entry.data.end)?;
        }
    }
    Ok(found)
}

struct Place {
    item: u64,
    method: u16,
    offset: u64,
    length: u64,
}

/// Where items lie (`iloc`).
fn places(file: &mut File<'_>, part: &Part) -> Result<Vec<Place>> {
    let start = part.data.start;
    let version = file.byte(start)?;
    let widths = file.be16(start + 4)?;
    let width = |shift: u32| u64::from(widths >> shift & 15);
    let (offset_width, length_width, base_width) = (width(12), width(8), width(4));
    let index_width = if version == 0 { 0 } else { width(0) };
    let wide = if version < 2 { 2 } else { 4 };
    // Nothing is read without a step forward.
    if offset_width + length_width == 0 {
        return malformed();
    }
    let count = number(file, start + 6, wide)?;
    let mut at = start + 6 + wide;
    let mut found = Vec::new();
    for _ in 0..count {
        let item = number(file, at, wide)?;
        at += wide;
        let method = if version == 0 { 0 } else { file.be16(at)? & 15 };
        at += if version == 0 { 2 } else { 4 };
        let base = number(file, at, base_width)?;
        at += base_width;
        let extents = file.be16(at)?;
        at += 2;
        for _ in 0..extents {
            at += index_width;
            let offset = number(file, at, offset_width)?;
            let length = number(file, at + offset_width, length_width)?;
            at += offset_width + length_width;
            if at > part.data.end || found.len() == MOST {
                return malformed();
            }
            found.push(Place {
                item,
                method,
                offset: base.checked_add(offset).needed()?,
                length,
            });
        }
    }
    if at > part.data.end {
        return malformed();
    }
    Ok(found)
}
