//! Ogg with Opus, Vorbis, FLAC, Speex or Theora: the packet of comments of each stream becomes an empty one. Streams of
//! another kind are not known, and nothing passes with them.

use std::{borrow::Cow, collections::HashMap, io::Cursor};

use ogg::{PacketReader, PacketWriteEndInfo, PacketWriter};

/// What a stream holds, and how many of its packets were read.
struct Stream {
    codec: Codec,
    packets: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Codec {
    Opus,
    Vorbis,
    Flac,
    Speex,
    Theora,
}

/// The file without comments.
pub(super) fn strip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut reader = PacketReader::new(Cursor::new(bytes));
    let mut writer = PacketWriter::new(Vec::with_capacity(bytes.len()));
    let mut streams: HashMap<u32, Stream> = HashMap::new();
    let mut any = false;
    while let Some(packet) = reader.read_packet().ok()? {
        any = true;
        let serial = packet.stream_serial();
        if packet.first_in_stream() {
            let codec = codec(&packet.data)?;
            streams.insert(serial, Stream { codec, packets: 0 });
        }
        let stream = streams.get_mut(&serial)?;
        let number = stream.packets;
        stream.packets += 1;
        let end = if packet.last_in_stream() {
            PacketWriteEndInfo::EndStream
        } else if packet.last_in_page() || number < 2 {
            PacketWriteEndInfo::EndPage
        } else {
            PacketWriteEndInfo::NormalPacket
        };
        let position = packet.absgp_page();
        let data = match header(stream.codec, number, &packet.data) {
            Header::Keep => Cow::Owned(packet.data),
            Header::Write(data) => Cow::Owned(data),
            Header::Drop => continue,
            Header::Bad => return None,
        };
        writer.write_packet(data, serial, end, position).ok()?;
    }
    any.then(|| writer.into_inner())
}

/// What becomes of a packet.
enum Header {
    Keep,
    Write(Vec<u8>),
    Drop,
    Bad,
}

fn codec(first: &[u8]) -> Option<Codec> {
    let magics: [(&[u8], Codec); 5] = [
        (b"OpusHead", Codec::Opus),
        (b"\x01vorbis", Codec::Vorbis),
        (b"\x7fFLAC", Codec::Flac),
        (b"Speex   ", Codec::Speex),
        (b"\x80theora", Codec::Theora),
    ];
    magics
        .iter()
        .find(|(magic, _)| first.starts_with(magic))
        .map(|(_, codec)| *codec)
}

/// No vendor, no comments.
const EMPTY: [u8; 8] = [0; 8];

fn header(codec: Codec, number: u64, data: &[u8]) -> Header {
    let rewritten = |magic: &[u8], end: &[u8]| {
        if data.starts_with(magic) {
            Header::Write([magic, &EMPTY, end].concat())
        } else {
            Header::Bad
        }
    };
    match (codec, number) {
        (Codec::Opus, 1) => rewritten(b"OpusTags", b""),
        (Codec::Vorbis, 1) => rewritten(b"\x03vorbis", b"\x01"),
        (Codec::Theora, 1) => rewritten(b"\x81theora", b""),
        (Codec::Speex, 1) => Header::Write(EMPTY.to_vec()),
        // How many blocks follow: the comments alone, which must be there.
        (Codec::Flac, 0) => match data.get(7..9) {
            Some(_) => Header::Write([&data[..7], &[0, 1], &data[9..]].concat()),
            None => Header::Bad,
        },
        (Codec::Flac, 1) => Header::Write([&[0x84, 0, 0, 8][..], &EMPTY].concat()),
        // Frames begin with 0xff; what does not is another block of metadata.
        (Codec::Flac, _) if data.first() != Some(&0xff) => Header::Drop,
        _ => Header::Keep,
    }
}
