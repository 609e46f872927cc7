//! Files made to cost time or memory: each has an answer soon, and none is worth much.

use std::time::{Duration, Instant};

use super::{clean, nothing, samples};
use crate::{
    media::{StripError, Why},
    rng::Rng,
};

/// Debug builds on a busy machine are slow; what this is about would take hours.
const SOON: Duration = Duration::from_mins(1);

fn refused(file: &[u8]) {
    let began = Instant::now();
    let answer = clean(file, nothing(), &Rng::seeded(1));
    assert!(matches!(answer, Err(StripError::Unstrippable { .. })));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

fn part(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len() + 8).unwrap().to_be_bytes();
    [&length, kind, data].concat()
}

fn film(moov: &[u8]) -> Vec<u8> {
    [part(b"ftyp", b"isom\0\0\0\0"), part(b"moov", moov)].concat()
}

#[test]
fn boxes_in_boxes_and_boxes_in_a_row() {
    let deep = (0..10_000).fold(Vec::new(), |inner, _| part(b"mvex", &inner));
    refused(&film(&deep));
    refused(&film(&part(b"udta", b"").repeat(1_000_000)));
    refused(&film(&part(b"zzzz", b"").repeat(1_000_000)));
    // Longer than there is, and so long that a sum would overflow.
    for length in [u64::MAX, u64::MAX - 7, 1 << 63, 15, 0] {
        let large = [&[0, 0, 0, 1][..], b"moov", &length.to_be_bytes(), &[0; 64]].concat();
        refused(&[part(b"ftyp", b"isom\0\0\0\0"), large].concat());
    }
}

#[test]
fn samples_that_lie_on_one_another() {
    let table = |kind: &[u8], numbers: &[u32]| {
        let numbers: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        part(kind, &[&[0; 4][..], &numbers].concat())
    };
    let film_of = |count: u32, size: u32, place: &dyn Fn(u32) -> u32| {
        let places: Vec<u32> = [count].into_iter().chain((0..count).map(place)).collect();
        let tables = [
            table(b"stsc", &[1, 1, 1, 1]),
            table(b"stsz", &[size, count]),
            table(b"stco", &places),
        ]
        .concat();
        let hdlr = part(b"hdlr", &[&[0; 8][..], b"meta", &[0; 12]].concat());
        let media = [hdlr, part(b"minf", &part(b"stbl", &tables))].concat();
        let moov = part(b"trak", &part(b"mdia", &media));
        // Longer than its tables: the data is where they say.
        [
            part(b"ftyp", b"isom\0\0\0\0"),
            part(b"mdat", &vec![1; 4 << 20]),
            part(b"moov", &moov),
        ]
        .concat()
    };
    // All the same: one range.
    let one = film_of(100_000, 4 << 20, &|_| 24);
    let began = Instant::now();
    assert!(clean(&one, nothing(), &Rng::seeded(1)).is_ok());
    assert!(began.elapsed() < SOON);
    // Each another one: more than any film has.
    refused(&film_of(500_000, 1, &|nth| 24 + 2 * nth));
    // In the header itself.
    refused(&film_of(100, 1, &|_| (4 << 20) + 100));
    // Sizes that are not there.
    refused(&film_of(100, 0, &|_| 24));
}

#[test]
fn items_without_end() {
    let meta = |inner: &[u8]| {
        let head = part(b"ftyp", b"heic\0\0\0\0mif1heic");
        [head, part(b"meta", &[&[0; 4][..], inner].concat())].concat()
    };
    let entry = |item: u8| {
        part(
            b"infe",
            &[2, 0, 0, 0, 0, item, 0, 0, b'E', b'x', b'i', b'f'],
        )
    };
    let info = part(b"iinf", &[&[0; 6][..], &entry(1)].concat());
    // A million extents of nothing, and as many of the same.
    let extents = |width: u8, extent: &[u8]| {
        let mut places = vec![0, 0, 0, 0, width, 0, 0, 16];
        for _ in 0..16 {
            places.extend([0, 1, 0, 0, 0xff, 0xff]);
            places.extend(extent.repeat(0xffff));
        }
        meta(&[info.clone(), part(b"iloc", &places)].concat())
    };
    refused(&extents(0x00, b""));
    refused(&extents(0x44, b"\0\0\0\x08\0\0\0\x10"));
    refused(&meta(
        &[part(b"iinf", &entry(1).repeat(200_000)), info].concat(),
    ));
}

#[test]
fn chunks_without_end() {
    let riff = |kind: &[u8], body: &[u8]| {
        let length = u32::try_from(body.len() + 4).unwrap().to_le_bytes();
        [b"RIFF", &length[..], kind, body].concat()
    };
    // Lists in lists: none is looked into.
    let mut deep = Vec::new();
    for _ in 0..20_000 {
        let length = u32::try_from(deep.len() % 1000).unwrap().to_le_bytes();
        deep = [b"LIST", &length[..], &deep[..deep.len() % 1000]].concat();
    }
    let began = Instant::now();
    let _ = clean(&riff(b"WAVE", &deep), nothing(), &Rng::seeded(1));
    let many = b"junk\0\0\0\0".repeat(1_000_000);
    assert!(clean(&riff(b"WAVE", &many), nothing(), &Rng::seeded(1)).is_ok());
    assert!(clean(&riff(b"WEBP", &many), nothing(), &Rng::seeded(1)).is_ok());
    assert!(began.elapsed() < SOON);
    refused(&riff(b"WAVE", b"data\xff\xff\xff\xff"));
    refused(&riff(b"WEBP", b"ANMF\x04\0\0\0four"));
}

