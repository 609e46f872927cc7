//! JPEG. Segments that are needed for decoding stay; EXIF shrinks to its orientation. What follows the end of the first
//! picture (further pictures, motion photos, makers' trailers) goes.

use super::{
    exif, icc,
    read::{be16, piece},
};

/// The picture without metadata.
pub(super) fn strip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    out.extend_from_slice(piece(bytes, 0, 2)?);
    let orientation = orientation(bytes);
    let mut placed = false;
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        let marker = *bytes.get(at + 1)?;
        match marker {
            // Fill bytes.
            0xff => {
                at += 1;
                continue;
            }
            0xd9 => {
                out.extend_from_slice(b"\xff\xd9");
                return Some(out);
            }
            // Restart markers and TEM stand alone, and belong to no segment.
            0x01 | 0xd0..=0xd8 | 0x00 => return None,
            _ => {}
        }
        let length = usize::from(be16(bytes, at + 2)?);
        let segment = piece(bytes, at, 2 + length.max(2))?;
        let data = segment.get(4..)?;
        // JFIF wants to be first.
        if !placed && marker != 0xe0 {
            placed = true;
            if let Some(turn) = orientation {
                write_exif(&mut out, turn);
            }
        }
        if let Some(jfif) = (marker == 0xe0).then(|| data.get(..14)).flatten()
            && jfif.starts_with(b"JFIF\0")
        {
            // Without its thumbnail.
            out.extend_from_slice(b"\xff\xe0\0\x10");
            out.extend_from_slice(&jfif[..12]);
            out.extend_from_slice(&[0, 0]);
        } else if stays(marker, data) {
            out.extend_from_slice(segment);
        }
        at += segment.len();
        if marker == 0xda {
            let end = scan_end(bytes, at);
            out.extend_from_slice(&bytes[at..end]);
            at = end;
            if at >= bytes.len() {
                // Cut off in the middle of a scan: viewers show what there is.
                out.extend_from_slice(b"\xff\xd9");
                return Some(out);
            }
        }
    }
}

fn stays(marker: u8, data: &[u8]) -> bool {
    match marker {
        // Frames, tables, scans, restart interval, number of lines, hierarchy.
        0xc0..=0xcf | 0xda..=0xdf => true,
        0xe2 => {
            // The only profile in many parts that is common is none.
            data.strip_prefix(b"ICC_PROFILE\0\x01\x01")
                .is_some_and(icc::is_common)
        }
        // How colours are stored.
        0xee => data.starts_with(b"Adobe") && data.len() == 12,
        _ => false,
    }
}

/// Where the compressed data that begins at `from` ends.
fn scan_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(|byte| *byte == 0xff))
    {
        match bytes.get(at + found + 1) {
            // A stuffed 0xff, a restart marker, or a fill byte.
            Some(0x00 | 0xd0..=0xd7) => at += found + 2,
            Some(0xff) => at += found + 1,
            Some(_) => return at + found,
            None => break,
        }
    }
    bytes.len()
}

/// The orientation that the first EXIF segment gives.
fn orientation(bytes: &[u8]) -> Option<u8> {
    let mut at = 2;
    while *bytes.get(at)? == 0xff {
        let marker = *bytes.get(at + 1)?;
        if marker == 0xff {
            at += 1;
            continue;
        }
        if matches!(marker, 0xda | 0xd9) {
            return None;
        }
        let length = usize::from(be16(bytes, at + 2)?).max(2);
        if marker == 0xe1
            && let Some(tiff) = piece(bytes, at + 4, length - 2)?.strip_prefix(b"Exif\0\0")
        {
            return exif::orientation(tiff);
        }
        at += 2 + length;
    }
    None
}

fn write_exif(out: &mut Vec<u8>, turn: u8) {
    let tiff = exif::turned(turn);
    out.extend_from_slice(b"\xff\xe1");
    out.extend_from_slice(&u16::try_from(tiff.len() + 8).unwrap_or(8).to_be_bytes());
    out.extend_from_slice(b"Exif\0\0");
    out.extend_from_slice(&tiff);
}
