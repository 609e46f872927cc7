//! Files that people attach: what they are, and without what they may travel.
//!
//! [`strip`] recognises a file by its bytes, never by what somebody calls it, and takes out what tells about its
//! maker: EXIF, XMP, IPTC, ID3, comments, places, names of authors and programs, dates, embedded thumbnails, data
//! after the end. It works by allow-list wherever the format allows it: parts that are known to be needed for
//! showing or playing stay, everything else goes. It looks at containers alone: what is *in* the picture, the sound
//! or the text stays, and so does what an encoder wrote into the compressed stream itself.
//!
//! Called by `portal` for each file that crosses a portal, and by `rewrite` for names and types. Pure: no waiting, no
//! network; bounded memory (a few times the file at most), and any input ends in an answer.

mod bmff;
mod exif;
mod flac;
mod gif;
mod heif;
mod icc;
mod jpeg;
mod kind;
mod mp3;
mod ogg;
mod pdf;
mod png;
mod read;
mod riff;
mod samples;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use kind::{Class, Kind, Named};

/// A file without metadata.
#[derive(Debug)]
pub struct Stripped {
    /// Its bytes.
    pub bytes: Bytes,
    /// What it is.
    pub kind: Kind,
}

/// A file that cannot be cleaned.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Unstrippable {
    /// The file, untouched.
    pub bytes: Bytes,
    /// What it is, or at least claims to be.
    pub kind: Kind,
    /// What is wrong.
    pub why: Why,
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
}

/// Takes the metadata out of a file. `claimed` (what the sender calls it) names the kind only where the bytes do not
/// tell, and never makes a file pass that is not clean.
pub fn strip(bytes: Bytes, claimed: Kind) -> Result<Stripped, Unstrippable> {
    let Some(kind) = Kind::recognise(&bytes) else {
        let kind = claimed.unless_recognisable();
        return Err(Unstrippable {
            bytes,
            kind,
            why: Why::Unknown,
        });
    };
    let clean = match kind {
        Kind::Jpeg => jpeg::strip(&bytes).map(Bytes::from),
        Kind::Png => png::strip(&bytes),
        Kind::Gif => gif::strip(&bytes).map(Bytes::from),
        Kind::Webp => riff::strip_webp(&bytes),
        Kind::Wav => riff::strip_wav(&bytes),
        Kind::Heic | Kind::Avif => heif::plan(&bytes).map(|plan| plan.apply(&bytes)),
        Kind::Mp4 | Kind::QuickTime | Kind::M4a => {
            bmff::plan(&bytes).map(|plan| plan.apply(&bytes))
        }
        Kind::Mp3 => mp3::strip(&bytes).map(Bytes::from),
        Kind::Flac => flac::strip(&bytes).map(Bytes::from),
        Kind::OggAudio | Kind::OggVideo => ogg::strip(&bytes).map(Bytes::from),
        Kind::Pdf => pdf::strip(&bytes).map(Bytes::from),
        Kind::Other(_) => None,
    };
    match clean {
        Some(bytes) => Ok(Stripped { bytes, kind }),
        None => Err(Unstrippable {
            bytes,
            kind,
            why: Why::Malformed,
        }),
    }
}
