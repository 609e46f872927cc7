//! Segments: the links of one group commit, sealed in one row, in the order of commits.

use sqlx::AnyConnection;

use super::{
    Entry,
    codec::{Cursor, Packer, unpack},
    tail::Tail,
};
use crate::{
    crypto::Secret,
    store::{
        PortalId, StoreError,
        seal::{Cell, Vault},
    },
};

pub(in crate::store) const SEGMENTS: Cell = Cell::new("link_segments", 512);

const VERSION: u8 = 1;

/// Seals links into the segment `seq`. Neighbours of one portal are written together.
pub(super) fn seal(vault: &Vault, seq: i64, entries: &[Entry]) -> Vec<u8> {
    let mut plain = vec![VERSION];
    let alike =
        |a: &Entry, b: &Entry| (a.portal, a.day, a.replaces) == (b.portal, b.day, b.replaces);
    let groups = entries
        .chunk_by(alike)
        .flat_map(|group| group.chunks(usize::from(u16::MAX)));
    for group in groups {
        let [first, ..] = group else { continue };
        let mut packer = Packer::default();
        for entry in group {
            packer.push(&entry.link, usize::MAX);
        }
        // Never 0, which ends the groups.
        let count = u16::try_from(group.len()).unwrap_or(u16::MAX);
        let length = u32::try_from(packer.bytes().len()).unwrap_or(u32::MAX);
        plain.extend_from_slice(&count.to_be_bytes());
        plain.extend_from_slice(&first.portal.0);
        plain.extend_from_slice(&first.day.to_be_bytes());
        plain.push(u8::from(first.replaces));
        plain.extend_from_slice(&length.to_be_bytes());
        plain.extend_from_slice(packer.bytes());
    }
    vault.seal_padded(SEGMENTS, &seq.to_be_bytes(), plain)
}

fn open(vault: &Vault, seq: i64, sealed: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let plain = Secret::new(vault.open_bytes(SEGMENTS, &seq.to_be_bytes(), sealed)?);
    read(vault, plain.expose()).ok_or(StoreError::Links)
}

fn read(vault: &Vault, plain: &[u8]) -> Option<Vec<Entry>> {
    let mut cursor = Cursor(plain);
    if cursor.byte()? != VERSION {
        return None;
    }
    let mut entries = Vec::new();
    // Padding is zeros.
    while let Some(count @ 1..) = cursor.short() {
        let portal = PortalId(cursor.array()?);
        let day = cursor.short()?;
        let replaces = cursor.byte()? != 0;
        let length = u32::from_be_bytes(cursor.array()?);
        let bytes = cursor.take(usize::try_from(length).ok()?)?;
        let links = unpack(bytes, usize::from(count))?;
        let entry = |link| Entry::new(vault, portal, day, link, replaces);
        entries.extend(links.into_iter().map(entry));
    }
    Some(entries)
}

/// Reads all segments, when the store is opened. Returns the links, and the number of the next segment.
pub(in crate::store) async fn load(
    connection: &mut AnyConnection,
    vault: &Vault,
) -> Result<(Tail, i64), StoreError> {
    let mut tail = Tail::default();
    let mut last = 0;
    loop {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT seq, sealed FROM link_segments WHERE seq > $1 ORDER BY seq LIMIT 8",
        )
        .bind(last)
        .fetch_all(&mut *connection)
        .await?;
        if rows.is_empty() {
            return Ok((tail, last + 1));
        }
        for (seq, sealed) in rows {
            tail.put(seq, open(vault, seq, &sealed)?);
            last = seq;
        }
    }
}
