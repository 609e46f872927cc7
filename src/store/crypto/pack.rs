//! A short form of the JSON in which `matrix-sdk-crypto` writes keys.
//!
//! Such JSON is mostly keys, as base64 or as lists of small numbers, which stand as bytes here; and names of fields and
//! algorithms, which stand as references to [`WORDS`] or to what came before (LZ77). General compressors do no better with
//! so little text, and take longer. Any bytes survive; called by `rows`.

use std::sync::LazyLock;

use data_encoding::BASE64_NOPAD;
use zeroize::Zeroizing;

use super::{super::wiped::Wiped, words::WORDS};

/// The end; what follows is padding.
const END: u8 = 0;
/// One byte as it is.
const RAW: u8 = 1;
/// A length, and so many bytes that stood as a list of numbers.
const LIST: u8 = 2;
/// A length, and so many bytes that stood as unpadded base64.
const BASE64: u8 = 3;
/// With a length in the lower bits, and a distance in two bytes: a copy of what stands there.
const COPY: u8 = 0x80;

/// A copy shorter than this gains little.
const SHORTEST: usize = 5;
const LONGEST: usize = SHORTEST + 0x7f;
/// Characters of base64 from which on bytes are shorter.
const SHORTEST_BASE64: usize = 12;
/// Bytes of base64 in one token; a multiple of three, so that another can follow.
const MOST_BASE64: usize = 252;
const SHORTEST_LIST: usize = 8;

const SLOTS: usize = 1 << 12;

/// Where each start of a few bytes was last seen, plus one.
type Seen = Vec<u32>;

static WORDS_SEEN: LazyLock<Seen> = LazyLock::new(|| {
    let mut seen = vec![0; SLOTS];
    for at in 0..WORDS.len() {
        note(&mut seen, WORDS, at);
    }
    seen
});

fn slot(text: &[u8], at: usize) -> Option<usize> {
    let start: [u8; 4] = text.get(at..at + 4)?.try_into().ok()?;
    Some((u32::from_le_bytes(start).wrapping_mul(0x9E37_79B1) >> 20) as usize)
}

fn note(seen: &mut Seen, text: &[u8], at: usize) {
    if let (Some(slot), Ok(place)) = (slot(text, at), u32::try_from(at + 1)) {
        seen[slot] = place;
    }
}

/// The short form, ended and padded with zeros to a multiple of `bucket`.
pub(super) fn pack(plain: &[u8], bucket: usize) -> Zeroizing<Vec<u8>> {
    // Copies reach back into the words, as if they stood before the text.
    let mut text = Vec::with_capacity(WORDS.len() + plain.len());
    text.extend_from_slice(WORDS);
    text.extend_from_slice(plain);
    let text = Zeroizing::new(text);
    let mut seen = vec![0; SLOTS];
    // Nothing takes more than twice its length.
    let mut out = Zeroizing::new(Vec::with_capacity(2 * plain.len() + bucket));
    let mut at = WORDS.len();
    while at < text.len() {
        let taken = step(&text, at, &seen, &mut out);
        for place in at..at + taken {
            note(&mut seen, &text, place);
        }
        at += taken;
    }
    out.push(END);
    let padded = out.len().next_multiple_of(bucket);
    out.resize(padded, END);
    out
}

/// Where within the first `length` bytes a list begins that goes on after them: a copy that took its beginning would leave
/// the rest of it as text.
fn cut(rest: &[u8], length: usize) -> usize {
    let lists = rest[..length].iter().enumerate();
    lists
        .filter(|(_, byte)| **byte == b'[')
        .find(|(at, _)| list_at(&rest[*at..]).is_some_and(|(_, taken)| at + taken > length))
        .map_or(length, |(at, _)| at)
}

