//! RIFF: WebP and WAV, chunk by chunk.

use bytes::{BufMut, Bytes, BytesMut};
use img_parts::riff::{RiffChunk, RiffContent};

use super::{exif, icc, read::piece};

/// Flags of `VP8X`.
const EXIF: u8 = 0x08;
const XMP: u8 = 0x04;
const ICC: u8 = 0x20;

/// The picture without metadata.
pub(super) fn strip_webp(bytes: &Bytes) -> Option<Bytes> {
    let (kind, chunks) = chunks(bytes)?;
    let turn = chunks
        .iter()
        .find(|chunk| chunk.id() == *b"EXIF")
        .and_then(|chunk| chunk.content().data())
        .and_then(|data| {
            let tiff = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
            exif::orientation(tiff)
        });
    let common = |chunk: &RiffChunk| {
        chunk
            .content()
            .data()
            .is_some_and(|data| icc::is_common(data))
    };
    let has_icc = chunks
        .iter()
        .any(|chunk| chunk.id() == *b"ICCP" && common(chunk));
    let extended = chunks.iter().any(|chunk| chunk.id() == *b"VP8X");
    let turn = turn.filter(|_| extended);
    let mut kept = Vec::new();
    for chunk in chunks {
        let id = chunk.id();
        match (&id, chunk.content().data()?) {
            (b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM", _) => kept.push(chunk),
            (b"ICCP", _) if has_icc => kept.push(chunk),
            (b"VP8X", data) => {
                let mut data = piece(data, 0, 10)?.to_vec();
                data[0] &= !(EXIF | XMP | ICC);
                data[0] |= if has_icc { ICC } else { 0 } | if turn.is_some() { EXIF } else { 0 };
                kept.push(chunk_of(id, data.into()));
            }
            (b"ANMF", data) => kept.push(chunk_of(id, frame(data)?)),
            _ => {}
        }
    }
    if let Some(turn) = turn {
        kept.push(chunk_of(*b"EXIF", exif::turned(turn).into()));
    }
    Some(file(kind, kept))
}

/// The sound without metadata.
pub(super) fn strip_wav(bytes: &Bytes) -> Option<Bytes> {
    let (kind, mut chunks) = chunks(bytes)?;
    chunks.retain(|chunk| matches!(&chunk.id(), b"fmt " | b"fact" | b"data"));
    Some(file(kind, chunks))
}

fn chunks(bytes: &Bytes) -> Option<([u8; 4], Vec<RiffChunk>)> {
    let file = RiffChunk::from_bytes(bytes.clone()).ok()?;
    let (kind, chunks) = file.content().list()?;
    Some((kind?, chunks.clone()))
}

fn chunk_of(id: [u8; 4], data: Bytes) -> RiffChunk {
    RiffChunk::new(id, RiffContent::Data(data))
}

fn file(kind: [u8; 4], subchunks: Vec<RiffChunk>) -> Bytes {
    let content = RiffContent::List {
        kind: Some(kind),
        subchunks,
    };
    RiffChunk::new(*b"RIFF", content).encoder().bytes()
}

/// A frame of an animation: a head of 16 bytes, and chunks again.
fn frame(data: &Bytes) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(data.len());
    out.put_slice(piece(data, 0, 16)?);
    let mut at = 16;
    while at < data.len() {
        let length = piece(data, at + 4, 4)?.try_into().ok()?;
        let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
        let chunk = piece(data, at, length.checked_add(8)?)?;
        if matches!(&chunk[..4], b"ALPH" | b"VP8 " | b"VP8L") {
            out.put_slice(chunk);
            out.put_bytes(0, length % 2);
        }
        at += chunk.len() + length % 2;
    }
    Some(out.freeze())
}
