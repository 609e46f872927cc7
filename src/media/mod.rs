//! Files that people attach: what they are, and without what they may travel.
//!
//! [`strip`] recognises a file by its bytes, never by what somebody calls it, and takes out what tells about its
//! maker: EXIF, XMP, IPTC, ID3, comments, places, names of authors and programs, dates, embedded thumbnails, data
//! after the end. It works by allow-list wherever the format allows it: parts that are known to be needed for
//! showing or playing stay, everything else goes. It looks at containers alone: what is *in* the picture, the sound
//! or the text stays, and so does what an encoder wrote into the compressed stream itself.
//!
//! Each copy also gets some random letters where nobody sees them, so that no two copies of one file are the same bytes.
//!
//! Called by `portal` for each file that crosses a portal, and by `rewrite` for names and types. Pure: no waiting, no
//! network, and no files but those that it is handed. A file is read piece by piece and written as it is read, so the
//! memory for it is a few hundred KiB, and a few MiB for the tables of a film, whatever its size. Only a PDF is held in
//! memory as a whole, so a large one cannot be cleaned. Any input ends in an answer, after a time that grows as it does.

mod bmff;
mod crc;
mod exif;
mod flac;
mod fragments;
mod gif;
mod heif;
mod icc;
mod jpeg;
mod kind;
mod mp3;
mod noise;
mod ogg;
mod pdf;
mod pdf_load;
mod plan;
mod png;
mod read;
mod riff;
mod samples;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

pub use kind::{Class, Kind, Named};
pub use read::Input;

use self::{
    noise::Noise,
    read::{Bad, File, Out, malformed},
};
use crate::rng::Rng;

/// Why there is no clean file.
#[derive(Debug, thiserror::Error)]
pub enum StripError {
    /// It cannot be cleaned.
    #[error("{why}")]
    Unstrippable {
        /// What it is, or at least claims to be.
        kind: Kind,
        /// What is wrong.
        why: Why,
    },
    /// It cannot be read, or the clean one not be written.
    #[error("the disk fails")]
    Disk(#[from] io::Error),
}

/// Why a file cannot be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Its kind is not one of those that are known here.
    #[error("its kind is not one that can be cleaned")]
    Unknown,
    /// It begins like a file of its kind and does not go on like one, or hides what it holds (encryption).
    #[error("it is damaged, or not made as its kind should be")]
    Malformed,
    /// Its kind can only be cleaned up to a size.
    #[error("it is too large to be cleaned")]
    TooLarge,
}

/// Takes the metadata out of a file, and tells what it is. `claimed` (what the sender calls it) names the kind only where
/// the bytes do not tell, and never makes a file pass that is not clean. What was written before an error is worthless.
pub fn strip(
    from: &mut dyn Input,
    claimed: Kind,
    rng: &Rng,
    to: &mut dyn Write,
) -> Result<Kind, StripError> {
    let unknown = || StripError::Unstrippable {
        kind: claimed.unless_recognisable(),
        why: Why::Unknown,
    };
    let failed = |bad, kind| match bad {
        Bad::File(why) => StripError::Unstrippable { kind, why },
        Bad::Disk(error) => StripError::Disk(error),
    };
    let mut file = File::new(from).map_err(|bad| failed(bad, claimed))?;
    let kind = recognise(&mut file)
        .map_err(|bad| failed(bad, claimed))?
        .ok_or_else(unknown)?;
    clean(kind, &mut file, &Noise::new(rng), &mut Out::new(to)).map_err(|bad| failed(bad, kind))?;
    Ok(kind)
}

fn recognise(file: &mut File<'_>) -> read::Result<Option<Kind>> {
    let length = usize::try_from(file.length()).map_or(kind::HEAD, |all| all.min(kind::HEAD));
    Ok(Kind::recognise(&file.piece(0, length)?))
}

fn clean(kind: Kind, file: &mut File<'_>, noise: &Noise, out: &mut Out<'_>) -> read::Result<()> {
    match kind {
        Kind::Jpeg => jpeg::strip(file, Some(noise), out),
        Kind::Png => png::strip(file, noise, out),
        Kind::Gif => gif::strip(file, noise, out),
        Kind::Webp => riff::strip_webp(file, noise, out),
        Kind::Wav => riff::strip_wav(file, noise, out),
        Kind::Heic | Kind::Avif => heif::strip(file, noise, out),
        Kind::Mp4 | Kind::QuickTime | Kind::M4a => bmff::strip(file, noise, out),
        Kind::Mp3 => mp3::strip(file, noise, out),
        Kind::Flac => flac::strip(file, noise, out),
        Kind::OggAudio | Kind::OggVideo => ogg::strip(file, noise, out),
        Kind::Pdf => pdf::strip(file, noise, out),
        Kind::Other(_) => malformed(),
    }
}
