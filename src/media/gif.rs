//! GIF: pictures, their timing and the number of repeats stay; comments and the blocks of applications go.

use super::read::piece;

/// The picture without metadata. What follows its end goes.
pub(super) fn strip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let head = piece(bytes, 0, 13)?;
    let mut at = 13 + table(head[10]);
    out.extend_from_slice(piece(bytes, 0, at)?);
    loop {
        let from = at;
        match *bytes.get(at)? {
            0x21 => {
                let label = *bytes.get(at + 1)?;
                at = blocks(bytes, at + 2)?;
                let block = &bytes[from..at];
                let repeats = matches!(block.get(3..14), Some(b"NETSCAPE2.0" | b"ANIMEXTS1.0"))
                    && block.len() == 19;
                if label == 0xf9 && block.len() == 8 || label == 0xff && repeats {
                    out.extend_from_slice(block);
                }
            }
            0x2c => {
                let flags = piece(bytes, at, 10)?[9];
                at = blocks(bytes, at + 10 + table(flags) + 1)?;
                out.extend_from_slice(&bytes[from..at]);
            }
            0x3b => {
                out.push(0x3b);
                return Some(out);
            }
            _ => return None,
        }
    }
}

/// The length of a colour table.
fn table(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Where a row of data blocks ends.
fn blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}
