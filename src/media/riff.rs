//! RIFF: WebP and WAV, chunk by chunk.

use std::ops::Range;

use super::{
    exif, icc,
    noise::Noise,
    read::{File, Needed as _, Out, Result, malformed},
};

/// Flags of `VP8X`.
const EXIF: u8 = 0x08;
const XMP: u8 = 0x04;
const ICC: u8 = 0x20;

/// Larger ones are no orientation and no common profile.
const LARGEST: u64 = 64 * 1024;

/// One chunk: its type, and where its data lies.
struct Chunk {
    kind: [u8; 4],
    data: Range<u64>,
}

impl Chunk {
    /// Where the next one begins. The byte that fills up the last chunk of all may be missing.
    fn end(&self) -> u64 {
        self.data.end + (self.data.end - self.data.start) % 2
    }
}

/// The picture without metadata.
pub(super) fn strip_webp(file: &mut File<'_>, noise: &Noise, out: &mut Out<'_>) -> Result<()> {
    let within = content(file)?;
    let (mut turn, mut profile, mut extended) = (None, None, false);
    let mut at = within.start;
    while let Some(chunk) = chunk_at(file, at, within.end)? {
        at = chunk.end();
        let small = chunk.data.end - chunk.data.start <= LARGEST;
        match &chunk.kind {
            b"VP8X" => extended = true,
            b"EXIF" if small && turn.is_none() => {
                let data = whole(file, &chunk)?;
                let tiff = data.strip_prefix(b"Exif\0\0").unwrap_or(&data);
                turn = exif::orientation(tiff);
            }
            b"ICCP" if small && profile.is_none() => {
                let common = icc::is_common(&whole(file, &chunk)?);
                profile = common.then_some(chunk.data.start);
            }
            _ => {}
        }
    }
    let turn = turn.filter(|_| extended);
    write(file, *b"WEBP", out, &|file, out| {
        let mut at = within.start;
        while let Some(chunk) = chunk_at(file, at, within.end)? {
            at = chunk.end();
            match &chunk.kind {
                b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM" => keep(file, &chunk, out)?,
                b"ICCP" if Some(chunk.data.start) == profile => keep(file, &chunk, out)?,
                b"VP8X" => {
                    let mut data = file.array::<10>(chunk.data.start)?;
                    if chunk.data.end - chunk.data.start < 10 {
                        return malformed();
                    }
                    data[0] &= !(EXIF | XMP | ICC);
                    data[0] |= if profile.is_some() { ICC } else { 0 }
                        | if turn.is_some() { EXIF } else { 0 };
                    own(chunk.kind, &data, out)?;
                }
                b"ANMF" => {
                    let length = Out::measure(|out| frame(file, &chunk, out))?;
                    head(chunk.kind, length, out)?;
                    frame(file, &chunk, out)?;
                }
                _ => {}
            }
        }
        if let Some(turn) = turn {
            own(*b"EXIF", &exif::turned(turn), out)?;
        }
        own(*b"JUNK", noise.text(), out)
    })
}

/// The sound without metadata.
pub(super) fn strip_wav(file: &mut File<'_>, noise: &Noise, out: &mut Out<'_>) -> Result<()> {
    let within = content(file)?;
    write(file, *b"WAVE", out, &|file, out| {
        let mut at = within.start;
        while let Some(chunk) = chunk_at(file, at, within.end)? {
            at = chunk.end();
            if matches!(&chunk.kind, b"fmt " | b"fact" | b"data") {
                keep(file, &chunk, out)?;
            }
        }
        own(*b"JUNK", noise.text(), out)
    })
}

/// Where the chunks lie. What follows the end goes.
fn content(file: &mut File<'_>) -> Result<Range<u64>> {
    let length = u64::from(file.le32(4)?);
    if length < 4 {
        return malformed();
    }
    Ok(12..file.after(8, length)?)
}

/// A whole file: its head, and what `body` writes. It is called twice, because the head tells the length.
fn write(
    file: &mut File<'_>,
    kind: [u8; 4],
    out: &mut Out<'_>,
    body: &dyn Fn(&mut File<'_>, &mut Out<'_>) -> Result<()>,
) -> Result<()> {
    let length = Out::measure(|out| body(file, out))?;
    head(*b"RIFF", length + 4, out)?;
    out.bytes(&kind)?;
    body(file, out)
}

fn chunk_at(file: &mut File<'_>, at: u64, end: u64) -> Result<Option<Chunk>> {
    if at >= end {
        return Ok(None);
    }
    let (kind, length) = (file.array(at)?, file.le32(at + 4)?);
    let data = at + 8..at + 8 + u64::from(length);
    if data.end > end {
        return malformed();
    }
    Ok(Some(Chunk { kind, data }))
}

fn whole(file: &mut File<'_>, chunk: &Chunk) -> Result<Vec<u8>> {
    let length = usize::try_from(chunk.data.end - chunk.data.start).ok();
    file.piece(chunk.data.start, length.needed()?)
}

fn head(kind: [u8; 4], length: u64, out: &mut Out<'_>) -> Result<()> {
    out.bytes(&kind)?;
    out.bytes(&u32::try_from(length).ok().needed()?.to_le_bytes())
}

fn keep(file: &mut File<'_>, chunk: &Chunk, out: &mut Out<'_>) -> Result<()> {
    let length = chunk.data.end - chunk.data.start;
    head(chunk.kind, length, out)?;
    out.copy(file, chunk.data.clone())?;
    fill(length, out)
}

fn own(kind: [u8; 4], data: &[u8], out: &mut Out<'_>) -> Result<()> {
    head(kind, data.len() as u64, out)?;
    out.bytes(data)?;
    fill(data.len() as u64, out)
}

fn fill(length: u64, out: &mut Out<'_>) -> Result<()> {
    out.bytes(if length % 2 == 1 { &[0] } else { &[] })
}

/// A frame of an animation: a head of 16 bytes, and chunks again. Its length is even.
fn frame(file: &mut File<'_>, frame: &Chunk, out: &mut Out<'_>) -> Result<()> {
    let mut at = frame.data.start + 16;
    if at > frame.data.end {
        return malformed();
    }
    out.copy(file, frame.data.start..at)?;
    while let Some(chunk) = chunk_at(file, at, frame.data.end)? {
        at = chunk.end();
        if matches!(&chunk.kind, b"ALPH" | b"VP8 " | b"VP8L") {
            keep(file, &chunk, out)?;
        }
    }
    Ok(())
}
