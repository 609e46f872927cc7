//! PNG and APNG, chunk by chunk.

use bytes::Bytes;
use img_parts::{
    ImageICC,
    png::{Png, PngChunk},
};

use super::{exif, icc};

/// What showing needs: the picture, transparency, colours, size, animation.
const STAY: &[&[u8; 4]] = &[
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD",
    b"hIST", b"pHYs", b"cICP", b"mDCV", b"cLLI", b"acTL", b"fcTL", b"fdAT",
];

/// The picture without metadata. What follows its end goes.
pub(super) fn strip(bytes: &Bytes) -> Option<Bytes> {
    let mut png = Png::from_bytes(bytes.clone()).ok()?;
    if png.chunks().last()?.kind() != *b"IEND" {
        return None;
    }
    let common = png
        .icc_profile()
        .is_some_and(|profile| icc::is_common(&profile));
    let turn = png
        .chunk_by_type(*b"eXIf")
        .and_then(|chunk| exif::orientation(chunk.contents()));
    png.chunks_mut()
        .retain(|chunk| STAY.contains(&&chunk.kind()) || common && chunk.kind() == *b"iCCP");
    if let Some(turn) = turn {
        let chunk = PngChunk::new(*b"eXIf", exif::turned(turn).into());
        png.chunks_mut().insert(1, chunk);
    }
    Some(png.encoder().bytes())
}
