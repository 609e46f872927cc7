//! What a file is, by its first bytes, and the neutral name that follows from it.

use super::read::contains;

/// So many of a file's first bytes tell what it is.
pub(super) const HEAD: usize = 4096;

/// The kinds of file that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are their own names")]
pub enum Kind {
    Jpeg,
    Png,
    Gif,
    Webp,
    Heic,
    Avif,
    Mp4,
    QuickTime,
    M4a,
    Mp3,
    Flac,
    OggAudio,
    OggVideo,
    Wav,
    Pdf,
    /// None of the kinds that can be cleaned.
    Other(&'static Named),
}

/// How clients show a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `m.image`
    Image,
    /// `m.audio`
    Audio,
    /// `m.video`
    Video,
    /// `m.file`
    File,
}

/// The name and type under which a kind travels that is not recognised here.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    extension: &'static str,
    mime: &'static str,
    class: Class,
}

const fn named(extension: &'static str, mime: &'static str, class: Class) -> Named {
    Named {
        extension,
        mime,
        class,
    }
}

/// What is not known at all.
static NAMELESS: Named = named("bin", "application/octet-stream", Class::File);

/// Types that may be claimed. None is one that a client would run or show as a page.
static NAMED: &[Named] = &[
    named("webm", "video/webm", Class::Video),
    named("mkv", "video/x-matroska", Class::Video),
    named("avi", "video/x-msvideo", Class::Video),
    named("aac", "audio/aac", Class::Audio),
    named("amr", "audio/amr", Class::Audio),
    named("mid", "audio/midi", Class::Audio),
    named("bmp", "image/bmp", Class::Image),
    named("tiff", "image/tiff", Class::Image),
    named("jxl", "image/jxl", Class::Image),
    named("txt", "text/plain", Class::File),
    named("csv", "text/csv", Class::File),
    named("md", "text/markdown", Class::File),
    named("json", "application/json", Class::File),
    named("rtf", "application/rtf", Class::File),
    named("zip", "application/zip", Class::File),
    named("gz", "application/gzip", Class::File),
    named("7z", "application/x-7z-compressed", Class::File),
    named("tar", "application/x-tar", Class::File),
    named("epub", "application/epub+zip", Class::File),
    named(
        "odt",
        "application/vnd.oasis.opendocument.text",
        Class::File,
    ),
    named(
        "ods",
        "application/vnd.oasis.opendocument.spreadsheet",
        Class::File,
    ),
    named(
        "odp",
        "application/vnd.oasis.opendocument.presentation",
        Class::File,
    ),
    named("doc", "application/msword", Class::File),
    named("xls", "application/vnd.ms-excel", Class::File),
    named("ppt", "application/vnd.ms-powerpoint", Class::File),
    named(
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Class::File,
    ),
    named(
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        Class::File,
    ),
    named(
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        Class::File,
    ),
];

