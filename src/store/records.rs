//! The records that the store keeps of users, portals and who is in them. Each is sealed as JSON with a version field, so that a later
//! version can read what an earlier one wrote (every field added later needs a `serde` default).

use std::fmt;

use ruma::{OwnedDeviceId, OwnedMxcUri, OwnedRoomId, OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};

use super::{Address, Departure, Floor, Former, KeptOut, Moved, Received};
use crate::{clock::UnixMillis, crypto::Seed};

/// A portal's random id. Its short form is the only handle of a portal that appears in logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortalId(pub [u8; 16]);

impl fmt::Display for PortalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PortalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What Vizard knows of a user; one sealed record per user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Their Matrix ID.
    pub mxid: OwnedUserId,
    /// Their display name, as last seen in the direct chat or a portal (the guard looks for it).
    #[serde(default)]
    pub display_name: Option<String>,
    /// Their pseudonyms.
    #[serde(default)]
    pub pseudonyms: Vec<UserPseudonym>,
    /// The direct chat with the bot, once there is one.
    #[serde(default)]
    pub direct_chat: Option<OwnedRoomId>,
    /// Whether outbound messages are searched for what names the user.
    #[serde(default = "yes")]
    pub guard: bool,
    /// When they last joined rooms (for the limit), newest last.
    #[serde(default)]
    pub recent_joins: Vec<UnixMillis>,
    /// The confirmation that `forget` waits for: portal and until when it holds.
    #[serde(default)]
    pub confirm_forget: Option<(PortalId, UnixMillis)>,
    /// When that was asked. What was sent before confirms nothing.
    #[serde(default)]
    pub forget_asked: UnixMillis,
    /// Portals that they left lately, so that ghosts that are to leave with others do not leave at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub departures: Vec<Departure>,
    /// Their contact addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// Whose invites they do not want.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_out: Vec<KeptOut>,
}

fn yes() -> bool {
    true
}

impl User {
    /// A user of whom nothing is known yet.
    #[must_use]
    pub fn new(mxid: OwnedUserId) -> Self {
        Self {
            mxid,
            display_name: None,
            pseudonyms: Vec::new(),
            direct_chat: None,
            guard: true,
            recent_joins: Vec::new(),
            confirm_forget: None,
            forget_asked: 0,
            departures: Vec::new(),
            addresses: Vec::new(),
            kept_out: Vec::new(),
        }
    }
}

/// One line of a user's list of pseudonyms: what the guard and `list` need without opening each portal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPseudonym {
    /// The portal.
    pub portal: PortalId,
    /// The room it leads into.
    pub room: OwnedRoomId,
    /// The ghost.
    pub ghost: OwnedUserId,
    /// The display name there.
    pub nick: String,
    /// The room's name as it is now, if known. Whoever may rename the room chooses it.
    #[serde(default)]
    pub room_name: Option<String>,
    /// The portal room, once there is one.
    #[serde(default)]
    pub portal_room: Option<OwnedRoomId>,
    /// What the room was called at the join: for the guard alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub called: Vec<String>,
}

/// Where a portal is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortalState {
    /// The join was asked for and is not finished.
    Joining,
    /// The ghost knocked and waits.
    Knocking,
    /// The ghost is in the room.
    Joined,
    /// The user is leaving; the ghost has not left yet.
    Leaving,
    /// The ghost is not in the room.
    Left,
    /// The ghost was banned.
    Banned,
    /// The ghost was invited, and the user has not answered: nobody has seen it yet.
    Invited,
}

/// A portal and the pseudonym behind it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "a record of facts that do not depend on each other"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portal {
    /// Its id.
    pub id: PortalId,
    /// The user.
    pub user: OwnedUserId,
    /// The room.
    pub room: OwnedRoomId,
    /// Servers through which the room can be reached.
    #[serde(default)]
    pub via: Vec<OwnedServerName>,
    /// Where it is in its life.
    pub state: PortalState,
    /// The pseudonym.
    pub ghost: GhostRecord,
    /// The host.
    pub host: Puppet,
    /// The portal room, once it exists.
    #[serde(default)]
    pub portal_room: Option<OwnedRoomId>,
    /// The portal room is about to be created: after a crash, look among the host's rooms first.
    #[serde(default)]
    pub creating_room: bool,
    /// Whether the user is in the portal room.
    #[serde(default)]
    pub user_joined: bool,
    /// What the portal room shows of the room.
    #[serde(default)]
    pub shown: Shown,
    /// When the join was asked for.
    pub created: UnixMillis,
    /// The room that replaced this one.
    #[serde(default)]
    pub successor: Option<OwnedRoomId>,
    /// When the ghost last entered its room, by the homeserver's clock: what is older is looked at twice, because another
    /// portal into the same room lets earlier events reach this one too.
    #[serde(default)]
    pub joined_at: UnixMillis,
    /// What the room was called when the ghost entered it: its name and its address, also if the room encrypts them. The guard of
    /// the user's other portals looks for that, whatever the room is called later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub called: Vec<String>,
    /// Whether the user was told that pinned messages are not supported.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told_pins: bool,
    /// Members of whom the user knows that they cannot read the ghost, or not on all devices.
    #[serde(default)]
    pub told_unread: Vec<OwnedUserId>,
    /// Where the search for missed events ends, because it once gave up there: at most one for each of the two rooms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floors: Vec<Floor>,
    /// The invite that it stands for, while it is [`PortalState::Invited`] or was not told apart from that yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Received>,
    /// Its pseudonym is being forgotten. That is final: nobody goes back behind it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgetting: bool,
    /// Rooms that its room replaced, one after the other, as far as they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<OwnedRoomId>,
    /// The room from which it moved on, until all that was said there before has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
}

