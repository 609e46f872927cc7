//! GIF: pictures, their timing and the number of repeats stay; comments and the blocks of applications go.

use super::{
    noise::Noise,
    read::{File, Out, Result, malformed},
};

/// The picture without metadata. What follows its end goes.
pub(super) fn strip(file: &mut File<'_>, noise: &Noise, out: &mut Out<'_>) -> Result<()> {
    let head = file.array::<13>(0)?;
    let mut at = 13 + table(head[10]);
    out.copy(file, 0..at)?;
    loop {
        let from = at;
        match file.byte(at)? {
            0x21 => {
                let label = file.byte(at + 1)?;
                at = blocks(file, at + 2)?;
                let stays = match (label, at - from) {
                    (0xf9, 8) => true,
                    (0xff, 19) => {
                        matches!(&file.array(from + 3)?, b"NETSCAPE2.0" | b"ANIMEXTS1.0")
                    }
                    _ => false,
                };
                if stays {
                    out.copy(file, from..at)?;
                }
            }
            0x2c => {
                let flags = file.byte(at + 9)?;
                at = blocks(file, at + 10 + table(flags) + 1)?;
                out.copy(file, from..at)?;
            }
            0x3b => {
                out.bytes(&[0x21, 0xfe, noise.length()])?;
                out.bytes(noise.text())?;
                return out.bytes(&[0, 0x3b]);
            }
            _ => return malformed(),
        }
    }
}

/// The length of a colour table.
fn table(flags: u8) -> u64 {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Where a row of data blocks ends.
fn blocks(file: &mut File<'_>, mut at: u64) -> Result<u64> {
    loop {
        let length = file.byte(at)?;
        at = file.after(at, 1 + u64::from(length))?;
        if length == 0 {
            return Ok(at);
        }
    }
}
