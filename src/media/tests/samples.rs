//! Small files of each kind, as their specifications have them, with planted metadata.

use lopdf::{Dictionary, Document, Object, Stream, dictionary};
use ogg::{PacketWriteEndInfo, PacketWriter};

use crate::media::{Kind, png::chunk};

/// What is planted.
pub const SECRET: &[u8] = b"ALICE-SECRET-52.5200N";

pub fn all() -> Vec<(Kind, Vec<u8>)> {
    vec![
        (Kind::Jpeg, jpeg(6)),
        (Kind::Png, png()),
        (Kind::Webp, webp()),
        (Kind::Wav, wav()),
        (Kind::Gif, gif()),
        (Kind::Mp3, mp3()),
        (Kind::Flac, flac()),
        (Kind::OggAudio, ogg(b"OpusHead\x01\x01", b"OpusTags")),
        (Kind::OggAudio, ogg(b"\x01vorbis....", b"\x03vorbis")),
        (Kind::Mp4, film(b"isom")),
        (Kind::QuickTime, film(b"qt  ")),
        (Kind::M4a, film(b"M4A ")),
        (Kind::Heic, heic()),
        (Kind::Pdf, pdf()),
    ]
}

pub fn segment(out: &mut Vec<u8>, marker: u8, data: &[u8]) {
    out.extend([0xff, marker]);
    out.extend(u16::try_from(data.len() + 2).unwrap().to_be_bytes());
    out.extend(data);
}

/// EXIF with a place and an orientation, little-endian.
fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
    tiff.extend([0x0f, 0x01, 2, 0, 21, 0, 0, 0, 38, 0, 0, 0]);
    tiff.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    tiff.extend([0; 4]);
    tiff.extend(SECRET);
    tiff
}

pub fn jpeg(orientation: u8) -> Vec<u8> {
    let mut out = b"\xff\xd8".to_vec();
    segment(&mut out, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    segment(
        &mut out,
        0xe1,
        &[b"Exif\0\0", &exif(orientation)[..]].concat(),
    );
    segment(
        &mut out,
        0xe1,
        &[b"http://ns.adobe.com/xap/1.0/\0", SECRET].concat(),
    );
    segment(&mut out, 0xed, &[b"Photoshop 3.0\0", SECRET].concat());
    segment(&mut out, 0xfe, SECRET);
    segment(&mut out, 0xdb, b"qt");
    segment(&mut out, 0xc0, b"fr");
    segment(&mut out, 0xda, b"ss");
    out.extend(b"scan\xff\0one\xff\xd0more");
    segment(&mut out, 0xc4, b"ht");
    // Between two scans.
    segment(&mut out, 0xfe, SECRET);
    segment(&mut out, 0xda, b"s2");
    out.extend(b"scan two\xff\xd9");
    out.extend(SECRET);
    out
}

pub fn png() -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [
        (b"IHDR", b"\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0".to_vec()),
        (b"tEXt", [b"Author\0", SECRET].concat()),
        (b"iTXt", [b"XML:com.adobe.xmp\0\0\0\0\0", SECRET].concat()),
        (b"eXIf", exif(6)),
        (b"tIME", SECRET[..7].to_vec()),
        (b"prVt", SECRET.to_vec()),
        (b"IDAT", b"data".to_vec()),
        (b"IEND", Vec::new()),
    ] {
        out.extend(chunk(*kind, &data));
    }
    out.extend(SECRET);
    out
}

fn riff(kind: &[u8], chunks: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let mut body = kind.to_vec();
    for (id, data) in chunks {
        body.extend(*id);
        body.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        body.extend(data);
        body.extend(vec![0; data.len() % 2]);
    }
    let mut out = b"RIFF".to_vec();
    out.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    out.extend(body);
    out
}

