//! Files made here, with words planted in every place for metadata, and searched for them afterwards.

mod properties;
mod samples;

use bytes::Bytes;

use super::{Class, Kind, Why, read::contains, strip};
use samples::SECRET;

fn stripped(file: Vec<u8>) -> Vec<u8> {
    assert!(contains(&file, SECRET), "nothing was planted");
    let stripped = strip(Bytes::from(file), Kind::claimed(None, None))
        .unwrap_or_else(|refusal| panic!("{refusal} ({:?})", refusal.kind));
    assert!(!contains(&stripped.bytes, SECRET), "{:?}", stripped.kind);
    stripped.bytes.to_vec()
}

#[test]
fn nothing_planted_is_left_anywhere() {
    for (kind, file) in samples::all() {
        assert_eq!(Kind::recognise(&file), Some(kind));
        let once = stripped(file);
        assert_eq!(Kind::recognise(&once), Some(kind));
        if kind == Kind::Pdf {
            continue; // written anew each time, with other numbers
        }
        let twice = strip(once.clone().into(), kind).expect("clean");
        assert_eq!(twice.bytes, once, "{kind:?}: what is clean stays as it is");
    }
}

#[test]
fn a_picture_keeps_what_it_shows_and_how_it_is_turned() {
    let clean = stripped(samples::jpeg(6));
    assert_eq!(
        clean,
        [
            &b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"[..],
            b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
            b"\xff\xdb\0\x04qt\xff\xc0\0\x04fr\xff\xda\0\x04ss",
            b"scan\xff\0one\xff\xd0more\xff\xc4\0\x04ht\xff\xda\0\x04s2scan two\xff\xd9",
        ]
        .concat()
    );
    assert!(!contains(&stripped(samples::jpeg(1)), b"Exif"));
    assert!(contains(&stripped(samples::png()), b"eXIf"));
    assert!(
        contains(&stripped(samples::webp()), b"Exif")
            || contains(&stripped(samples::webp()), b"EXIF")
    );
}

#[test]
fn common_colours_stay_and_ones_own_go() {
    let with = |profile: &[u8]| {
        let segment = [b"ICC_PROFILE\0\x01\x01", profile].concat();
        let mut file = b"\xff\xd8".to_vec();
        samples::segment(&mut file, 0xe2, &segment);
        file.extend_from_slice(b"\xff\xda\0\x02x\xff\xd9");
        strip(file.into(), Kind::Jpeg).expect("clean").bytes
    };
    assert!(contains(&with(b"desc Display P3"), b"Display P3"));
    assert!(!contains(&with(b"desc Alice's screen"), b"Alice"));
    assert!(!contains(&with(b"desc sRGB vcgt measured"), b"sRGB"));
}

#[test]
fn what_is_not_known_comes_back_whole() {
    for (file, mime, name, why, expected) in [
        (
            &b"just text"[..],
            Some("text/plain; charset=utf-8"),
            None,
            Why::Unknown,
            "file.txt",
        ),
        (
            b"<svg onload=x>",
            Some("image/svg+xml"),
            Some("a.svg"),
            Why::Unknown,
            "file.bin",
        ),
        (
            b"x",
            None,
            Some("Alice's CV.DOCX"),
            Why::Unknown,
            "file.docx",
        ),
        (
            b"not a jpeg",
            Some("image/jpeg"),
            Some("me.jpg"),
            Why::Unknown,
            "file.bin",
        ),
        (
            b"\x1a\x45\xdf\xa3",
            Some("video/webm"),
            None,
            Why::Unknown,
            "video.webm",
        ),
        (
            b"\xff\xd8\xff\xe0broken",
            Some("image/png"),
            None,
            Why::Malformed,
            "image.jpg",
        ),
        (b"%PDF-1.7 no more", None, None, Why::Malformed, "file.pdf"),
        (b"", None, None, Why::Unknown, "file.bin"),
    ] {
        let refusal =
            strip(Bytes::from_static(file), Kind::claimed(mime, name)).expect_err("refused");
        assert_eq!(refusal.bytes, file);
        assert_eq!(
            (refusal.why, refusal.kind.file_name().as_str()),
            (why, expected)
        );
    }
}

#[test]
fn names_and_classes() {
    assert_eq!(Kind::Jpeg.file_name(), "image.jpg");
    assert_eq!(Kind::Mp4.file_name(), "video.mp4");
    assert_eq!(Kind::OggAudio.file_name(), "audio.ogg");
    assert_eq!(Kind::Pdf.mime(), "application/pdf");
    assert_eq!(Kind::claimed(Some("audio/ogg"), None).class(), Class::Audio);
}