/// Writes one token and returns how many bytes it stands for.
fn step(text: &[u8], at: usize, seen: &Seen, out: &mut Vec<u8>) -> usize {
    let copy = [seen, &WORDS_SEEN]
        .into_iter()
        .filter_map(|seen| copy_at(text, at, seen))
        .max();
    let rest = &text[at..];
    let copy = copy
        .map(|(length, distance)| (cut(rest, length), distance))
        .filter(|(length, _)| *length >= SHORTEST);
    let base64 = base64_at(rest);
    if let Some((length, distance)) = copy
        && length >= base64.min(LONGEST)
        && let (Ok(short), Ok(distance)) =
            (u8::try_from(length - SHORTEST), u16::try_from(distance))
    {
        out.push(COPY | short);
        out.extend_from_slice(&distance.to_le_bytes());
        return length;
    }
    if base64 >= SHORTEST_BASE64
        && let Some(bytes) = decode(&rest[..base64])
        && let Ok(length) = u8::try_from(bytes.len())
    {
        out.extend_from_slice(&[BASE64, length]);
        out.extend_from_slice(&bytes);
        return base64;
    }
    if let Some((bytes, taken)) = list_at(rest)
        && let Ok(length) = u8::try_from(bytes.len())
    {
        out.extend_from_slice(&[LIST, length]);
        out.extend_from_slice(&bytes);
        return taken;
    }
    if !(b' '..COPY).contains(&rest[0]) {
        out.push(RAW);
    }
    out.push(rest[0]);
    1
}

/// The length and distance of the copy that `seen` offers.
fn copy_at(text: &[u8], at: usize, seen: &Seen) -> Option<(usize, usize)> {
    let from = (seen[slot(text, at)?] as usize).checked_sub(1)?;
    let distance = at.checked_sub(from).filter(|distance| *distance > 0)?;
    let length = text[from..]
        .iter()
        .zip(&text[at..])
        .take(LONGEST)
        .take_while(|(one, other)| one == other)
        .count();
    (length >= SHORTEST && u16::try_from(distance).is_ok()).then_some((length, distance))
}

/// How many characters at the start of `rest` can stand as bytes.
fn base64_at(rest: &[u8]) -> usize {
    let run = rest
        .iter()
        .take(MOST_BASE64 / 3 * 4)
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        .count();
    if run < SHORTEST_BASE64 {
        0
    } else if decode(&rest[..run]).is_some() {
        run
    } else {
        // Not a whole number of bytes: as far as it is.
        run - run % 4
    }
}

fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    BASE64_NOPAD.decode(text).ok().map(Zeroizing::new)
}

/// The bytes in a list of numbers at the start of `rest`, and how long it is there.
fn list_at(rest: &[u8]) -> Option<(Zeroizing<Vec<u8>>, usize)> {
    let inner = rest.strip_prefix(b"[")?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(128));
    let mut at = 0;
    loop {
        let digits = inner[at..]
            .iter()
            .take(4)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let digits_text = &inner[at..at + digits];
        if digits_text.len() > 1 && digits_text[0] == b'0' {
            return None;
        }
        bytes.push(std::str::from_utf8(digits_text).ok()?.parse().ok()?);
        at += digits + 1;
        match inner.get(at - 1)? {
            b',' if bytes.len() < usize::from(u8::MAX) => {}
            b']' if bytes.len() >= SHORTEST_LIST => return Some((bytes, at + 1)),
            _ => return None,
        }
    }
}

/// What was packed; `None` for what never was.
pub(super) fn unpack(packed: &[u8]) -> Option<Wiped> {
    let mut text = Wiped::with_capacity(WORDS.len() + 4 * packed.len());
    text.extend(WORDS);
    let mut rest = Rest(packed);
    loop {
        match rest.byte()? {
            END => break,
            RAW => text.push(rest.byte()?),
            LIST => list(&mut text, rest.counted()?),
            BASE64 => {
                let encoded = Zeroizing::new(BASE64_NOPAD.encode(rest.counted()?));
                text.extend(encoded.as_bytes());
            }
            copy if copy >= COPY => {
                let distance = u16::from_le_bytes([rest.byte()?, rest.byte()?]);
                let from = text.len().checked_sub(usize::from(distance))?;
                for at in from..from + usize::from(copy & !COPY) + SHORTEST {
                    let byte = *text.get(at)?;
                    text.push(byte);
                }
            }
            byte => text.push(byte),
        }
    }
    let mut plain = Wiped::with_capacity(text.len() - WORDS.len());
    plain.extend(&text[WORDS.len()..]);
    Some(plain)
}