pub fn webp() -> Vec<u8> {
    let frame = riff(
        b"",
        &[(b"VP8 ", b"frame".to_vec()), (b"XYZ ", SECRET.to_vec())],
    );
    riff(
        b"WEBP",
        &[
            (b"VP8X", vec![0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (b"VP8 ", b"odd".to_vec()),
            (b"ANMF", [&[0; 16][..], &frame[8..]].concat()),
            (b"EXIF", exif(8)),
            (b"XMP ", SECRET.to_vec()),
            (b"mine", SECRET.to_vec()),
        ],
    )
}

fn wav() -> Vec<u8> {
    let list = [&b"INFOIART\x15\0\0\0"[..], SECRET, b"\0"].concat();
    riff(
        b"WAVE",
        &[
            (b"fmt ", vec![0; 16]),
            (b"LIST", list),
            (b"id3 ", SECRET.to_vec()),
            (b"data", b"sound".to_vec()),
        ],
    )
}

fn gif() -> Vec<u8> {
    let mut out = b"GIF89a\x01\0\x01\0\x80\0\0aaabbb".to_vec();
    out.extend(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0");
    for label in [b"\x21\xfe".to_vec(), b"\x21\xff\x0bXMP DataXMP".to_vec()] {
        out.extend(label);
        out.push(u8::try_from(SECRET.len()).unwrap());
        out.extend(SECRET);
        out.push(0);
    }
    out.extend(b"\x21\xf9\x04\0\0\0\0\0");
    out.extend(b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02xx\0\x3b");
    out.extend(SECRET);
    out
}

fn mp3() -> Vec<u8> {
    // MPEG 1 layer III, 32 kbit/s, 44.1 kHz: 104 bytes.
    let frame = [&[0xff, 0xfb, 0x10, 0][..], &[1; 100]].concat();
    let mut id3 = b"ID3\x04\0\0\0\0\0\x15".to_vec();
    id3.extend(SECRET);
    let mut v1 = b"TAG".to_vec();
    v1.extend(SECRET);
    v1.resize(128, 0);
    let mut ape = SECRET.to_vec();
    ape.extend(b"APETAGEX\xd0\x07\0\0");
    ape.extend(u32::try_from(SECRET.len() + 32).unwrap().to_le_bytes());
    ape.extend([0; 16]);
    [&id3[..], &frame, &id3, &frame, SECRET, &frame, &ape, &v1].concat()
}

fn flac() -> Vec<u8> {
    let block = |kind: u8, data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [&[kind][..], &length[1..], data].concat()
    };
    let comments = comments();
    [
        b"fLaC".to_vec(),
        block(0, &[1; 34]),
        block(4, &comments),
        block(6, SECRET),
        block(2, SECRET),
        block(0x81, SECRET),
        b"\xff\xf8sound".to_vec(),
    ]
    .concat()
}

/// Vorbis comments.
fn comments() -> Vec<u8> {
    let length = u32::try_from(SECRET.len()).unwrap().to_le_bytes();
    [&length[..], SECRET, &1_u32.to_le_bytes(), &length, SECRET].concat()
}

fn ogg(head: &[u8], tags: &[u8]) -> Vec<u8> {
    let mut writer = PacketWriter::new(Vec::new());
    let tags = [tags, &comments()].concat();
    for (data, end, position) in [
        (head.to_vec(), PacketWriteEndInfo::EndPage, 0),
        (tags, PacketWriteEndInfo::EndPage, 0),
        (b"sound".to_vec(), PacketWriteEndInfo::NormalPacket, 960),
        (b"more".to_vec(), PacketWriteEndInfo::EndStream, 1920),
    ] {
        writer.write_packet(data, 7, end, position).unwrap();
    }
    writer.into_inner()
}

fn part(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len() + 8).unwrap().to_be_bytes();
    [&length, kind, data].concat()
}

fn table(kind: &[u8], head: usize, numbers: &[u32]) -> Vec<u8> {
    let mut data = vec![0; head];
    for number in numbers {
        data.extend(number.to_be_bytes());
    }
    part(kind, &data)
}

/// A track whose one sample lies at `at`.
fn track(handler: &[u8], at: u32) -> Vec<u8> {
    let length = u32::try_from(SECRET.len()).unwrap();
    let tables = [
        table(b"stsc", 4, &[1, 1, 1, 1]),
        table(b"stsz", 4, &[0, 1, length]),
        table(b"stco", 4, &[1, at]),
    ]
    .concat();
    let hdlr = [&[0; 8][..], handler, &[0; 12], SECRET, b"\0"].concat();
    let media = [
        table(b"mdhd", 4, &[7, 7, 1, 1, 0]),
        part(b"hdlr", &hdlr),
        part(b"minf", &part(b"stbl", &tables)),
    ]
    .concat();
    part(
        b"trak",
        &[part(b"mdia", &media), part(b"udta", SECRET)].concat(),
    )
}

fn film(brand: &[u8]) -> Vec<u8> {
    let head = part(b"ftyp", &[brand, b"\0\0\0\0"].concat());
    let start = u32::try_from(head.len() + 8).unwrap();
    let data = part(b"mdat", &[SECRET, b"picture"].concat());
    let moov = [
        table(b"mvhd", 4, &[7, 7, 1, 1, 0]),
        track(b"vide", start + u32::try_from(SECRET.len()).unwrap() - 14),
        track(b"meta", start),
        part(b"udta", &part(b"\xa9xyz", SECRET)),
        part(b"meta", SECRET),
        part(b"gps ", SECRET),
    ]
    .concat();
    [
        head,
        data,
        part(b"moov", &moov),
        part(b"uuid", SECRET),
        part(b"free", SECRET),
    ]
    .concat()
}

/// A film in a fragment, with one sample of track 1, the picture, or 2, what the camera measured.
pub fn fragments(number: u32, sample: &[u8]) -> Vec<u8> {
    let track = |number: u32, handler: &[u8]| {
        let tables = [
            table(b"stsc", 4, &[0]),
            table(b"stsz", 4, &[0, 0]),
            table(b"stco", 4, &[0]),
        ]
        .concat();
        let hdlr = [&[0; 8][..], handler, &[0; 12]].concat();
        let media = [part(b"hdlr", &hdlr), part(b"minf", &part(b"stbl", &tables))].concat();
        let head = table(b"tkhd", 4, &[7, 7, number]);
        part(b"trak", &[head, part(b"mdia", &media)].concat())
    };
    let moov = [
        table(b"mvhd", 4, &[7, 7, 1, 1, 0]),
        track(1, b"vide"),
        track(2, b"meta"),
        part(b"mvex", &table(b"trex", 4, &[number])),
    ]
    .concat();
    let length = u32::try_from(sample.len()).unwrap();
    let run = [
        table(b"tfhd", 4, &[number]),
        table(b"trun", 4, &[1, length]),
    ]
    .concat();
    [
        part(b"ftyp", b"isom\0\0\0\0"),
        part(b"moov", &moov),
        part(b"prft", SECRET),
        part(b"moof", &part(b"traf", &run)),
        part(b"mdat", sample),
    ]
    .concat()
}

fn heic() -> Vec<u8> {
    let head = part(b"ftyp", b"heic\0\0\0\0mif1heic");
    let entry = |item: u8, kind: &[u8], name: &[u8]| {
        part(
            b"infe",
            &[&[2, 0, 0, 0, 0, item, 0, 0], kind, name, b"\0"].concat(),
        )
    };
    let meta = |offset: u32| {
        let info = [
            vec![0, 0, 0, 0, 0, 2],
            entry(1, b"hvc1", SECRET),
            entry(2, b"Exif", b""),
        ]
        .concat();
        let mut places = vec![0, 0, 0, 0, 0x44, 0, 0, 2];
        for (item, at, length) in [(1_u16, offset + 21, 7_u32), (2, offset, 21)] {
            places.extend(item.to_be_bytes());
            places.extend([0, 0, 0, 1]);
            places.extend(at.to_be_bytes());
            places.extend(length.to_be_bytes());
        }
        let inner = [
            part(b"iinf", &info),
            part(b"iloc", &places),
            part(b"uuid", SECRET),
        ]
        .concat();
        part(b"meta", &[&[0; 4][..], &inner].concat())
    };
    let offset = head.len() + meta(0).len() + 8;
    [
        head,
        meta(u32::try_from(offset).unwrap()),
        part(b"mdat", &[SECRET, b"picture"].concat()),
        part(b"mpvd", SECRET),
    ]
    .concat()
}

pub fn pdf() -> Vec<u8> {
    let mut document = Document::with_version("1.5");
    let text = || Object::string_literal(SECRET.to_vec());
    let pages = document.new_object_id();
    let note = document.add_object(dictionary! {
        "Type" => "Annot", "Subtype" => "Text", "T" => text(),
        "Rect" => vec![0.into(), 0.into(), 1.into(), 1.into()],
    });
    let xmp = document.add_object(Stream::new(
        dictionary! {"Type" => "Metadata", "Subtype" => "XML"},
        SECRET.to_vec(),
    ));
    let picture = document.add_object(Stream::new(
        dictionary! {"Type" => "XObject", "Subtype" => "Image", "Filter" => "DCTDecode", "Metadata" => xmp},
        jpeg(1),
    ));
    let page = document.add_object(dictionary! {
        "Type" => "Page", "Parent" => pages, "Annots" => vec![note.into()],
        "Resources" => dictionary! {"XObject" => dictionary! {"I" => picture}},
    });
    let dict: Dictionary =
        dictionary! {"Type" => "Pages", "Kids" => vec![page.into()], "Count" => 1};
    document.objects.insert(pages, Object::Dictionary(dict));
    let certificate = document.add_object(Stream::new(dictionary! {}, SECRET.to_vec()));
    let signature = |kind: &str| {
        dictionary! {
            "Filter" => "Adobe.PPKLite", kind => "Sig", "Name" => text(), "Location" => text(),
            "Contents" => text(), "ByteRange" => vec![0.into(), 1.into(), 2.into(), 3.into()],
        }
    };
    let signed = document.add_object(signature("Type"));
    let fields: Vec<Object> = [signed.into(), signature("Untyped").into()]
        .into_iter()
        .map(|value: Object| {
            let field =
                dictionary! {"FT" => "Sig", "T" => Object::string_literal("Field"), "V" => value};
            document.add_object(field).into()
        })
        .collect();
    let catalog = document.add_object(dictionary! {
        "Type" => "Catalog", "Pages" => pages, "Metadata" => xmp,
        "AcroForm" => dictionary! {"Fields" => fields, "SigFlags" => 3},
        "Perms" => dictionary! {"DocMDP" => signed},
        "DSS" => dictionary! {"Certs" => vec![certificate.into()]},
    });
    let info = document.add_object(dictionary! {"Author" => text()});
    document.trailer.set("Root", catalog);
    document.trailer.set("Info", info);
    let mut out = Vec::new();
    document.save_to(&mut out).unwrap();
    out
}
