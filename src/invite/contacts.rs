//! Contact addresses: sealed addresses that their owner makes, gives away and takes back.
//!
//! The owner's record lists them ([`Address`]), and a note leads from an address's id to its owner ([`Contact`]); what the list
//! does not have is no address. The text is not kept: it is sealed anew whenever it is shown, and each of these texts leads to
//! the same address. Called by `bot`; who is invited through one is looked up by [`super::answer`].

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    clock::UnixMillis,
    portal::{Deps, PortalError},
    sealed::{CONTACT_ID, SealedAddress, Sealing, seal},
    store::{Address, KeptOut, Note, User},
};

/// Whose a contact address is. Found by the address's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The owner.
    pub owner: OwnedUserId,
}

impl Note for Contact {
    const KIND: i64 = 6;
}

/// Addresses of one user that work at once, and as many that no longer do.
pub const MOST: usize = 50;
/// The days for which an address may be good: what is sealed to a key can be opened for so long.
pub const LONGEST_DAYS: u64 = 400;

const MONTH: UnixMillis = 30 * 24 * 60 * 60 * 1000;

/// Why an address is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// One that works has the same label.
    Label,
    /// There are [`MOST`].
    TooMany,
}

/// Whether an address works.
#[must_use]
pub fn is_live(address: &Address, now: UnixMillis) -> bool {
    !address.revoked && address.expires > now
}

/// The address with this label, in any case: one that works, or else the newest.
#[must_use]
pub fn find<'a>(addresses: &'a [Address], label: &str, now: UnixMillis) -> Option<&'a Address> {
    addresses
        .iter()
        .filter(|address| same(&address.label, label))
        .max_by_key(|address| (is_live(address, now), address.created))
}

fn same(label: &str, other: &str) -> bool {
    label.to_lowercase() == other.trim().to_lowercase()
}

/// Makes an address, under an id that is the caller's: the same one again changes nothing.
pub async fn create(
    deps: &Deps,
    owner: &UserId,
    address: &Address,
) -> Result<Result<(), Refused>, PortalError> {
    let now = deps.clock.now();
    let before = deps.store.user(owner).await?;
    let user = deps
        .store
        .update_user(owner, |user| add(user, address, now))
        .await?;
    let is_there = |user: &User, id: [u8; CONTACT_ID]| user.addresses.iter().any(|it| it.id == id);
    if !is_there(&user, address.id) {
        return Ok(Err(
            refusal(&user.addresses, &address.label, now).unwrap_or(Refused::TooMany)
        ));
    }
    let contact = Contact {
        owner: owner.to_owned(),
    };
    let due = Some(address.expires.saturating_add(MONTH));
    deps.store.set_note(&address.id, due, &contact).await?;
    for gone in before.into_iter().flat_map(|user| user.addresses) {
        if !is_there(&user, gone.id) {
            deps.store.delete_note::<Contact>(&gone.id).await?;
        }
    }
    Ok(Ok(()))
}

/// Takes an address back: it is answered as ever, and leads nowhere.
pub async fn revoke(deps: &Deps, owner: &UserId, id: [u8; CONTACT_ID]) -> Result<(), PortalError> {
    deps.store
        .update_user(owner, |user| {
            let mut addresses = user.addresses.iter_mut();
            if let Some(address) = addresses.find(|address| address.id == id) {
                address.revoked = true;
            }
        })
        .await?;
    Ok(())
}

/// A text of the address; each time another one. `None` while there is no key to seal to.
#[must_use]
pub fn text(deps: &Deps, address: &Address) -> Option<SealedAddress> {
    let key = deps.keys.document().sealing_key(deps.clock.now())?;
    let sealing = Sealing::Address {
        server: deps.namespace.server(),
        id: address.id,
    };
    seal(&deps.rng, &key, sealing, address.expires).ok()
}

fn refusal(addresses: &[Address], label: &str, now: UnixMillis) -> Option<Refused> {
    let live = || addresses.iter().filter(|address| is_live(address, now));
    if live().any(|address| same(&address.label, label)) {
        Some(Refused::Label)
    } else if live().count() >= MOST {
        Some(Refused::TooMany)
    } else {
        None
    }
}

