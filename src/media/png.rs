//! PNG and APNG, chunk by chunk.

use std::ops::Range;

use miniz_oxide::{deflate::compress_to_vec_zlib, inflate::decompress_to_vec_zlib_with_limit};

use super::{
    crc, exif, icc,
    noise::Noise,
    read::{File, Out, Result, malformed},
};

/// What showing needs: the picture, transparency, colours, size, animation.
const STAY: &[&[u8; 4]] = &[
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD",
    b"hIST", b"pHYs", b"cICP", b"mDCV", b"cLLI", b"acTL", b"fcTL", b"fdAT",
];

/// A chunk that programs do not know, may leave out and may carry along.
const NOISE: [u8; 4] = *b"paDd";

/// Larger ones are no orientation and no common profile.
const LARGEST: u64 = 64 * 1024;

/// The picture without metadata. What follows its end goes.
pub(super) fn strip(file: &mut File<'_>, noise: &Noise, out: &mut Out<'_>) -> Result<()> {
    let turn = orientation(file)?;
    out.copy(file, 0..8)?;
    let mut at = 8;
    loop {
        let (kind, end) = chunk_at(file, at)?;
        if at == 8 && kind != *b"IHDR" {
            return malformed();
        }
        if STAY.contains(&&kind) {
            out.copy(file, at..end)?;
        } else if kind == *b"iCCP"
            && let Some(profile) = common(file, at + 8..end - 4)?
        {
            // Its name is anybody's, and what follows it may be anything.
            let packed = compress_to_vec_zlib(&profile, 6);
            out.bytes(&chunk(kind, &[b"icc\0\0", &packed[..]].concat()))?;
        }
        if at == 8 {
            if let Some(turn) = turn {
                out.bytes(&chunk(*b"eXIf", &exif::turned(turn)))?;
            }
            out.bytes(&chunk(NOISE, noise.text()))?;
        }
        if kind == *b"IEND" {
            return Ok(());
        }
        at = end;
    }
}

/// The type of a chunk, and where it ends.
fn chunk_at(file: &mut File<'_>, at: u64) -> Result<([u8; 4], u64)> {
    let length = file.be32(at)?;
    Ok((file.array(at + 4)?, file.after(at, 12 + u64::from(length))?))
}

fn orientation(file: &mut File<'_>) -> Result<Option<u8>> {
    let mut at = 8;
    loop {
        let (kind, end) = chunk_at(file, at)?;
        match &kind {
            b"eXIf" if end - at <= LARGEST => {
                let length = usize::try_from(end - at - 12).unwrap_or(0);
                return Ok(exif::orientation(&file.piece(at + 8, length)?));
            }
            b"IEND" => return Ok(None),
            _ => at = end,
        }
    }
}

/// The colour profile, if many people have it. It is stored as a name, how it is packed, and the profile, packed.
fn common(file: &mut File<'_>, data: Range<u64>) -> Result<Option<Vec<u8>>> {
    let length = data.end - data.start;
    if length > LARGEST {
        return Ok(None);
    }
    let data = file.piece(data.start, usize::try_from(length).unwrap_or(0))?;
    let name = data.iter().position(|byte| *byte == 0);
    let packed = name.and_then(|name| data.get(name + 2..));
    let profile =
        packed.and_then(|packed| decompress_to_vec_zlib_with_limit(packed, icc::MAX).ok());
    Ok(profile.filter(|profile| icc::is_common(profile)))
}

/// A chunk with its checksum.
pub(super) fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap_or(0).to_be_bytes();
    let sum = crc::png([&kind, data]).to_be_bytes();
    [&length[..], &kind, data, &sum].concat()
}
