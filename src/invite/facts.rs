//! What bears on a request: gathered whole, by the same calls in the same order, whatever is found first, so that neither the
//! homeserver's log nor the time tells what was found. `sealed::verdict` judges it.

use data_encoding::HEXLOWER;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, RoomOrAliasId, UserId};
use sha2::{Digest as _, Sha256};

use super::{
    contacts::Contact,
    quota::{self, Over, Quotas},
};
use crate::{
    clock::UnixMillis,
    homeserver::{Class, Error},
    portal::{Deps, PortalError, UsedAddress, WasHere, access},
    sealed::{AddressState, Facts, InviteRequest, Opened, Target},
    store::{Address, KeptOut, Portal, PortalId, PortalState, User},
};

/// What was gathered.
#[derive(Clone)]
pub struct Gathered {
    /// For the verdict.
    pub facts: Facts,
    /// Whom the request names, or [`nobody`].
    pub user: OwnedUserId,
    /// The contact address through which it came: its id and its label.
    pub address: Option<([u8; 16], String)>,
    /// The hash of the sealed payload.
    pub payload: [u8; 32],
    /// The user's portal into the room.
    pub portal: Option<Portal>,
    /// Who has used up what they may.
    pub over: Over,
    /// What is to be counted.
    pub quotas: Quotas,
}

/// Somebody who is on no homeserver: looked up in the place of whom an address does not name.
#[must_use]
pub fn nobody(deps: &Deps) -> OwnedUserId {
    let name = HEXLOWER.encode(&deps.store.derive("nobody", &[])[..10]);
    UserId::parse_with_server_name(name, deps.namespace.server())
        .unwrap_or_else(|_| deps.bot.user.clone())
}

/// Gathers all facts about a request whose address was opened.
pub async fn gather(
    deps: &Deps,
    request: &InviteRequest,
    opened: &Opened,
    now: UnixMillis,
) -> Result<Gathered, PortalError> {
    let (room, inviter) = (&request.room, request.inviter.user());
    let payload: [u8; 32] = Sha256::digest(request.sealed.payload()).into();
    let (named, id) = match &opened.target {
        Target::User(user) => (Some(user.clone()), [0; 16]),
        Target::Contact(id) => (None, *id),
    };
    let contact: Option<Contact> = deps.store.note(&id).await?;
    let named = named.or(contact.map(|contact| contact.owner));
    let user = named.unwrap_or_else(|| nobody(deps));
    let record = deps.store.user(&user).await?;
    let spent = UsedAddress::of(deps, &payload).await?.is_some();
    let exists = exists(deps, &user).await?;
    let forgotten = deps.store.is_forgotten(&user, room).await?;
    let strange = quota::is_strange(deps, inviter.server_name()).await?;
    let quotas = Quotas::of(&request.inviter, strange, &user, now);
    let over = quotas.look(deps).await?;
    let known = record.clone().unwrap_or_else(|| User::new(user.clone()));
    let moved = WasHere::of(deps, &user, room).await?;
    let portal = portal_into(deps, &known, room, moved.as_ref()).await?;

    let address = known.addresses.iter().find(|address| address.id == id);
    let server = inviter.server_name();
    let denial = deps
        .config
        .access
        .denial(<&RoomOrAliasId>::from(&**room), &[server.to_owned()]);
    let capped = known.pseudonyms.len() >= deps.config.access.max_pseudonyms;
    let state = portal.as_ref().map(|portal| &portal.state);
    let outside = matches!(state, Some(PortalState::Left | PortalState::Banned));
    let facts = Facts {
        address: address_state(opened, address, spent, now),
        user_exists: record.is_some() || exists,
        may_use: access::may_use(&deps.config.access, &deps.namespace, &user),
        user_banned: access::is_banned(&deps.config.access, &user),
        room_denied: denial.is_some(),
        peer_denied: !deps.config.invites.admits(server),
        blocks_inviter: keeps_out(&known, &KeptOut::User(inviter.to_owned())),
        blocks_server: keeps_out(&known, &KeptOut::Server(server.to_owned())),
        blocks_address: keeps_out(&known, &KeptOut::Address(id)),
        peer_over_quota: over.peer,
        inviter_over_quota: over.inviter,
        // Who is in the room already needs no other pseudonym, and is told.
        invitee_over_quota: over.invitee || capped && portal.is_none(),
        forgotten,
        was_in_room: outside || moved.is_some(),
        in_room: state.is_some() && !outside && moved.is_none(),
    };
    Ok(Gathered {
        facts,
        address: address.map(|address| (id, address.label.clone())),
        user,
        payload,
        portal,
        over,
        quotas,
    })
}

/// Whether a user keeps somebody or something out.
#[must_use]
pub fn keeps_out(user: &User, what: &KeptOut) -> bool {
    user.kept_out.iter().any(|kept| kept == what)
}

fn address_state(
    opened: &Opened,
    address: Option<&Address>,
    used: bool,
    now: UnixMillis,
) -> AddressState {
    let revoked = address.map(|address| address.revoked);
    match AddressState::of(opened, revoked, used, now) {
        AddressState::Live if address.is_some_and(|address| address.expires <= now) => {
            AddressState::Expired
        }
        state => state,
    }
}

/// The user's portal into a room, or the one that has moved on from it. One that does not exist is looked for where there is none.
async fn portal_into(
    deps: &Deps,
    user: &User,
    room: &RoomId,
    moved: Option<&WasHere>,
) -> Result<Option<Portal>, PortalError> {
    let mut pseudonyms = user.pseudonyms.iter();
    let known = pseudonyms.find(|pseudonym| pseudonym.room == room);
    let known = known.map(|pseudonym| pseudonym.portal);
    let id = known.or(moved.map(|moved| moved.portal));
    Ok(deps.store.portal(id.unwrap_or(PortalId([0; 16]))).await?)
}

/// Whether the homeserver has such a user. One that does not say may have. Whoever is on another server, and may own a contact
/// address nevertheless, has a record here; their server is not asked, lest it learn of the request, and of that it takes longer.
async fn exists(deps: &Deps, user: &UserId) -> Result<bool, PortalError> {
    let is_ours = user.server_name() == deps.namespace.server();
    let nobody = nobody(deps);
    let user = if is_ours { user } else { &nobody };
    match deps.homeserver.profile(&deps.bot, user).await {
        Err(error) if error.class() == Class::Retry => Err(error.into()),
        Ok(_) | Err(Error::Refused { status: 403, .. }) => Ok(true),
        Err(_) => Ok(false),
    }
}

/// The rooms in which a user must not have another pseudonym: the one of an invite, and the one that it says it replaces.
#[must_use]
pub fn is_one_of(room: &RoomId, invited: &RoomId, replaced: Option<&OwnedRoomId>) -> bool {
    room == invited || replaced.is_some_and(|replaced| room == replaced)
}
