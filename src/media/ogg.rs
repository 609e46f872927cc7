//! Ogg with Opus, Vorbis, FLAC, Speex or Theora, page by page (RFC 3533): the packet of comments of each stream becomes
//! an empty one. Streams of another kind are not known, and nothing passes with them.

use std::{borrow::Cow, collections::HashMap};

use super::{
    crc,
    noise::Noise,
    read::{File, Needed as _, Out, Result, malformed},
};

/// So many streams may run beside one another.
const MOST_STREAMS: usize = 64;

/// So much may lie between two pages, or after the last.
const LONGEST_GAP: u64 = 64 * 1024;

const CONTINUED: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// The granule position of a page on which no packet ends.
const NONE: [u8; 8] = [0xff; 8];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Codec {
    Opus,
    Vorbis,
    Flac,
    Speex,
    Theora,
}

/// What a stream holds, and how far it was read.
struct Stream {
    codec: Codec,
    /// Packets that ended.
    packets: u64,
    /// Pages that were written.
    pages: u32,
    /// Whether a packet goes on, on the next page.
    open: bool,
    /// Whether it stays.
    stays: bool,
}

/// A page as it is read.
struct Page {
    flags: u8,
    granule: [u8; 8],
    serial: [u8; 4],
    lacing: Vec<u8>,
    body: Vec<u8>,
    end: u64,
}

/// The file without comments.
pub(super) fn strip(file: &mut File<'_>, noise: &Noise, out: &mut Out<'_>) -> Result<()> {
    let mut streams: HashMap<[u8; 4], Stream> = HashMap::new();
    let (mut at, mut commented) = (0, false);
    while let Some(begin) = next_page(file, at)? {
        let page = read(file, begin)?;
        at = page.end;
        if page.flags & FIRST != 0 {
            let stream = Stream {
                codec: codec(&page.body).needed()?,
                packets: 0,
                pages: 0,
                open: false,
                stays: false,
            };
            streams.insert(page.serial, stream);
            if streams.len() > MOST_STREAMS {
                return malformed();
            }
        }
        let stream = streams.get_mut(&page.serial).needed()?;
        commented |= stream.page(&page, noise, out)?;
        if page.flags & LAST != 0 {
            streams.remove(&page.serial);
        }
    }
    // What follows the last page goes.
    if !commented || file.length() - at > LONGEST_GAP {
        return malformed();
    }
    Ok(())
}

/// Where the next page begins, not before `at`.
fn next_page(file: &mut File<'_>, at: u64) -> Result<Option<u64>> {
    for begin in at..at.saturating_add(LONGEST_GAP) {
        if file.after(begin, 27).is_err() {
            return Ok(None);
        }
        if file.byte(begin)? == b'O' && &file.array(begin)? == b"OggS" {
            return Ok(Some(begin));
        }
    }
    Ok(None)
}

fn read(file: &mut File<'_>, at: u64) -> Result<Page> {
    let mut head = file.array::<27>(at)?;
    let lacing = file.piece(at + 27, usize::from(head[26]))?;
    let length = lacing.iter().map(|length| usize::from(*length)).sum();
    let from = at + 27 + lacing.len() as u64;
    let body = file.piece(from, length)?;
    let sum = [head[22], head[23], head[24], head[25]];
    head[22..26].fill(0);
    let found = checksum(&head, &lacing, &body);
    // A fuzzer would not get past it.
    if head[4] != 0 || found != sum && !cfg!(fuzzing) {
        return malformed();
    }
    Ok(Page {
        flags: head[5],
        granule: head[6..14].try_into().ok().needed()?,
        serial: head[14..18].try_into().ok().needed()?,
        end: from + body.len() as u64,
        lacing,
        body,
    })
}

fn checksum(head: &[u8], lacing: &[u8], body: &[u8]) -> [u8; 4] {
    let sum = [head, lacing, body].into_iter().fold(0, crc::ogg);
    sum.to_le_bytes()
}

