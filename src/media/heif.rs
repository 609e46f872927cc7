//! HEIC and AVIF pictures, in place: items that are no picture (EXIF, XMP, what makers add) become zeros, and so do boxes
//! that are not needed. How the picture is turned stands elsewhere in these files.

use super::{
    bmff::{Part, Plan, number, parts},
    read::{be16, piece, size},
};

/// Items that are pictures, or are put together from pictures.
const PICTURES: &[&[u8]] = &[
    b"hvc1", b"hev1", b"lhv1", b"av01", b"avc1", b"jpeg", b"grid", b"iovl", b"iden", b"tmap",
];

/// EXIF that says nothing.
const NO_EXIF: &[u8] = b"\0\0\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0";

/// What has to change.
pub(super) fn plan(bytes: &[u8]) -> Option<Plan> {
    let mut plan = Plan::default();
    let mut seen = false;
    for part in parts(bytes, 0..bytes.len())? {
        match &part.kind {
            b"ftyp" | b"mdat" => {}
            b"meta" if !seen => {
                seen = true;
                items(bytes, &mut plan, &part)?;
            }
            // A film in it could be anything; a live picture shows without.
            _ => plan.free(&part),
        }
    }
    seen.then_some(plan)
}

fn items(bytes: &[u8], plan: &mut Plan, meta: &Part) -> Option<()> {
    let inner = parts(bytes, meta.data.start + 4..meta.data.end)?;
    let find = |kind: &[u8; 4]| inner.iter().find(|part| &part.kind == kind);
    let data = find(b"idat").map(|part| part.data.clone());
    let foreign = foreign(bytes, plan, find(b"iinf")?)?;
    let places = places(bytes, find(b"iloc")?)?;
    for place in &places {
        let Some((_, is_exif)) = foreign.iter().find(|(item, _)| *item == place.item) else {
            continue;
        };
        let base = match place.method {
            0 => 0,
            1 => data.as_ref()?.start,
            // In other items: not known.
            _ => return None,
        };
        let start = base.checked_add(place.offset)?;
        let end = start.checked_add(place.length)?;
        if place.length == 0 || end > bytes.len() {
            return None;
        }
        plan.zero(start..end);
        // Strict readers refuse a picture whose EXIF is none.
        if *is_exif && place.length >= NO_EXIF.len() {
            plan.write(start, NO_EXIF);
        }
    }
    if foreign
        .iter()
        .any(|(item, _)| !places.iter().any(|place| place.item == *item))
    {
        return None;
    }
    for part in &inner {
        match &part.kind {
            b"hdlr" => plan.zero((part.data.start + 24).min(part.data.end)..part.data.end),
            b"pitm" | b"iinf" | b"iloc" | b"iref" | b"iprp" | b"idat" | b"dinf" | b"ipro"
            | b"grpl" => {}
            _ => plan.free(part),
        }
    }
    // Descriptions that people wrote.
    let properties = find(b"iprp").map(|part| parts(bytes, part.data.clone()));
    for part in properties.flatten().into_iter().flatten() {
        if &part.kind == b"ipco" {
            for property in parts(bytes, part.data.clone())? {
                if matches!(&property.kind, b"udes" | b"uuid" | b"crtt" | b"mdft") {
                    plan.free(&property);
                }
            }
        }
    }
    Some(())
}

/// The items that are no pictures, and whether they are EXIF; the names of all items go.
fn foreign(bytes: &[u8], plan: &mut Plan, info: &Part) -> Option<Vec<(usize, bool)>> {
    let head = if *bytes.get(info.data.start)? == 0 {
        6
    } else {
        8
    };
    let mut found = Vec::new();
    for entry in parts(bytes, info.data.start + head..info.data.end)? {
        let start = entry.data.start;
        let (item, kind) = match *bytes.get(start)? {
            2 => (usize::from(be16(bytes, start + 4)?), start + 8),
            3 => (size(bytes, start + 4)?, start + 10),
            _ => return None,
        };
        if !PICTURES.contains(&piece(bytes, kind, 4)?) {
            found.push((item, piece(bytes, kind, 4)? == b"Exif"));
        }
        let names = kind + 4..entry.data.end;
        if names.start < names.end && piece(bytes, kind, 4)? != b"mime" {
            plan.zero(names);
        }
    }
    Some(found)
}

struct Place {
    item: usize,
    method: u16,
    offset: usize,
    length: usize,
}

/// Where items lie (`iloc`).
fn places(bytes: &[u8], part: &Part) -> Option<Vec<Place>> {
    let bytes = bytes.get(..part.data.end)?;
    let start = part.data.start;
    let version = *bytes.get(start)?;
    let widths = be16(bytes, start + 4)?;
    let width = |shift: u32| usize::from(widths >> shift & 15);
    let (offset_width, length_width, base_width) = (width(12), width(8), width(4));
    let index_width = if version == 0 { 0 } else { width(0) };
    let wide = if version < 2 { 2 } else { 4 };
    let count = number(bytes, start + 6, wide)?;
    let mut at = start + 6 + wide;
    let mut found = Vec::new();
    for _ in 0..count {
        let item = number(bytes, at, wide)?;
        at += wide;
        let method = if version == 0 {
            0
        } else {
            be16(bytes, at)? & 15
        };
        at += if version == 0 { 2 } else { 4 };
        let base = number(bytes, at, base_width)?;
        at += base_width;
        let extents = be16(bytes, at)?;
        at += 2;
        for _ in 0..extents {
            at += index_width;
            let offset = number(bytes, at, offset_width)?;
            let length = number(bytes, at + offset_width, length_width)?;
            at += offset_width + length_width;
            // Nothing is read without a step forward.
            if offset_width + length_width == 0 {
                return None;
            }
            found.push(Place {
                item,
                method,
                offset: base.checked_add(offset)?,
                length,
            });
        }
    }
    Some(found)
}
