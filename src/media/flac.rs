//! FLAC: of the metadata blocks, what the sound is and where its parts lie stays.

use super::read::piece;

/// The sound without metadata.
pub(super) fn strip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(b"fLaC");
    let mut last_head = None;
    let mut at = 4;
    loop {
        let head = piece(bytes, at, 4)?;
        let length = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
        let block = piece(bytes, at, 4 + length)?;
        at += block.len();
        // STREAMINFO and SEEKTABLE.
        if matches!(head[0] & 0x7f, 0 | 3) {
            last_head = Some(out.len());
            out.extend_from_slice(block);
            *out.get_mut(last_head?)? &= 0x7f;
        }
        if head[0] & 0x80 != 0 {
            break;
        }
    }
    *out.get_mut(last_head?)? |= 0x80;
    // A frame begins with its sync code; tags at the end are those of MP3.
    let sound = super::mp3::without_tail(bytes.get(at..)?);
    let is_frame =
        |sound: &[u8]| sound[0] == 0xff && sound.get(1).is_some_and(|next| next & 0xfc == 0xf8);
    if !sound.is_empty() && !is_frame(sound) {
        return None;
    }
    out.extend_from_slice(sound);
    Some(out)
}
