//! What is done to a file between its download and its upload. It takes long and blocks, so it runs on threads of its own.
//!
//! Each step reads one file of the [spool](crate::spool) and writes another, piece by piece. Called by `media` alone.

use std::io::{self, Read, Write as _};

use matrix_sdk_crypto::{AttachmentDecryptor, AttachmentEncryptor, MediaEncryptionInfo};
use ruma::events::room::EncryptedFile;

use super::CopyError;
use crate::{
    media::{Kind, StripError, strip},
    rng::Rng,
    spool::{Spool, Spooled},
};

/// So much is in memory at once.
const PIECE: usize = 64 * 1024;

/// A file that may go on.
pub(super) struct Cleaned {
    /// It.
    pub(super) file: Spooled,
    /// What it is.
    pub(super) kind: Kind,
}

/// Decrypts a file if there is a `key`, and takes the metadata out of it. `as_it_is`: one that cannot be cleaned goes on
/// all the same.
pub(super) fn clean(
    spool: &Spool,
    rng: &Rng,
    file: &Spooled,
    key: Option<Box<EncryptedFile>>,
    claimed: Kind,
    as_it_is: bool,
) -> Result<Cleaned, CopyError> {
    let file = match key {
        Some(key) => decrypt(spool, file, *key)?,
        None => file.clone(),
    };
    let mut clean = spool.create();
    match strip(&mut file.reader(), claimed, rng, &mut clean) {
        Ok(kind) => Ok(Cleaned {
            file: clean.finish()?,
            kind,
        }),
        Err(StripError::Unstrippable { kind, .. }) if as_it_is => Ok(Cleaned { file, kind }),
        Err(StripError::Unstrippable { why, .. }) => Err(CopyError::Unstrippable(why)),
        Err(StripError::Disk(error)) => Err(error.into()),
    }
}

/// Decrypts a file. Nothing of one whose hash is wrong is used: what is returned has been read to its end.
fn decrypt(spool: &Spool, file: &Spooled, key: EncryptedFile) -> Result<Spooled, CopyError> {
    let mut from = file.reader();
    let mut decryptor = AttachmentDecryptor::new(&mut from, MediaEncryptionInfo::from(key))
        .map_err(|_| CopyError::Unreadable)?;
    let mut plain = spool.create();
    let mut piece = vec![0; PIECE];
    loop {
        match decryptor.read(&mut piece) {
            Ok(0) => return Ok(plain.finish()?),
            Ok(length) => plain.write_all(&piece[..length])?,
            // So the decryptor says that the hash is wrong.
            Err(error) if error.kind() == io::ErrorKind::Other => {
                return Err(CopyError::Unreadable);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Encrypts a file with a key of its own.
pub(super) fn encrypt(spool: &Spool, file: &Spooled) -> io::Result<(Spooled, MediaEncryptionInfo)> {
    let mut from = file.reader();
    let mut encryptor = AttachmentEncryptor::new(&mut from);
    let mut hidden = spool.create();
    let mut piece = vec![0; PIECE];
    loop {
        match encryptor.read(&mut piece)? {
            0 => break,
            length => hidden.write_all(&piece[..length])?,
        }
    }
    Ok((hidden.finish()?, encryptor.finish()))
}

#[cfg(test)]
mod tests {
    use assert_matches::assert_matches;

    use super::*;
    use crate::media::Why;

    fn spooled(spool: &Spool, data: &[u8]) -> Spooled {
        let mut file = spool.create();
        file.write_all(data).unwrap();
        file.finish().unwrap()
    }

    fn bytes(file: &Spooled) -> Vec<u8> {
        let mut all = Vec::new();
        file.reader().read_to_end(&mut all).unwrap();
        all
    }

    fn file(key: MediaEncryptionInfo) -> EncryptedFile {
        EncryptedFile::new("mxc://a/b".into(), key.encryption_info, key.hashes)
    }

    #[test]
    fn encryption_is_fresh_and_hashes_are_checked() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().to_owned(), Rng::seeded(1));
        for length in [6, 1 << 20] {
            let plain = vec![b'x'; length];
            let original = spooled(&spool, &plain);
            let (one, key) = encrypt(&spool, &original).unwrap();
            let (two, other) = encrypt(&spool, &original).unwrap();
            assert!(bytes(&one) != bytes(&two) && bytes(&one) != plain);
            let read = decrypt(&spool, &one, file(key)).unwrap();
            assert!(bytes(&read) == plain);
            let refused = decrypt(&spool, &one, file(other));
            assert_matches!(refused, Err(CopyError::Unreadable));
        }
    }

    #[test]
    fn what_was_changed_on_the_way_is_not_used() {
        let spool = Spool::new("/nowhere".into(), Rng::seeded(1));
        let (hidden, key) = encrypt(&spool, &spooled(&spool, b"some text")).unwrap();
        let mut changed = bytes(&hidden);
        changed[3] ^= 1;
        let changed = spooled(&spool, &changed);
        let key = Some(Box::new(file(key)));
        let claimed = Kind::claimed(Some("text/plain"), None);
        let rng = Rng::seeded(1);
        let refused = clean(&spool, &rng, &changed, key.clone(), claimed, true);
        assert_matches!(refused.err(), Some(CopyError::Unreadable));
        let whole = clean(&spool, &rng, &hidden, key.clone(), claimed, true).unwrap();
        assert_eq!(bytes(&whole.file), b"some text");
        assert_eq!(whole.kind, claimed);
        let refused = clean(&spool, &rng, &hidden, key, claimed, false);
        assert_matches!(refused.err(), Some(CopyError::Unstrippable(Why::Unknown)));
    }

    #[test]
    fn a_disk_that_takes_nothing_is_an_error() {
        let spool = Spool::new("/nowhere".into(), Rng::seeded(1));
        let small = spooled(&spool, b"x");
        assert!(encrypt(&spool, &small).is_ok());
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = Spool::new(directory.path().to_owned(), Rng::seeded(1));
        let large = spooled(&elsewhere, &vec![0; 1 << 20]);
        assert!(encrypt(&spool, &large).is_err());
    }
}