#[test]
fn a_profile_that_unpacks_without_end() {
    let packed = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; 32 << 20], 9);
    assert!(packed.len() < 64 * 1024);
    let profile = [b"sRGB\0\0", &packed[..]].concat();
    let mut png = samples::png();
    let chunk = crate::media::png::chunk(*b"iCCP", &profile);
    png.splice(33..33, chunk);
    let (_, clean) = clean(&png, nothing(), &Rng::seeded(1)).expect("a picture");
    assert!(clean.len() < 1000);
}

#[test]
fn streams_without_end() {
    // Each page begins another one.
    let mut file = Vec::new();
    for serial in 0..1000 {
        let mut writer = ogg::PacketWriter::new(Vec::new());
        let end = ogg::PacketWriteEndInfo::EndPage;
        writer
            .write_packet(&b"OpusHead"[..], serial, end, 0)
            .unwrap();
        file.extend(writer.into_inner());
    }
    refused(&file);
    // One packet, from the first page on.
    let mut writer = ogg::PacketWriter::new(Vec::new());
    let head = [&b"OpusHead"[..], &vec![0; 1 << 20]].concat();
    let end = ogg::PacketWriteEndInfo::EndStream;
    writer.write_packet(head, 1, end, 0).unwrap();
    refused(&writer.into_inner());
}

#[test]
fn gaps_and_tags_without_end() {
    refused(&[&[0xff, 0xfb, 0x10, 0][..], &[1; 100], &vec![0; 100_000]].concat());
    // Tags at the end, a million.
    refused(&[b"ID3", &b"000000LYRICS200".repeat(200_000)[..]].concat());
    refused(&[b"\xff\xd8", &vec![0xff; 4_000_000][..]].concat());
    refused(
        &[
            b"GIF89a\0\0\0\0\0\0\0",
            &b"\x21\xfe\x01x\0".repeat(500_000)[..],
        ]
        .concat(),
    );
}

/// A PDF of some objects after a catalog and its pages.
fn paper(objects: &[u8]) -> Vec<u8> {
    let head = b"%PDF-1.5\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type/Pages/Kids[]/Count 0>>\nendobj\n";
    let end = b"\ntrailer\n<</Root 1 0 R/Size 9>>\nstartxref\n0\n%%EOF\n";
    [&head[..], objects, end].concat()
}

#[test]
fn papers_that_name_one_object_a_million_times() {
    assert!(clean(&paper(b""), nothing(), &Rng::seeded(1)).is_ok());
    // A table in which all objects are the same, of 4 MB.
    let mut file = b"%PDF-1.5\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type/Pages/Kids[]/Count 0>>\nendobj\n".to_vec();
    let at = file.len();
    file.extend(b"3 0 obj\n(");
    file.extend(vec![b'x'; 4 << 20]);
    file.extend(b")\nendobj\n");
    let table = file.len();
    file.extend(b"xref\n0 100000\n0000000000 65535 f \n");
    for _ in 1..100_000 {
        file.extend(format!("{at:010} 00000 n \n").bytes());
    }
    file.extend(
        format!("trailer\n<</Root 1 0 R/Size 100000>>\nstartxref\n{table}\n%%EOF\n").bytes(),
    );
    let began = Instant::now();
    let _ = clean(&file, nothing(), &Rng::seeded(1));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn papers_of_streams_that_lie_on_one_another() {
    // Each goes on to the common end.
    let mut file = Vec::new();
    let (count, filling) = (2000, 8 << 20);
    let each = "0000 0 obj\n<</Length 00000000>>\nstream \n".len();
    for nth in 0..count {
        let length = filling + (count - nth - 1) * each;
        file.extend(format!("{:04} 0 obj\n<</Length {length:08}>>\nstream \n", nth + 3).bytes());
    }
    file.extend(vec![b'x'; filling]);
    file.extend(b"endstream\nendobj\n");
    refused(&paper(&file));
}

#[test]
fn papers_of_objects_that_lie_on_one_another() {
    let stream = |index: &str, objects: &[u8]| {
        let content = [index.as_bytes(), objects].concat();
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(&content, 6);
        let head = format!(
            "3 0 obj\n<</Type/ObjStm/N 1/First {}/Filter/FlateDecode/Length {}>>\nstream\n",
            index.len(),
            packed.len()
        );
        paper(&[head.as_bytes(), &packed, b"\nendstream\nendobj\n"].concat())
    };
    assert!(clean(&stream("4 0 ", b"[1 2]"), nothing(), &Rng::seeded(1)).is_ok());
    let many = |at: &dyn Fn(usize) -> usize| -> String {
        let pairs = (0..100_000).map(|nth| format!("{} {}", nth + 4, at(nth)));
        pairs.collect::<Vec<_>>().join(" ") + " "
    };
    let long = [&b"["[..], &b"0 ".repeat(400_000), b"]"].concat();
    refused(&stream(&many(&|_| 0), &long));
    refused(&stream(&many(&|nth| nth), &b"[".repeat(100_000)));
    refused(&stream(&many(&|nth| nth), &b" ".repeat(200_000)));
    refused(&stream(&many(&|nth| nth), &b"1".repeat(200_000)));
    // More than one may hold, and more of them than there may be.
    refused(&stream("4 0 ", &b"0 ".repeat(2 << 20)));
    refused(&paper(&b"[0 0 0 0 0 0 0 0]".repeat(300_000)));
}

#[test]
fn papers_that_are_too_large() {
    let large = paper(&vec![b' '; 17 << 20]);
    let answer = clean(&large, nothing(), &Rng::seeded(1));
    assert!(matches!(
        answer,
        Err(StripError::Unstrippable {
            why: Why::TooLarge,
            ..
        })
    ));
}
