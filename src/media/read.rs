//! A file that is read piece by piece, through a few small pages, and what comes of it, written as it comes. So the
//! memory that a cleaning needs does not depend on the file's size.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
};

use super::Why;

/// Where a file is read from.
pub trait Input: Read + Seek {}

impl<T: Read + Seek> Input for T {}

/// What ends a cleaning.
#[derive(Debug)]
pub(super) enum Bad {
    /// The file does not allow it.
    File(Why),
    /// It could not be read or written.
    Disk(io::Error),
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

pub(super) type Result<T> = std::result::Result<T, Bad>;

/// It is not made as its kind should be.
pub(super) fn malformed<T>() -> Result<T> {
    Err(Bad::File(Why::Malformed))
}

/// What is not there is malformed.
pub(super) trait Needed<T> {
    fn needed(self) -> Result<T>;
}

impl<T> Needed<T> for Option<T> {
    fn needed(self) -> Result<T> {
        self.map_or_else(malformed, Ok)
    }
}

const PAGE: u64 = 32 * 1024;

/// So many places of a file are read alternately, at most, as the tables of a film are.
const PAGES: usize = 8;

/// No piece that is looked at as a whole is larger.
const LARGEST_PIECE: usize = 256 * 1024;

/// A file that is looked at.
pub(super) struct File<'a> {
    from: &'a mut dyn Input,
    length: u64,
    /// The one that was used last is first.
    pages: Vec<(u64, Vec<u8>)>,
}

impl<'a> File<'a> {
    pub(super) fn new(from: &'a mut dyn Input) -> Result<Self> {
        let length = from.seek(SeekFrom::End(0))?;
        Ok(Self {
            from,
            length,
            pages: Vec::with_capacity(PAGES),
        })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// From now on the file ends here.
    pub(super) fn cut(&mut self, length: u64) {
        self.length = self.length.min(length);
    }

    /// The bytes from a place on, as far as they are at hand; none only at the end.
    pub(super) fn rest(&mut self, at: u64) -> Result<&[u8]> {
        if at >= self.length {
            return Ok(&[]);
        }
        let begin = at - at % PAGE;
        match self.pages.iter().position(|(page, _)| *page == begin) {
            Some(0) => {}
            Some(nth) => self.pages[..=nth].rotate_right(1),
            None => self.load(begin)?,
        }
        let left = usize::try_from(self.length - begin).unwrap_or(usize::MAX);
        let page = self.pages.first().map_or(&[][..], |(_, page)| page);
        let page = &page[..page.len().min(left)];
        let skip = usize::try_from(at - begin).unwrap_or(usize::MAX);
        match page.get(skip..) {
            Some(rest) if !rest.is_empty() => Ok(rest),
            _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    fn load(&mut self, begin: u64) -> Result<()> {
        let mut page = if self.pages.len() < PAGES {
            Vec::new()
        } else {
            self.pages.pop().map(|(_, page)| page).unwrap_or_default()
        };
        page.clear();
        self.from.seek(SeekFrom::Start(begin))?;
        (&mut *self.from).take(PAGE).read_to_end(&mut page)?;
        self.pages.insert(0, (begin, page));
        Ok(())
    }

    /// Fills a buffer.
    pub(super) fn fill(&mut self, mut at: u64, out: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < out.len() {
            let rest = self.rest(at)?;
            if rest.is_empty() {
                return malformed();
            }
            let length = rest.len().min(out.len() - done);
            out[done..done + length].copy_from_slice(&rest[..length]);
            done += length;
            at += length as u64;
        }
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self, at: u64) -> Result<[u8; N]> {
        let mut out = [0; N];
        self.fill(at, &mut out)?;
        Ok(out)
    }

    pub(super) fn byte(&mut self, at: u64) -> Result<u8> {
        self.rest(at)?.first().copied().needed()
    }

    /// A piece that is looked at as a whole.
    pub(super) fn piece(&mut self, at: u64, length: usize) -> Result<Vec<u8>> {
        let there = at
            .checked_add(length as u64)
            .is_some_and(|end| end <= self.length);
        if !there || length > LARGEST_PIECE {
            return malformed();
        }
        let mut out = vec![0; length];
        self.fill(at, &mut out)?;
        Ok(out)
    }

    pub(super) fn be16(&mut self, at: u64) -> Result<u16> {
        self.array(at).map(u16::from_be_bytes)
    }

    pub(super) fn be32(&mut self, at: u64) -> Result<u32> {
        self.array(at).map(u32::from_be_bytes)
    }

    pub(super) fn be64(&mut self, at: u64) -> Result<u64> {
        self.array(at).map(u64::from_be_bytes)
    }

    pub(super) fn le32(&mut self, at: u64) -> Result<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// The place after `length` bytes, which must be there.
    pub(super) fn after(&self, at: u64, length: u64) -> Result<u64> {
        at.checked_add(length)
            .filter(|end| *end <= self.length)
            .needed()
    }
}

/// What is written, or only counted.
pub(super) struct Out<'a> {
    to: Option<&'a mut dyn Write>,
    length: u64,
}

impl<'a> Out<'a> {
    pub(super) fn new(to: &'a mut dyn Write) -> Self {
        Self {
            to: Some(to),
            length: 0,
        }
    }

    /// How much `work` would write.
    pub(super) fn measure(work: impl FnOnce(&mut Out<'_>) -> Result<()>) -> Result<u64> {
        let mut out = Out {
            to: None,
            length: 0,
        };
        work(&mut out)?;
        Ok(out.length)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.length += bytes.len() as u64;
        if let Some(to) = &mut self.to {
            to.write_all(bytes)?;
        }
        Ok(())
    }

    /// A range of a file, which must be there.
    pub(super) fn copy(&mut self, file: &mut File<'_>, range: Range<u64>) -> Result<()> {
        if range.end > file.length() || range.start > range.end {
            return malformed();
        }
        if self.to.is_none() {
            self.length += range.end - range.start;
            return Ok(());
        }
        let mut at = range.start;
        while at < range.end {
            let rest = file.rest(at)?;
            let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
            let rest = &rest[..rest.len().min(left)];
            at += rest.len() as u64;
            self.bytes(rest)?;
        }
        Ok(())
    }
}

/// `length` bytes at `at`.
pub(super) fn piece(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}

/// Whether `needle` stands somewhere in `hay`.
pub(super) fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}