/// The ghost of a portal.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GhostRecord {
    /// Its Matrix ID, which is its sender key.
    pub id: OwnedUserId,
    /// The sender key's 32-byte seed.
    pub seed: Seed,
    /// Its device, once made.
    #[serde(default)]
    pub device: Option<OwnedDeviceId>,
    /// The device before that, if the homeserver lost it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Former>,
    /// Its display name.
    pub nick: String,
    /// Whether it is registered and its profile set.
    #[serde(default)]
    pub ready: bool,
}

impl fmt::Debug for GhostRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GhostRecord")
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

/// A host or the bot: a Matrix user of ours with a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Puppet {
    /// Its Matrix ID.
    pub id: OwnedUserId,
    /// Its device, once made.
    #[serde(default)]
    pub device: Option<OwnedDeviceId>,
    /// The device before that, if the homeserver lost it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Former>,
}

/// What a portal room shows, so that only changes are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The room's name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its topic.
    #[serde(default)]
    pub topic: Option<String>,
    /// Its avatar: remote source and local copy.
    #[serde(default)]
    pub avatar: Option<(OwnedMxcUri, OwnedMxcUri)>,
    /// Its canonical alias.
    #[serde(default)]
    pub alias: Option<String>,
    /// Whether the room is encrypted.
    #[serde(default)]
    pub encrypted: bool,
    /// What the room encrypts, which is said in the portal and never stands in its state.
    #[serde(default)]
    pub hidden: ShownHidden,
    /// The bridge information: a hash of what was written last, or 0.
    #[serde(default)]
    pub bridge: u64,
}

/// What a portal was told of a room's encrypted state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownHidden {
    /// The room's name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its topic.
    #[serde(default)]
    pub topic: Option<String>,
    /// Its avatar.
    #[serde(default)]
    pub avatar: Option<OwnedMxcUri>,
    /// Whether there is more, whose keys have not come.
    #[serde(default)]
    pub unread: bool,
    /// How often something was told.
    #[serde(default)]
    pub told: u32,
}

/// The stand-in of a member in one portal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// The mirror's Matrix ID and device.
    pub puppet: Puppet,
    /// The member it stands for.
    pub member: OwnedUserId,
    /// The member's display name, as shown.
    #[serde(default)]
    pub name: Option<String>,
    /// The member's avatar: remote source and local copy.
    #[serde(default)]
    pub avatar: Option<(OwnedMxcUri, OwnedMxcUri)>,
    /// Whether it is in the portal room.
    #[serde(default)]
    pub joined: bool,
    /// When the member was last heard.
    #[serde(default)]
    pub heard: UnixMillis,
}

/// What became of an attempt to put a new portal into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is there now.
    New,
    /// The user already has a pseudonym in this room.
    AlreadyThere(PortalId),
    /// The user forgot their pseudonym in this room; there is no new one, ever.
    Forgotten,
}

/// A forgotten pseudonym, kept for the operator for a disclosed time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escrowed {
    /// The user.
    pub user: OwnedUserId,
    /// The room.
    pub room: OwnedRoomId,
    /// The ghost.
    pub ghost: OwnedUserId,
    /// Until when it is kept, at most.
    pub until: UnixMillis,
}

/// How many rows the store holds, for `doctor` and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Users with a record.
    pub users: u64,
    /// Portals.
    pub portals: u64,
    /// Mirrors of all portals.
    pub mirrors: u64,
    /// Links that are not yet pruned.
    pub links: u64,
    /// Transactions that are not yet wholly handled.
    pub inbox: u64,
    /// Messages that wait for a decision.
    pub held: u64,
    /// Jobs.
    pub jobs: u64,
}
