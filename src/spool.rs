//! Files on their way through: written once, from the beginning to the end, and then read, as often as is needed.
//!
//! A small one stays in memory. A larger one goes to a temporary file that has no name, so that nothing is left of it when
//! the process ends, however it ends. What it holds is encrypted with a key that is in memory alone, because it may be what
//! somebody said end-to-end encrypted, and a disk remembers. So memory does not depend on a file's size.
//!
//! Called by `homeserver`, which downloads into it and uploads from it, and by `portal`, which cleans in between. It
//! never looks at what it holds. It blocks: whoever may not wait calls it on a thread for that.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit as _, StreamCipher as _, StreamCipherSeek as _},
};
use zeroize::Zeroizing;

use crate::rng::Rng;

/// What is smaller stays in memory, and so much is written at once.
const CHUNK: usize = 256 * 1024;

/// Where files wait. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: Arc<Path>,
    rng: Rng,
}

impl Spool {
    /// In a directory, which must exist when the first large file comes.
    #[must_use]
    pub fn new(directory: PathBuf, rng: Rng) -> Self {
        Self {
            directory: directory.into(),
            rng,
        }
    }

    /// A new, empty file.
    #[must_use]
    pub fn create(&self) -> Writing {
        Writing {
            spool: self.clone(),
            buffer: Vec::new(),
            disk: None,
            length: 0,
        }
    }

    /// Whether files can be made in the directory.
    pub fn check(&self) -> io::Result<()> {
        tempfile::tempfile_in(&self.directory).map(drop)
    }
}

/// Encrypts at a place. Each file has a key of its own and each place is written once, so nothing is encrypted twice.
fn keystream(key: &[u8; 32], at: u64, data: &mut [u8]) -> io::Result<()> {
    let too_far = || io::Error::from(io::ErrorKind::FileTooLarge);
    let mut cipher = ChaCha20::new(key.into(), &[0; 12].into());
    cipher.try_seek(at).map_err(|_| too_far())?;
    cipher.try_apply_keystream(data).map_err(|_| too_far())
}

#[derive(Debug)]
struct Disk {
    file: File,
    key: Zeroizing<[u8; 32]>,
}

/// A file that is being written.
pub struct Writing {
    spool: Spool,
    /// What was not written yet.
    buffer: Vec<u8>,
    disk: Option<Disk>,
    /// With what is in the buffer.
    length: u64,
}

impl Writing {
    /// How much was written.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether writing so many bytes more touches the disk.
    #[must_use]
    pub fn blocks(&self, more: usize) -> bool {
        self.buffer.len() + more > CHUNK
    }

    /// The file, as it will stay.
    pub fn finish(mut self) -> io::Result<Spooled> {
        if self.disk.is_some() {
            self.spill()?;
        }
        let held = match self.disk {
            Some(disk) => Held::Disk(disk),
            None => Held::Memory(self.buffer.into()),
        };
        Ok(Spooled {
            held: Arc::new(held),
            length: self.length,
        })
    }

    fn spill(&mut self) -> io::Result<()> {
        let disk = match &mut self.disk {
            Some(disk) => disk,
            none => none.insert(Disk {
                file: tempfile::tempfile_in(&self.spool.directory)?,
                key: Zeroizing::new(self.spool.rng.bytes()),
            }),
        };
        let at = self.length - self.buffer.len() as u64;
        keystream(&disk.key, at, &mut self.buffer)?;
        disk.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for Writing {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= CHUNK {
            self.spill()?;
        }
        let length = data.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&data[..length]);
        self.length += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
enum Held {
    Memory(Bytes),
    Disk(Disk),
}

/// A file that was written. Clones share it; with the last one it is gone.
#[derive(Clone, Debug)]
pub struct Spooled {
    held: Arc<Held>,
    length: u64,
}

impl Spooled {
    /// How many bytes it has.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads it from the beginning.
    #[must_use]
    pub fn reader(&self) -> Reading {
        Reading {
            file: self.clone(),
            at: 0,
        }
    }
}

/// Reads a file, at any place.
#[derive(Debug)]
pub struct Reading {
    file: Spooled,
    at: u64,
}

impl Reading {
    /// The next piece; an empty one at the end.
    pub fn piece(&mut self) -> io::Result<Bytes> {
        let mut piece = vec![0; CHUNK / 4];
        let length = self.read(&mut piece)?;
        piece.truncate(length);
        Ok(piece.into())
    }
}

impl Read for Reading {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = match &*self.file.held {
            Held::Memory(bytes) => {
                let from = usize::try_from(self.at).unwrap_or(usize::MAX);
                let rest = bytes.get(from..).unwrap_or_default();
                let length = rest.len().min(out.len());
                out[..length].copy_from_slice(&rest[..length]);
                length
            }
            Held::Disk(disk) => {
                let length = disk.file.read_at(out, self.at)?;
                keystream(&disk.key, self.at, &mut out[..length])?;
                length
            }
        };
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Reading {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(spool: &Spool, data: &[u8]) -> Spooled {
        let mut file = spool.create();
        for piece in data.chunks(100_000) {
            file.write_all(piece).unwrap();
        }
        assert_eq!(file.length(), data.len() as u64);
        file.finish().unwrap()
    }

    #[test]
    fn what_is_written_is_read_anywhere() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().to_owned(), Rng::seeded(1));
        spool.check().unwrap();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 7] {
            let data: Vec<u8> = (0..251).cycle().take(length).collect();
            let file = written(&spool, &data);
            assert_eq!(matches!(*file.held, Held::Disk(_)), length > CHUNK);
            let mut whole = Vec::new();
            file.reader().read_to_end(&mut whole).unwrap();
            assert!(whole == data, "{length}");
            let mut reader = file.reader();
            for at in [0, 63, 64, 65, length / 2, length.saturating_sub(3)] {
                let mut piece = Vec::new();
                reader.seek(SeekFrom::Start(at as u64)).unwrap();
                reader.by_ref().take(100).read_to_end(&mut piece).unwrap();
                assert!(piece == data[at.min(length)..(at + 100).min(length)]);
            }
        }
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 0, "a file has a name");
    }

    #[test]
    fn the_disk_learns_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().to_owned(), Rng::seeded(1));
        let data = vec![b'x'; 3 * CHUNK];
        let raw = |file: &Spooled| {
            let Held::Disk(disk) = &*file.held else {
                panic!("it is in memory");
            };
            let mut raw = vec![0; data.len()];
            disk.file.read_exact_at(&mut raw, 0).unwrap();
            raw
        };
        let (one, two) = (written(&spool, &data), written(&spool, &data));
        let (one, two) = (raw(&one), raw(&two));
        assert!(!one.windows(8).any(|window| window == b"xxxxxxxx"));
        assert!(one != two);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let spool = Spool::new("/nowhere/at/all".into(), Rng::seeded(1));
        assert!(spool.check().is_err());
        let mut file = spool.create();
        assert!(file.write_all(&vec![0; 2 * CHUNK]).is_err());
        assert_eq!(written(&spool, b"small").length(), 5);
    }
}
