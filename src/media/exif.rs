//! Orientation: the one EXIF tag without which a picture lies on its side.

use super::read::piece;

/// How a picture is to be turned, `2..=8`; the usual `1`, and none, are `None`.
///
/// `tiff` begins with the byte order mark.
pub(super) fn orientation(tiff: &[u8]) -> Option<u8> {
    let little = match tiff.get(..2)? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let short = |at: usize| -> Option<u16> {
        let bytes = piece(tiff, at, 2)?.try_into().ok()?;
        Some(if little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    };
    let bytes = piece(tiff, 4, 4)?.try_into().ok()?;
    let first = usize::try_from(if little {
        u32::from_le_bytes(bytes)
    } else {
        u32::from_be_bytes(bytes)
    })
    .ok()?;
    let count = usize::from(short(first)?);
    for nth in 0..count {
        let entry = first.checked_add(2 + 12 * nth)?;
        if short(entry)? == 0x0112 {
            let value = u8::try_from(short(entry + 8)?).ok()?;
            return (2..=8).contains(&value).then_some(value);
        }
    }
    None
}

/// EXIF that says how to turn the picture, and nothing else.
pub(super) fn turned(orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0]);
    tiff
}
