//! Packs: some links of one portal and day in one cell, small enough that SQLite keeps it whole within a page.

use super::{
    Entry,
    codec::{Cursor, Packer, unpack},
};
use crate::{
    crypto::Secret,
    store::{
        Link, PortalId, StoreError,
        seal::{Cell, Vault},
    },
};

pub(in crate::store) const PACKS: Cell = Cell::new("link_packs", 128);

const VERSION: u8 = 1;
/// Version and number of links.
const HEAD: usize = 3;
/// With key and seal just below a thousand bytes, which is what a row without an overflow page may have.
const MOST_BYTES: usize = 7 * 128 - HEAD;

/// The bits of a pack's number that are random; above them is the day.
const RANDOM_BITS: u32 = 47;

/// Links that go into one pack.
pub(super) struct Plan<'a> {
    pub(super) portal: PortalId,
    pub(super) pack: i64,
    pub(super) entries: Vec<&'a Entry>,
}

/// Puts neighbours of one portal and day together, as many as a pack holds.
pub(super) fn plan<'a>(vault: &Vault, entries: &[&'a Entry]) -> Vec<Plan<'a>> {
    let mut plans: Vec<Plan<'_>> = Vec::new();
    let mut packer = Packer::default();
    for &entry in entries {
        let last = plans.last().and_then(|plan| plan.entries.first());
        let alike = last.is_some_and(|last| (last.portal, last.day) == (entry.portal, entry.day));
        if !(alike && packer.push(&entry.link, MOST_BYTES)) {
            packer = Packer::default();
            packer.push(&entry.link, MOST_BYTES);
            plans.push(Plan {
                portal: entry.portal,
                pack: first_pack(entry.day) | vault.random_bits(RANDOM_BITS),
                entries: Vec::new(),
            });
        }
        if let Some(plan) = plans.last_mut() {
            plan.entries.push(entry);
        }
    }
    plans
}

/// The least number of a pack of this day.
pub(super) fn first_pack(day: u16) -> i64 {
    i64::from(day) << RANDOM_BITS
}

impl Plan<'_> {
    pub(super) fn seal(&self, vault: &Vault) -> Vec<u8> {
        let mut packer = Packer::default();
        for entry in &self.entries {
            packer.push(&entry.link, usize::MAX);
        }
        let mut plain = Vec::with_capacity(HEAD + MOST_BYTES);
        plain.push(VERSION);
        let count = u16::try_from(packer.count()).unwrap_or(u16::MAX);
        plain.extend_from_slice(&count.to_be_bytes());
        plain.extend_from_slice(packer.bytes());
        vault.seal_padded(PACKS, &row_of(self.portal, self.pack), plain)
    }
}

/// The links in a pack.
pub(super) fn open(
    vault: &Vault,
    portal: PortalId,
    pack: i64,
    sealed: &[u8],
) -> Result<Vec<Link>, StoreError> {
    let plain = Secret::new(vault.open_bytes(PACKS, &row_of(portal, pack), sealed)?);
    read(plain.expose()).ok_or(StoreError::Links)
}

fn read(plain: &[u8]) -> Option<Vec<Link>> {
    let mut cursor = Cursor(plain);
    if cursor.byte()? != VERSION {
        return None;
    }
    let count = cursor.short()?;
    unpack(cursor.0, usize::from(count))
}

fn row_of(portal: PortalId, pack: i64) -> Vec<u8> {
    [portal.0.as_slice(), &pack.to_be_bytes()].concat()
}
