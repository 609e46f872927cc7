//! What makes each copy of a file another one, though it shows or sounds the same: some random letters where each format
//! has a place for what no program shows.
//!
//! Without them, one picture in two rooms would be the same bytes, hash and size. They say nothing, and their number
//! varies, so that sizes are not equal either.

use data_encoding::HEXLOWER;

use crate::rng::Rng;

/// The fewest random bytes: enough that no two copies have the same.
const FEWEST: usize = 16;
const MOST: usize = 48;

/// Random letters for one copy.
pub(super) struct Noise(String);

impl Noise {
    pub(super) fn new(rng: &Rng) -> Self {
        let bytes: [u8; MOST] = rng.bytes();
        let more = rng.below((MOST - FEWEST + 1) as u64);
        let length = FEWEST + usize::try_from(more).unwrap_or(0);
        Self(HEXLOWER.encode(&bytes[..length]))
    }

    /// 32 to 96 letters and digits.
    pub(super) fn text(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// How many they are.
    pub(super) fn length(&self) -> u8 {
        u8::try_from(self.0.len()).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same_and_none_is_long() {
        let rng = Rng::seeded(1);
        let many: std::collections::BTreeSet<_> = (0..1000)
            .map(|_| Noise::new(&rng))
            .inspect(|noise| assert!((32..=96).contains(&noise.length())))
            .map(|noise| noise.0)
            .collect();
        assert_eq!(many.len(), 1000);
        let lengths: std::collections::BTreeSet<_> = many.iter().map(String::len).collect();
        assert_eq!(lengths.len(), 33);
    }
}
