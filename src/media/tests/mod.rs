//! Files made here, with words planted in every place for metadata, and searched for them afterwards.

mod hostile;
mod properties;
mod samples;

use std::io::Cursor;

use assert_matches::assert_matches;

use super::{Class, Kind, StripError, Why, noise::Noise, read::contains, strip};
use crate::rng::Rng;
use samples::SECRET;

/// Cleans what is in memory.
fn clean(file: &[u8], claimed: Kind, rng: &Rng) -> Result<(Kind, Vec<u8>), StripError> {
    let mut out = Vec::new();
    let kind = strip(&mut Cursor::new(file), claimed, rng, &mut out)?;
    Ok((kind, out))
}

fn nothing() -> Kind {
    Kind::claimed(None, None)
}

fn stripped(file: &[u8]) -> Vec<u8> {
    assert!(contains(file, SECRET), "nothing was planted");
    let (kind, clean) = clean(file, nothing(), &Rng::seeded(7)).expect("it can be cleaned");
    assert!(!contains(&clean, SECRET), "{kind:?}");
    clean
}

#[test]
fn nothing_planted_is_left_anywhere() {
    for (kind, file) in samples::all() {
        assert_eq!(Kind::recognise(&file), Some(kind));
        let once = stripped(&file);
        assert_eq!(Kind::recognise(&once), Some(kind));
        if kind == Kind::Pdf {
            continue; // written anew each time, with other numbers
        }
        let (_, twice) = clean(&once, kind, &Rng::seeded(7)).expect("clean");
        assert_eq!(twice, once, "{kind:?}: what is clean stays as it is");
    }
}

#[test]
fn two_copies_differ_in_noise_alone() {
    let rng = Rng::seeded(3);
    for (kind, file) in samples::all() {
        let copies: Vec<_> = (0..2)
            .map(|_| clean(&file, kind, &rng).expect("clean").1)
            .collect();
        assert_ne!(copies[0], copies[1], "{kind:?}");
        if kind == Kind::Pdf {
            for copy in &copies {
                let document = lopdf::Document::load_mem(copy).expect("a PDF");
                assert_eq!(document.get_pages().len(), 1);
            }
            continue;
        }
        let alike = |copy: &[u8]| clean(copy, kind, &Rng::seeded(4)).expect("clean").1;
        assert_eq!(alike(&copies[0]), alike(&copies[1]), "{kind:?}");
    }
}

#[test]
fn what_a_camera_measured_stays_in_no_fragment() {
    let film = stripped(&samples::fragments(1, b"picture"));
    assert!(contains(&film, b"picture"));
    for (number, what) in [(2, "what it measured"), (3, "nobody knows what")] {
        let film = samples::fragments(number, SECRET);
        let cleaned = clean(&film, nothing(), &Rng::seeded(7));
        assert_matches!(cleaned, Err(StripError::Unstrippable { .. }), "{what}");
    }
}

#[test]
fn the_sound_of_an_ogg_file_stays() {
    let packets = |file: &[u8]| {
        let mut reader = ogg::PacketReader::new(Cursor::new(file));
        let mut packets = Vec::new();
        while let Some(packet) = reader.read_packet().expect("whole pages") {
            packets.push((packet.absgp_page(), packet.last_in_stream(), packet.data));
        }
        packets
    };
    let mut seen = 0;
    for (kind, file) in samples::all() {
        if kind == Kind::OggAudio {
            let (before, after) = (packets(&file), packets(&stripped(&file)));
            assert_eq!(before.len(), 4);
            assert_eq!(before[0], after[0]);
            assert_eq!(before[2..], after[2..]);
            assert_eq!(before[1].0, after[1].0);
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
}

#[test]
fn comments_over_many_pages_go() {
    // A comment of 200,000 bytes, between packets that share a page with its ends.
    let mut writer = ogg::PacketWriter::new(Vec::new());
    let tags = [b"\x03vorbis", &SECRET.repeat(10_000)[..]].concat();
    let (end, normal) = (
        ogg::PacketWriteEndInfo::EndPage,
        ogg::PacketWriteEndInfo::NormalPacket,
    );
    for (data, end, position) in [
        (b"\x01vorbis...".to_vec(), end, 0),
        (tags, normal, 0),
        (b"\x05vorbis".repeat(9000), end, 0),
        (b"sound".to_vec(), ogg::PacketWriteEndInfo::EndStream, 77),
    ] {
        writer.write_packet(data, 7, end, position).unwrap();
    }
    let clean = stripped(&writer.into_inner());
    let mut reader = ogg::PacketReader::new(Cursor::new(&clean));
    let mut lengths = Vec::new();
    while let Some(packet) = reader.read_packet().expect("whole pages") {
        lengths.push((packet.data.len(), packet.absgp_page()));
    }
    assert_eq!(lengths.len(), 4);
    assert!(lengths[1].0 < 150);
    assert_eq!(lengths[2..], [(63_000, 0), (5, 77)]);
}

#[test]
fn a_picture_keeps_what_it_shows_and_how_it_is_turned() {
    let clean = stripped(&samples::jpeg(6));
    let noise = Noise::new(&Rng::seeded(7));
    let comment = [b"\xff\xfe\0", &[noise.length() + 2][..], noise.text()].concat();
    assert_eq!(
        clean,
        [
            &b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"[..],
            b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
            &comment,
            b"\xff\xdb\0\x04qt\xff\xc0\0\x04fr\xff\xda\0\x04ss",
            b"scan\xff\0one\xff\xd0more\xff\xc4\0\x04ht\xff\xda\0\x04s2scan two\xff\xd9",
        ]
        .concat()
    );
    assert!(!contains(&stripped(&samples::jpeg(1)), b"Exif"));
    assert!(contains(&stripped(&samples::png()), b"eXIf"));
    assert!(
        contains(&stripped(&samples::webp()), b"Exif")
            || contains(&stripped(&samples::webp()), b"EXIF")
    );
}

#[test]
fn common_colours_stay_and_ones_own_go() {
    let with = |profile: &[u8]| {
        let segment = [b"ICC_PROFILE\0\x01\x01", profile].concat();
        let mut file = b"\xff\xd8".to_vec();
        samples::segment(&mut file, 0xe2, &segment);
        file.extend_from_slice(b"\xff\xda\0\x02x\xff\xd9");
        clean(&file, Kind::Jpeg, &Rng::seeded(1)).expect("clean").1
    };
    assert!(contains(&with(b"desc Display P3"), b"Display P3"));
    assert!(!contains(&with(b"desc Alice's screen"), b"Alice"));
    assert!(!contains(&with(b"desc sRGB vcgt measured"), b"sRGB"));
}

#[test]
fn what_is_not_known_is_said_to_be_so() {
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
        let refusal = clean(file, Kind::claimed(mime, name), &Rng::seeded(1));
        let (found, named) = assert_matches!(refusal,
            Err(StripError::Unstrippable { kind, why }) => (why, kind.file_name()));
        assert_eq!((found, named.as_str()), (why, expected));
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
