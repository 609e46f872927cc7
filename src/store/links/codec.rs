//! Links as bytes: short, because there are many. Event ids that are hashes take 33 bytes, and a sender is written once.

use std::ops::Range;

use data_encoding::BASE64URL_NOPAD;
use ruma::{EventId, OwnedEventId, UserId};

use crate::store::{Direction, Link};

/// Bits of a link's first byte.
const OUTBOUND: u8 = 1;
const HAS_TARGET: u8 = 2;
/// The byte before an event id that is no hash, and before one that is.
const TEXT: u8 = 0;
const HASH: u8 = 1;
/// The byte before a sender that was not there before; any other counts those that were.
const NEW: u8 = 0;
const MOST_SENDERS: usize = u8::MAX as usize;

/// Some links, being written.
#[derive(Debug, Default)]
pub(super) struct Packer {
    bytes: Vec<u8>,
    senders: Vec<Range<usize>>,
    count: usize,
}

impl Packer {
    /// Appends a link, unless there are others and the bytes would become more than `most`.
    pub(super) fn push(&mut self, link: &Link, most: usize) -> bool {
        let (length, senders) = (self.bytes.len(), self.senders.len());
        self.append(link);
        if self.bytes.len() > most && self.count > 0 {
            self.bytes.truncate(length);
            self.senders.truncate(senders);
            return false;
        }
        self.count += 1;
        true
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn append(&mut self, link: &Link) {
        let outbound = if link.direction == Direction::Outbound {
            OUTBOUND
        } else {
            0
        };
        let target = if link.target.is_some() { HAS_TARGET } else { 0 };
        self.bytes.push(outbound | target);
        self.event(&link.source);
        if let Some(target) = &link.target {
            self.event(target);
        }
        let sender = link.sender.as_bytes();
        let known = |range: &Range<usize>| &self.bytes[range.clone()] == sender;
        if let Some(at) = self.senders.iter().position(known) {
            // At most `MOST_SENDERS`.
            self.bytes.push(u8::try_from(at + 1).unwrap_or(u8::MAX));
            return;
        }
        self.bytes.push(NEW);
        self.text(sender);
        if self.senders.len() < MOST_SENDERS {
            let end = self.bytes.len();
            self.senders.push(end - sender.len()..end);
        }
    }

    fn event(&mut self, id: &EventId) {
        if let Some(hash) = hash_of(id) {
            self.bytes.push(HASH);
            self.bytes.extend_from_slice(&hash);
        } else {
            self.bytes.push(TEXT);
            self.text(id.as_bytes());
        }
    }

    /// Ids have at most 255 bytes; a longer one would be cut, and not be found.
    fn text(&mut self, text: &[u8]) {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(&text[..usize::from(length)]);
    }
}

/// What stands behind the sigil of an id of a room of version 4 or later.
fn hash_of(id: &EventId) -> Option<[u8; 32]> {
    let text = id.as_bytes().strip_prefix(b"$")?;
    if text.len() != 43 {
        return None;
    }
    // Only the one text that encodes these bytes is decoded.
    BASE64URL_NOPAD.decode(text).ok()?.try_into().ok()
}

/// Reads `count` links; `None`: they are not such bytes.
pub(super) fn unpack(bytes: &[u8], count: usize) -> Option<Vec<Link>> {
    let mut cursor = Cursor(bytes);
    let mut senders: Vec<&str> = Vec::new();
    let mut links = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        let flags = cursor.byte()?;
        let source = cursor.event()?;
        let target = if flags & HAS_TARGET == 0 {
            None
        } else {
            Some(cursor.event()?)
        };
        let sender = match cursor.byte()? {
            NEW => {
                let sender = cursor.text()?;
                senders.push(sender);
                sender
            }
            at => *senders.get(usize::from(at) - 1)?,
        };
        links.push(Link {
            source,
            target,
            direction: if flags & OUTBOUND == 0 {
                Direction::Inbound
            } else {
                Direction::Outbound
            },
            sender: UserId::parse(sender).ok()?,
        });
    }
    Some(links)
}

/// Bytes that are being read.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.short()?;
        std::str::from_utf8(self.take(usize::from(length))?).ok()
    }

    fn event(&mut self) -> Option<OwnedEventId> {
        match self.byte()? {
            TEXT => EventId::parse(self.text()?).ok(),
            HASH => {
                let hash = BASE64URL_NOPAD.encode(self.take(32)?);
                EventId::parse(format!("${hash}")).ok()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(source: &str, target: Option<&str>, sender: &str) -> Link {
        Link {
            source: source.try_into().unwrap(),
            target: target.map(|id| id.try_into().unwrap()),
            direction: if target.is_some() {
                Direction::Outbound
            } else {
                Direction::Inbound
            },
            sender: sender.try_into().unwrap(),
        }
    }

    #[test]
    fn links_come_back() {
        let hash = "$zT9s0kB_-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaA";
        // Trailing bits: looks like a hash, and is none.
        let odd = "$zT9s0kB_-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaB";
        let old = "$15000:old.example";
        let mut links = vec![
            link(hash, Some(odd), "@a:a.example"),
            link(old, None, "@b:b.example"),
            link(odd, Some(hash), "@a:a.example"),
            link(&format!("${}", "x".repeat(254)), Some(old), "@a:a.example"),
        ];
        links.extend((0..600).map(|n| link(hash, None, &format!("@s{}:s.example", n % 300))));
        let mut packer = Packer::default();
        assert!(links.iter().all(|link| packer.push(link, usize::MAX)));
        assert_eq!(packer.count(), links.len());
        assert_eq!(unpack(packer.bytes(), links.len()), Some(links.clone()));
        for cut in [0, 1, 40, packer.bytes().len() - 1] {
            assert_eq!(unpack(&packer.bytes()[..cut], links.len()), None);
        }
    }

    #[test]
    fn what_does_not_fit_leaves_no_trace() {
        let long = link("$a", None, &format!("@{}:a.example", "x".repeat(200)));
        let short = link("$b", None, "@b:b.example");
        let mut packer = Packer::default();
        assert!(packer.push(&long, 10), "the first always fits");
        assert!(!packer.push(&short, 10));
        assert!(packer.push(&short, 1000));
        assert!(packer.push(&long, packer.bytes().len() + 10));
        assert_eq!(
            unpack(packer.bytes(), 3),
            Some(vec![long.clone(), short, long])
        );
    }
}
