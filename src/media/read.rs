//! Reading numbers and pieces at places that may not be there.

/// `length` bytes at `at`.
pub(super) fn piece(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}

pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    piece(bytes, at, 2)?.try_into().ok().map(u16::from_be_bytes)
}

pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    piece(bytes, at, 4)?.try_into().ok().map(u32::from_be_bytes)
}

pub(super) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    piece(bytes, at, 8)?.try_into().ok().map(u64::from_be_bytes)
}

/// A 32-bit size or index, as one of this machine.
pub(super) fn size(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(be32(bytes, at)?).ok()
}

/// Whether `needle` stands somewhere in `hay`.
pub(super) fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}
