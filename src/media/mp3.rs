//! MP3: the frames of sound stay, and nothing between, before or after them.

use super::read::{be32, piece};

/// Bit rates in kbit/s by index: MPEG 1 layer III, MPEG 2 layer III.
const RATES: [[usize; 15]; 2] = [
    [
        0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// So much may lie between two frames before it is no MP3.
const LONGEST_GAP: usize = 64 * 1024;

/// The frames.
pub(super) fn strip(bytes: &[u8]) -> Option<Vec<u8>> {
    let bytes = without_tail(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let mut gap = 0;
    while at < bytes.len() {
        if let Some(length) = tag(&bytes[at..]) {
            at += length;
            gap = 0;
        } else if let Some(frame) = frame(&bytes[at..]).and_then(|length| piece(bytes, at, length))
        {
            at += frame.len();
            gap = 0;
            out.extend_from_slice(frame);
        } else {
            at += 1;
            gap += 1;
            if gap > LONGEST_GAP {
                return None;
            }
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Whether a file begins with two frames in a row.
pub(super) fn begins_like_one(bytes: &[u8]) -> bool {
    frame(bytes)
        .and_then(|length| bytes.get(length..))
        .is_some_and(|rest| rest.is_empty() || frame(rest).is_some())
}

/// Without the tags that players look for at the end: ID3v1, APE, Lyrics3, ID3v2 with a footer.
pub(super) fn without_tail(mut bytes: &[u8]) -> &[u8] {
    loop {
        let length = bytes.len();
        let cut = if length >= 128 && &bytes[length - 128..length - 125] == b"TAG" {
            128
        } else if let Some(foot) = length
            .checked_sub(32)
            .map(|at| &bytes[at..])
            .filter(|foot| foot.starts_with(b"APETAGEX"))
        {
            let size = u32::from_le_bytes([foot[12], foot[13], foot[14], foot[15]]);
            let head = if foot[23] & 0x80 == 0 { 0 } else { 32 };
            usize::try_from(size)
                .unwrap_or(length)
                .saturating_add(head)
                .max(32)
        } else if bytes.ends_with(b"LYRICS200") {
            let digits = length
                .checked_sub(15)
                .and_then(|at| bytes.get(at..length - 9));
            let size =
                digits.and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
            size.unwrap_or(0).saturating_add(15)
        } else if length >= 10 && &bytes[length - 10..length - 7] == b"3DI" {
            synchsafe(&bytes[length - 10..])
                .unwrap_or(0)
                .saturating_add(20)
        } else {
            return bytes;
        };
        bytes = &bytes[..length.saturating_sub(cut)];
    }
}

/// The length of the ID3v2 tag at the start.
fn tag(bytes: &[u8]) -> Option<usize> {
    if !bytes.starts_with(b"ID3") {
        return None;
    }
    let footer = if bytes.get(5)? & 0x10 == 0 { 0 } else { 10 };
    Some(synchsafe(bytes)? + 10 + footer)
}

/// The size in the head of an ID3v2 tag: four times seven bits.
fn synchsafe(head: &[u8]) -> Option<usize> {
    let size = piece(head, 6, 4)?;
    Some(
        size.iter()
            .fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f)),
    )
}

/// The length of the layer III frame at the start.
fn frame(bytes: &[u8]) -> Option<usize> {
    let head = be32(bytes, 0)?;
    let field = |shift: u32, mask: u32| usize::try_from(head >> shift & mask).unwrap_or(0);
    let (version, layer, rate, frequency) =
        (field(19, 3), field(17, 3), field(12, 15), field(10, 3));
    if head >> 21 != 0x7ff || version == 1 || layer != 1 || frequency == 3 || rate == 0 {
        return None;
    }
    let rate = RATES[usize::from(version != 3)].get(rate)? * 1000;
    let halved = match version {
        3 => 0,
        2 => 1,
        _ => 2,
    };
    let frequency = [44_100, 48_000, 32_000][frequency] >> halved;
    let samples = if version == 3 { 144 } else { 72 };
    Some(samples * rate / frequency + field(9, 1))
}
