//! Bytes that are wiped when they are dropped, and also when they outgrow their place.

use std::{io, ops::Deref};

use zeroize::Zeroizing;

/// A `Zeroizing<Vec<u8>>` leaves what it held behind when it grows; this does not.
pub(super) struct Wiped(Zeroizing<Vec<u8>>);

impl Wiped {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    pub(super) fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    /// Makes it up to a multiple of `bucket`.
    pub(super) fn pad(&mut self, bucket: usize, fill: u8) {
        let padded = self.0.len().next_multiple_of(bucket);
        self.reserve(padded);
        self.0.resize(padded, fill);
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(self.0.len() + bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// Sees to it that so many bytes have their place.
    fn reserve(&mut self, needed: usize) {
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.0.capacity())));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
    }
}

impl From<Vec<u8>> for Wiped {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl Deref for Wiped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl io::Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows() {
        let mut wiped = Wiped::with_capacity(1);
        for byte in 0..=255 {
            wiped.push(byte);
            wiped.extend(b"more");
        }
        assert_eq!(wiped.len(), 5 * 256);
        assert_eq!(&wiped[5 * 255..], b"\xffmore");
        let mut padded = Wiped::from(b"abc".to_vec());
        padded.pad(8, b' ');
        padded.pad(8, b'-');
        assert_eq!(&*padded, b"abc     ");
    }
}
