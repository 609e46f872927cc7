//! JPEG. Segments that are needed for decoding stay; EXIF shrinks to its orientation. What follows the end of the first
//! picture (further pictures, motion photos, makers' trailers) goes.

use super::{
    exif, icc,
    noise::Noise,
    read::{File, Needed as _, Out, Result, malformed},
};

/// The picture without metadata; with noise, unless it is a part of another file.
pub(super) fn strip(file: &mut File<'_>, noise: Option<&Noise>, out: &mut Out<'_>) -> Result<()> {
    out.bytes(&file.array::<2>(0)?)?;
    let mut own = orientation(file)?.map(exif_of).unwrap_or_default();
    if let Some(noise) = noise {
        own.extend_from_slice(&[0xff, 0xfe, 0, noise.length() + 2]);
        own.extend_from_slice(noise.text());
    }
    let mut placed = false;
    let mut at = 2;
    loop {
        let [0xff, marker] = file.array::<2>(at)? else {
            return malformed();
        };
        // Fill bytes.
        if marker == 0xff {
            at += 1;
            continue;
        }
        // JFIF wants to be first.
        if !placed && marker != 0xe0 {
            placed = true;
            out.bytes(&own)?;
        }
        match marker {
            0xd9 => return out.bytes(b"\xff\xd9"),
            // Restart markers and TEM stand alone, and belong to no segment.
            0x01 | 0xd0..=0xd8 | 0x00 => return malformed(),
            _ => {}
        }
        let length = file.be16(at + 2)?.max(2);
        let segment = file.piece(at, 2 + usize::from(length))?;
        let data = segment.get(4..).needed()?;
        if let Some(jfif) = (marker == 0xe0).then(|| data.get(..14)).flatten()
            && jfif.starts_with(b"JFIF\0")
        {
            // Without its thumbnail.
            out.bytes(b"\xff\xe0\0\x10")?;
            out.bytes(&jfif[..12])?;
            out.bytes(&[0, 0])?;
        } else if stays(marker, data) {
            out.bytes(&segment)?;
        }
        at += segment.len() as u64;
        if marker == 0xda {
            let end = scan_end(file, at)?;
            out.copy(file, at..end)?;
            at = end;
            if at >= file.length() {
                // Cut off in the middle of a scan: viewers show what there is.
                return out.bytes(b"\xff\xd9");
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

/// Where the compressed data that begins at `at` ends.
fn scan_end(file: &mut File<'_>, mut at: u64) -> Result<u64> {
    loop {
        let rest = file.rest(at)?;
        if rest.is_empty() {
            return Ok(file.length());
        }
        let Some(found) = rest.iter().position(|byte| *byte == 0xff) else {
            at += rest.len() as u64;
            continue;
        };
        at += found as u64;
        match file.rest(at + 1)?.first() {
            // A stuffed 0xff, or a restart marker.
            Some(0x00 | 0xd0..=0xd7) => at += 2,
            // A fill byte.
            Some(0xff) => at += 1,
            Some(_) => return Ok(at),
            None => return Ok(file.length()),
        }
    }
}

/// The orientation that the first EXIF segment gives.
fn orientation(file: &mut File<'_>) -> Result<Option<u8>> {
    let mut at = 2;
    loop {
        // What is wrong here is found again by who reads on.
        if file.after(at, 4).is_err() {
            return Ok(None);
        }
        let marker = match file.array::<2>(at)? {
            [0xff, 0xff] => {
                at += 1;
                continue;
            }
            [0xff, 0xda | 0xd9] => return Ok(None),
            [0xff, marker] => marker,
            _ => return Ok(None),
        };
        let length = file.be16(at + 2)?.max(2);
        if marker == 0xe1
            && let Ok(data) = file.piece(at + 4, usize::from(length) - 2)
            && let Some(tiff) = data.strip_prefix(b"Exif\0\0")
        {
            return Ok(exif::orientation(tiff));
        }
        at += 2 + u64::from(length);
    }
}

fn exif_of(turn: u8) -> Vec<u8> {
    let tiff = exif::turned(turn);
    let mut out = b"\xff\xe1".to_vec();
    out.extend_from_slice(&u16::try_from(tiff.len() + 8).unwrap_or(8).to_be_bytes());
    out.extend_from_slice(b"Exif\0\0");
    out.extend_from_slice(&tiff);
    out
}