impl Stream {
    /// Writes what stays of a page. `true`: it has the comments, which are noise now.
    fn page(&mut self, page: &Page, noise: &Noise, out: &mut Out<'_>) -> Result<bool> {
        if self.open != (page.flags & CONTINUED != 0) {
            return malformed();
        }
        let (mut lacing, mut body) = (Vec::new(), Vec::new());
        let (mut ends, mut commented) = (false, false);
        let mut flags = page.flags & (FIRST | LAST);
        let mut rest = &page.body[..];
        // A packet, or what of it is on this page.
        for segments in page.lacing.split_inclusive(|length| *length < 255) {
            let length = segments.iter().map(|length| usize::from(*length)).sum();
            let (data, after) = rest.split_at_checked(length).needed()?;
            rest = after;
            let mut kept = Cow::Borrowed(data);
            if self.open {
                flags |= if self.stays { CONTINUED } else { 0 };
            } else {
                self.stays = true;
                match header(self.codec, self.packets, data, noise)? {
                    Header::Keep => {}
                    Header::Change(changed) => kept = Cow::Owned(changed),
                    Header::Drop => self.stays = false,
                    Header::Write(own) => {
                        self.stays = false;
                        commented = true;
                        lacing.push(u8::try_from(own.len()).ok().needed()?);
                        body.extend_from_slice(&own);
                        ends = true;
                    }
                }
            }
            self.open = segments.last() == Some(&255);
            if self.open && self.packets == 0 {
                return malformed();
            }
            self.packets += u64::from(!self.open);
            if self.stays {
                lacing.extend_from_slice(segments);
                body.extend_from_slice(&kept);
                ends |= !self.open;
            }
        }
        if lacing.is_empty() && flags == 0 {
            return Ok(false);
        }
        let granule = match page.granule {
            _ if !ends => NONE,
            // The comments end earlier than they did.
            NONE => [0; 8],
            granule => granule,
        };
        let mut head = [0; 27];
        head[..4].copy_from_slice(b"OggS");
        head[5] = flags;
        head[6..14].copy_from_slice(&granule);
        head[14..18].copy_from_slice(&page.serial);
        head[18..22].copy_from_slice(&self.pages.to_le_bytes());
        head[26] = u8::try_from(lacing.len()).ok().needed()?;
        let sum = checksum(&head, &lacing, &body);
        head[22..26].copy_from_slice(&sum);
        self.pages = self.pages.wrapping_add(1);
        out.bytes(&head)?;
        out.bytes(&lacing)?;
        out.bytes(&body)?;
        Ok(commented)
    }
}

/// What becomes of a packet.
enum Header {
    Keep,
    /// As it is, but for some bytes.
    Change(Vec<u8>),
    /// Another one instead.
    Write(Vec<u8>),
    Drop,
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

/// No comments, by a program with a random name.
pub(super) fn comments(noise: &Noise) -> Vec<u8> {
    [&[noise.length(), 0, 0, 0], noise.text(), &[0; 4]].concat()
}

/// What becomes of a packet that begins with `data`.
fn header(codec: Codec, number: u64, data: &[u8], noise: &Noise) -> Result<Header> {
    let rewritten = |magic: &[u8], end: &[u8]| {
        if data.starts_with(magic) {
            Ok(Header::Write([magic, &comments(noise), end].concat()))
        } else {
            malformed()
        }
    };
    match (codec, number) {
        (Codec::Opus, 1) => rewritten(b"OpusTags", b""),
        (Codec::Vorbis, 1) => rewritten(b"\x03vorbis", b"\x01"),
        (Codec::Theora, 1) => rewritten(b"\x81theora", b""),
        (Codec::Speex, 1) => Ok(Header::Write(comments(noise))),
        // How many blocks follow: the comments alone, which must be there.
        (Codec::Flac, 0) => {
            let mut data = data.to_vec();
            data.get_mut(7..9).needed()?.copy_from_slice(&[0, 1]);
            Ok(Header::Change(data))
        }
        (Codec::Flac, 1) => {
            let head = [0x84, 0, 0, noise.length() + 8];
            Ok(Header::Write([&head[..], &comments(noise)].concat()))
        }
        // Frames begin with 0xff; what does not is another block of metadata.
        (Codec::Flac, _) if data.first() != Some(&0xff) => Ok(Header::Drop),
        _ => Ok(Header::Keep),
    }
}