fn list(text: &mut Wiped, bytes: &[u8]) {
    for (at, byte) in bytes.iter().enumerate() {
        text.push(if at == 0 { b'[' } else { b',' });
        // By hand: a `String` would not be wiped.
        for (least, unit) in [(100, 100), (10, 10), (0, 1)] {
            if *byte >= least {
                text.push(b'0' + byte / unit % 10);
            }
        }
    }
    text.push(b']');
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A length, and so many bytes.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        let (bytes, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn survives(plain: &[u8]) -> usize {
        let packed = pack(plain, 16);
        assert_eq!(packed.len() % 16, 0);
        assert_eq!(unpack(&packed).as_deref(), Some(plain));
        packed.len()
    }

    #[test]
    fn keys_become_bytes() {
        let base64 = format!(r#"{{"k":"{}"}}"#, BASE64_NOPAD.encode(&[0xa7; 32]));
        assert!(survives(base64.as_bytes()) <= 48);
        let list = format!("{:?}", (100..228).collect::<Vec<u8>>()).replace(' ', "");
        assert!(survives(list.as_bytes()) <= 144);
        let all = format!("{:?}", (0..=254).collect::<Vec<u8>>()).replace(' ', "");
        assert!(survives(all.as_bytes()) <= 272);
        survives(all.replace("254", "255").as_bytes());
        // The start of a list in a copy does not spoil the list.
        let two = format!(r#"{{"key":{list},"key":{list}}}"#).replace("227]}", "1]}");
        assert!(survives(two.as_bytes()) <= 304);
        // Names that the crate uses.
        assert_eq!(survives(br#"{"algorithms":["m.olm.v1.curve25519-aes-sha2","m.megolm.v1.aes-sha2"],"device_id":""#), 16);
    }

    #[test]
    fn oddities_survive() {
        for text in [
            "",
            "[",
            "[]",
            "[1,2,3",
            "[1,2,3]",
            "[01,2,3]",
            "[1,2,256]",
            "[1,2,3,]",
            "[-1,2,3,4]",
            "[+1,2,3,4]",
            "[1,2,,3]",
            "AAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAB",
            "\u{1}\u{0}\u{80}\u{7f}naïve",
            "abcabcabcabcabcabcabcabc",
        ] {
            survives(text.as_bytes());
        }
        survives(&vec![b'a'; 300_000]);
        let long: Vec<u8> = (0..300_000u32)
            .map(|n| n.wrapping_mul(n).to_le_bytes()[1])
            .collect();
        survives(&long);
        survives(format!("{:?}", &long[..2000]).replace(' ', "").as_bytes());
        survives(BASE64_NOPAD.encode(&long[..5000]).as_bytes());
    }

    #[test]
    fn padding_is_small() {
        for length in 0..64 {
            let text: Vec<u8> = (0..length).map(|n| b'!' + n).collect();
            assert!(survives(&text) <= 16 * (usize::from(length) / 16 + 1));
        }
    }

    proptest! {
        #[test]
        fn anything_survives(plain: Vec<u8>) {
            survives(&plain);
        }

        #[test]
        fn anything_like_json_survives(plain in r#"([\[\]{},:"]|[0-9]{1,4},|[A-Za-z0-9+/]{0,90}|"[a-z_]{0,9}")*"#) {
            survives(plain.as_bytes());
        }

        #[test]
        fn garbage_does_no_harm(packed: Vec<u8>) {
            let _ = unpack(&packed);
        }
    }
}
