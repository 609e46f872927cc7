//! Whether an answer leads anywhere. The answer itself is the same for both.

use super::{Opened, Target};

/// What is known of an opened address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressState {
    /// It works.
    Live,
    /// No user made this contact address.
    Unknown,
    /// Its owner revoked it.
    Revoked,
    /// It expired.
    Expired,
    /// It works once, and an invite came for it already.
    Used,
}

impl AddressState {
    /// The state of an address: `contact` is what is kept of a contact address (nothing: unknown), as whether it is
    /// revoked; `used` whether an invite came for this sealed payload already.
    #[must_use]
    pub fn of(opened: &Opened, contact: Option<bool>, used: bool, now: u64) -> Self {
        match (&opened.target, contact) {
            (Target::Contact(_), None) => Self::Unknown,
            (Target::Contact(_), Some(true)) => Self::Revoked,
            _ if opened.expires_ts <= now => Self::Expired,
            _ if used && opened.is_single_use() => Self::Used,
            _ => Self::Live,
        }
    }
}

/// All that bears on a request. All of it is always gathered, by the same calls, whatever is found first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Facts {
    /// What is known of the address.
    pub address: AddressState,
    /// Whether the homeserver has such a user.
    pub user_exists: bool,
    /// Whether the user may use this Vizard.
    pub may_use: bool,
    /// Whether an admin banned the user from it.
    pub user_banned: bool,
    /// Whether an admin denies the room or its server.
    pub room_denied: bool,
    /// Whether an admin denies the inviter's server.
    pub peer_denied: bool,
    /// Whether the user blocks the inviter.
    pub blocks_inviter: bool,
    /// Whether the user blocks the inviter's server.
    pub blocks_server: bool,
    /// Whether the user blocks the address.
    pub blocks_address: bool,
    /// Whether the inviter's server asked too often.
    pub peer_over_quota: bool,
    /// Whether the inviter asked too often.
    pub inviter_over_quota: bool,
    /// Whether the user was invited too often, or has too many pseudonyms.
    pub invitee_over_quota: bool,
    /// Whether the user said `forget` to a pseudonym in this room.
    pub forgotten: bool,
    /// Whether the user had a pseudonym in this room.
    pub was_in_room: bool,
    /// Whether the user has a pseudonym in this room, or another invite to it.
    pub in_room: bool,
}

/// Why an answer leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No user made this contact address.
    UnknownAddress,
    /// The address was revoked.
    RevokedAddress,
    /// The address expired.
    ExpiredAddress,
    /// The address was used.
    UsedAddress,
    /// There is no such user.
    UnknownUser,
    /// The user may not use this Vizard.
    MayNotUse,
    /// The user is banned.
    UserBanned,
    /// The room is denied.
    RoomDenied,
    /// The inviter's server is denied.
    PeerDenied,
    /// The user blocks the inviter.
    BlockedInviter,
    /// The user blocks the inviter's server.
    BlockedServer,
    /// The user blocks the address.
    BlockedAddress,
    /// The inviter's server asked too often.
    PeerOverQuota,
    /// The inviter asked too often.
    InviterOverQuota,
    /// The user was invited too often.
    InviteeOverQuota,
    /// The user forgot the room.
    Forgotten,
    /// The user was in the room.
    WasInRoom,
    /// The user is in the room.
    InRoom,
}

impl Reason {
    /// A short name, for counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownAddress => "unknown_address",
            Self::RevokedAddress => "revoked_address",
            Self::ExpiredAddress => "expired_address",
            Self::UsedAddress => "used_address",
            Self::UnknownUser => "unknown_user",
            Self::MayNotUse => "may_not_use",
            Self::UserBanned => "user_banned",
            Self::RoomDenied => "room_denied",
            Self::PeerDenied => "peer_denied",
            Self::BlockedInviter => "blocked_inviter",
            Self::BlockedServer => "blocked_server",
            Self::BlockedAddress => "blocked_address",
            Self::PeerOverQuota => "peer_over_quota",
            Self::InviterOverQuota => "inviter_over_quota",
            Self::InviteeOverQuota => "invitee_over_quota",
            Self::Forgotten => "forgotten",
            Self::WasInRoom => "was_in_room",
            Self::InRoom => "in_room",
        }
    }

    /// Whether the user is told privately: somebody invited them to a room where they are or were already.
    #[must_use]
    pub fn is_told_to_the_user(self) -> bool {
        matches!(self, Self::WasInRoom | Self::InRoom)
    }
}

/// Where an answer leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the user.
    Real,
    /// Nowhere.
    Decoy(Reason),
}

/// The verdict on the facts. When several reasons hold it is the first in the order of [`Reason`]; all are looked at,
/// always.
#[must_use]
pub fn verdict(facts: &Facts) -> Verdict {
    let reasons = [
        (
            facts.address == AddressState::Unknown,
            Reason::UnknownAddress,
        ),
        (
            facts.address == AddressState::Revoked,
            Reason::RevokedAddress,
        ),
        (
            facts.address == AddressState::Expired,
            Reason::ExpiredAddress,
        ),
        (facts.address == AddressState::Used, Reason::UsedAddress),
        (!facts.user_exists, Reason::UnknownUser),
        (!facts.may_use, Reason::MayNotUse),
        (facts.user_banned, Reason::UserBanned),
        (facts.room_denied, Reason::RoomDenied),
        (facts.peer_denied, Reason::PeerDenied),
        (facts.blocks_inviter, Reason::BlockedInviter),
        (facts.blocks_server, Reason::BlockedServer),
        (facts.blocks_address, Reason::BlockedAddress),
        (facts.peer_over_quota, Reason::PeerOverQuota),
        (facts.inviter_over_quota, Reason::InviterOverQuota),
        (facts.invitee_over_quota, Reason::InviteeOverQuota),
        (facts.forgotten, Reason::Forgotten),
        (facts.was_in_room, Reason::WasInRoom),
        (facts.in_room, Reason::InRoom),
    ];
    // From the last to the first, without leaving early.
    reasons
        .into_iter()
        .rev()
        .fold(Verdict::Real, |verdict, (holds, reason)| {
            if holds {
                Verdict::Decoy(reason)
            } else {
                verdict
            }
        })
}