impl Kind {
    /// The kind that the bytes show, if it is one that can be cleaned. The first 4096 are enough.
    #[must_use]
    pub fn recognise(bytes: &[u8]) -> Option<Self> {
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        let at8 = bytes.get(8..12);
        if starts(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if starts(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if starts(b"GIF87a") || starts(b"GIF89a") {
            Some(Self::Gif)
        } else if starts(b"RIFF") && at8 == Some(b"WEBP") {
            Some(Self::Webp)
        } else if starts(b"RIFF") && at8 == Some(b"WAVE") {
            Some(Self::Wav)
        } else if starts(b"fLaC") {
            Some(Self::Flac)
        } else if starts(b"OggS") {
            Some(ogg(bytes))
        } else if contains(&bytes[..bytes.len().min(1024)], b"%PDF-") {
            Some(Self::Pdf)
        } else if starts(b"ID3") || super::mp3::begins_like_one(bytes) {
            Some(Self::Mp3)
        } else {
            boxes(bytes)
        }
    }

    /// What a sender says a file is: by its media type, else by the end of its name.
    #[must_use]
    pub fn claimed(mime: Option<&str>, name: Option<&str>) -> Self {
        let mime = mime.unwrap_or_default();
        let mime = mime.split(';').next().unwrap_or_default().trim();
        let end = name
            .and_then(|name| name.rsplit_once('.'))
            .map_or("", |(_, end)| end);
        let known = RECOGNISED
            .iter()
            .find(|kind| kind.mime().eq_ignore_ascii_case(mime));
        if let Some(kind) = known {
            return *kind;
        }
        let by_mime = NAMED
            .iter()
            .find(|named| named.mime.eq_ignore_ascii_case(mime));
        let by_name = || {
            NAMED
                .iter()
                .find(|named| named.extension.eq_ignore_ascii_case(end))
        };
        Self::Other(by_mime.or_else(by_name).unwrap_or(&NAMELESS))
    }

    /// A claim that the bytes did not bear out is none.
    pub(super) fn unless_recognisable(self) -> Self {
        match self {
            Self::Other(_) => self,
            _ => Self::Other(&NAMELESS),
        }
    }

    /// The media type.
    #[must_use]
    pub fn mime(self) -> &'static str {
        self.row().0
    }

    /// How clients show it.
    #[must_use]
    pub fn class(self) -> Class {
        self.row().2
    }

    /// A file name that tells the kind and nothing else.
    #[must_use]
    pub fn file_name(self) -> String {
        let (_, extension, class) = self.row();
        let stem = match class {
            Class::Image => "image",
            Class::Audio => "audio",
            Class::Video => "video",
            Class::File => "file",
        };
        format!("{stem}.{extension}")
    }

    fn row(self) -> (&'static str, &'static str, Class) {
        match self {
            Self::Jpeg => ("image/jpeg", "jpg", Class::Image),
            Self::Png => ("image/png", "png", Class::Image),
            Self::Gif => ("image/gif", "gif", Class::Image),
            Self::Webp => ("image/webp", "webp", Class::Image),
            Self::Heic => ("image/heic", "heic", Class::Image),
            Self::Avif => ("image/avif", "avif", Class::Image),
            Self::Mp4 => ("video/mp4", "mp4", Class::Video),
            Self::QuickTime => ("video/quicktime", "mov", Class::Video),
            Self::M4a => ("audio/mp4", "m4a", Class::Audio),
            Self::Mp3 => ("audio/mpeg", "mp3", Class::Audio),
            Self::Flac => ("audio/flac", "flac", Class::Audio),
            Self::OggAudio => ("audio/ogg", "ogg", Class::Audio),
            Self::OggVideo => ("video/ogg", "ogv", Class::Video),
            Self::Wav => ("audio/wav", "wav", Class::Audio),
            Self::Pdf => ("application/pdf", "pdf", Class::File),
            Self::Other(named) => (named.mime, named.extension, named.class),
        }
    }
}

const RECOGNISED: &[Kind] = &[
    Kind::Jpeg,
    Kind::Png,
    Kind::Gif,
    Kind::Webp,
    Kind::Heic,
    Kind::Avif,
    Kind::Mp4,
    Kind::QuickTime,
    Kind::M4a,
    Kind::Mp3,
    Kind::Flac,
    Kind::OggAudio,
    Kind::OggVideo,
    Kind::Wav,
    Kind::Pdf,
];

/// With a Theora stream it is a video.
fn ogg(bytes: &[u8]) -> Kind {
    if contains(&bytes[..bytes.len().min(HEAD)], b"\x80theora") {
        Kind::OggVideo
    } else {
        Kind::OggAudio
    }
}

/// ISO base media files say in their first box what they are; old QuickTime files have no such box.
fn boxes(bytes: &[u8]) -> Option<Kind> {
    let brands = match bytes.get(4..8)? {
        b"ftyp" => {
            let length = u32::from_be_bytes(*bytes.first_chunk()?);
            let length = usize::try_from(length).ok()?;
            bytes.get(8..length.clamp(12, 512).min(bytes.len()))?
        }
        b"moov" | b"mdat" | b"wide" => return Some(Kind::QuickTime),
        _ => return None,
    };
    let mut brands = brands.chunks_exact(4);
    let major = brands.next()?;
    let _version = brands.next();
    let kind = |brand: &[u8]| match brand {
        b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" => Some(Kind::Heic),
        b"avif" | b"avis" => Some(Kind::Avif),
        b"qt  " => Some(Kind::QuickTime),
        b"M4A " | b"M4B " => Some(Kind::M4a),
        b"mp41" | b"mp42" | b"isom" | b"iso2" | b"iso4" | b"iso5" | b"iso6" | b"avc1" | b"dash"
        | b"M4V " | b"3gp4" | b"3gp5" | b"3gp6" | b"mmp4" | b"MSNV" => Some(Kind::Mp4),
        _ => None,
    };
    kind(major).or_else(|| brands.find_map(kind))
}