/// Adds an address unless it is refused. What no longer works makes room: what has the label, what is long over, and the oldest
/// beyond [`MOST`]; nobody needs to be kept out of that any more.
fn add(user: &mut User, address: &Address, now: UnixMillis) {
    let known = user.addresses.iter().any(|it| it.id == address.id);
    if known || refusal(&user.addresses, &address.label, now).is_some() {
        return;
    }
    user.addresses.retain(|old| {
        is_live(old, now)
            || !same(&old.label, &address.label) && old.expires.saturating_add(MONTH) > now
    });
    let dead = |old: &Address| !is_live(old, now);
    while user.addresses.iter().filter(|old| dead(old)).count() > MOST {
        // They are in the order in which they were made.
        let oldest = user.addresses.iter().position(dead).unwrap_or_default();
        user.addresses.remove(oldest);
    }
    user.addresses.push(address.clone());
    let User {
        addresses,
        kept_out,
        ..
    } = user;
    kept_out.retain(|kept| match kept {
        KeptOut::Address(id) => addresses.iter().any(|address| address.id == *id),
        _ => true,
    });
}

#[cfg(test)]
mod tests {
    use ruma::owned_user_id;

    use super::*;

    const NOW: UnixMillis = 1_700_000_000_000;

    fn address(number: u16, label: &str, expires: UnixMillis) -> Address {
        let mut id = [0; CONTACT_ID];
        id[..2].copy_from_slice(&number.to_be_bytes());
        Address {
            id,
            label: label.to_owned(),
            created: NOW + u64::from(number),
            expires,
            revoked: false,
        }
    }

    fn bob() -> User {
        User::new(owned_user_id!("@bob:b.example"))
    }

    #[test]
    fn labels_are_told_apart_while_they_work() {
        let mut user = bob();
        let first = address(1, "Work", NOW + 5);
        add(&mut user, &first, NOW);
        add(&mut user, &first, NOW);
        assert_eq!(user.addresses, std::slice::from_ref(&first));
        assert_eq!(
            refusal(&user.addresses, " work ", NOW),
            Some(Refused::Label)
        );
        add(&mut user, &address(2, "WORK", NOW + 9), NOW);
        assert_eq!(user.addresses.len(), 1);
        // Once it is over, another one takes the label and the place.
        user.kept_out = vec![
            KeptOut::Address(first.id),
            KeptOut::User(owned_user_id!("@eve:e.example")),
        ];
        let second = address(2, "WORK", NOW + 9);
        add(&mut user, &second, NOW + 5);
        assert_eq!(user.addresses, std::slice::from_ref(&second));
        assert_eq!(user.kept_out.len(), 1);
        assert_eq!(find(&user.addresses, "work", NOW), Some(&second));
        assert_eq!(find(&user.addresses, "play", NOW), None);
    }

    #[test]
    fn a_working_address_is_found_before_a_revoked_one() {
        let mut old = address(9, "x", NOW + 5);
        old.revoked = true;
        let new = address(1, "X", NOW + 5);
        let both = [old.clone(), new.clone()];
        assert_eq!(find(&both, "x", NOW), Some(&new));
        assert_eq!(find(&both, "x", NOW + 5), Some(&old));
    }

    #[test]
    fn their_number_is_bounded() {
        let mut user = bob();
        for number in 0..500 {
            let label = number.to_string();
            add(&mut user, &address(number, &label, NOW + 5), NOW);
        }
        assert_eq!(user.addresses.len(), MOST);
        assert_eq!(refusal(&user.addresses, "a", NOW), Some(Refused::TooMany));
        for number in 500..1000 {
            for old in &mut user.addresses {
                old.revoked = true;
            }
            let label = number.to_string();
            add(&mut user, &address(number, &label, NOW + 5), NOW);
        }
        assert_eq!(user.addresses.len(), MOST + 1);
        assert_eq!(refusal(&user.addresses, "a", NOW), None);
        // Long after, all of them are gone.
        let late = NOW + 2 * MONTH;
        add(&mut user, &address(1000, "late", late + 5), late);
        assert_eq!(user.addresses.len(), 1);
    }
}
