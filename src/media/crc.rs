//! The checksums of PNG chunks and of Ogg pages.

const fn table(reflected: bool) -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let byte = index as u32;
        let mut sum = if reflected { byte } else { byte << 24 };
        let mut bit = 0;
        while bit < 8 {
            sum = match reflected {
                true if sum & 1 != 0 => sum >> 1 ^ 0xedb8_8320,
                true => sum >> 1,
                false if sum & 0x8000_0000 != 0 => sum << 1 ^ 0x04c1_1db7,
                false => sum << 1,
            };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
}

static PNG: [u32; 256] = table(true);
static OGG: [u32; 256] = table(false);

/// Of a PNG chunk: its type and data.
pub(super) fn png(parts: [&[u8]; 2]) -> u32 {
    let sum = parts.concat().iter().fold(u32::MAX, |sum, byte| {
        sum >> 8 ^ PNG[usize::from(sum.to_le_bytes()[0] ^ byte)]
    });
    !sum
}

/// Of an Ogg page, in which the place of the checksum is zero.
pub(super) fn ogg(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, byte| {
        sum << 8 ^ OGG[usize::from(sum.to_be_bytes()[0] ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_known_chunk() {
        assert_eq!(super::png([b"IEND", b""]), 0xae42_6082);
    }
}
