//! FLAC: of the metadata blocks, what the sound is and where its parts lie stays.

use super::{
    mp3,
    noise::Noise,
    read::{File, Out, Result, malformed},
};

/// The sound without metadata.
pub(super) fn strip(file: &mut File<'_>, noise: &Noise, out: &mut Out<'_>) -> Result<()> {
    out.bytes(b"fLaC")?;
    let mut at = 4;
    loop {
        let [kind, high, middle, low] = file.array::<4>(at)?;
        if at == 4 && kind & 0x7f != 0 {
            return malformed();
        }
        let length = u64::from(u32::from_be_bytes([0, high, middle, low]));
        let end = file.after(at, 4 + length)?;
        // STREAMINFO and SEEKTABLE.
        if matches!(kind & 0x7f, 0 | 3) {
            out.bytes(&[kind & 0x7f, high, middle, low])?;
            out.copy(file, at + 4..end)?;
        }
        at = end;
        if kind & 0x80 != 0 {
            break;
        }
    }
    // The last block: no comment, by a program with a random name.
    out.bytes(&[0x84, 0, 0, noise.length() + 8])?;
    out.bytes(&super::ogg::comments(noise))?;
    // A frame begins with its sync code; tags at the end are those of MP3.
    let end = mp3::without_tail(file, at)?;
    if at < end {
        match file.array::<2>(at)? {
            [0xff, next] if next & 0xfc == 0xf8 => out.copy(file, at..end)?,
            _ => return malformed(),
        }
    }
    Ok(())
}
