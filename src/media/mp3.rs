//! MP3: the frames of sound stay, and nothing between, before or after them.

use super::{
    noise::Noise,
    read::{File, Out, Result, malformed},
};

/// Bit rates in kbit/s by index: MPEG 1 layer III, MPEG 2 layer III.
const RATES: [[u64; 15]; 2] = [
    [
        0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// So much may lie between two frames before it is no MP3.
const LONGEST_GAP: u64 = 64 * 1024;

/// The frames, behind a tag with nothing but noise.
pub(super) fn strip(file: &mut File<'_>, noise: &Noise, out: &mut Out<'_>) -> Result<()> {
    let end = without_tail(file, 0)?;
    file.cut(end);
    // ID3v2.3 with one frame, which is said to be for one program alone.
    out.bytes(b"ID3\x03\0\0\0\0\0")?;
    out.bytes(&[noise.length() + 12])?;
    out.bytes(b"PRIV\0\0\0")?;
    out.bytes(&[noise.length() + 2, 0, 0])?;
    out.bytes(b"x\0")?;
    out.bytes(noise.text())?;
    let (mut at, mut gap, mut any) = (0, 0, false);
    while at < end {
        let mut head = [0; 10];
        let length = usize::try_from(end - at).unwrap_or(10).min(10);
        file.fill(at, &mut head[..length])?;
        let head = &head[..length];
        if let Some(length) = tag(head) {
            at += length;
            gap = 0;
        } else if let Some(after) = frame(head).and_then(|length| file.after(at, length).ok()) {
            out.copy(file, at..after)?;
            at = after;
            gap = 0;
            any = true;
        } else {
            at += 1;
            gap += 1;
            if gap > LONGEST_GAP {
                return malformed();
            }
        }
    }
    if any { Ok(()) } else { malformed() }
}

/// Whether a file begins with two frames in a row.
pub(super) fn begins_like_one(head: &[u8]) -> bool {
    frame(head)
        .and_then(|length| head.get(usize::try_from(length).ok()?..))
        .is_some_and(|rest| rest.is_empty() || frame(rest).is_some())
}

/// Where a file ends without the tags that players look for at the end: ID3v1, APE, Lyrics3, ID3v2 with a footer. Not
/// before `start`.
pub(super) fn without_tail(file: &mut File<'_>, start: u64) -> Result<u64> {
    let mut end = file.length();
    loop {
        let mut foot = [0; 128];
        let length = usize::try_from(end - start).unwrap_or(128).min(128);
        file.fill(end - length as u64, &mut foot[128 - length..])?;
        let has = |from: usize, magic: &[u8]| {
            from >= 128 - length && foot.get(from..from + magic.len()) == Some(magic)
        };
        let cut = if has(0, b"TAG") {
            128
        } else if has(96, b"APETAGEX") {
            let size = u32::from_le_bytes([foot[108], foot[109], foot[110], foot[111]]);
            let head = if foot[119] & 0x80 == 0 { 0 } else { 32 };
            (u64::from(size) + head).max(32)
        } else if has(119, b"LYRICS200") {
            let digits = std::str::from_utf8(&foot[113..119]).ok();
            digits
                .and_then(|text| text.parse::<u64>().ok())
                .unwrap_or(0)
                + 15
        } else if has(118, b"3DI") {
            synchsafe(&foot[118..]).unwrap_or(0) + 20
        } else {
            return Ok(end);
        };
        end = end.saturating_sub(cut).max(start);
    }
}

/// The length of the ID3v2 tag at the start.
fn tag(head: &[u8]) -> Option<u64> {
    if !head.starts_with(b"ID3") {
        return None;
    }
    let footer = if head.get(5)? & 0x10 == 0 { 0 } else { 10 };
    Some(synchsafe(head)? + 10 + footer)
}

/// The size in the head of an ID3v2 tag: four times seven bits.
fn synchsafe(head: &[u8]) -> Option<u64> {
    let size = head.get(6..10)?;
    Some(
        size.iter()
            .fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f)),
    )
}

/// The length of the layer III frame at the start.
fn frame(head: &[u8]) -> Option<u64> {
    let head = u32::from_be_bytes(head.get(..4)?.try_into().ok()?);
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
    Some(samples * rate / frequency + u64::from(head >> 9 & 1))
}
