//! All Matrix HTTP: every request to the homeserver is made here, as a ghost, host, mirror or the bot.
//!
//! Requests name the acting user and, where it has one, its device, because Synapse keeps its
//! de-duplication of sends across restarts only for requests with a device. Only [`Scrubbed`]
//! content can be sent into a room. Failures that pass (network, 5xx, rate limits) are retried here a
//! bounded number of times and then classified as [`Error::Retry`]; nothing here decides to give up on a
//! message.

mod error;

use std::time::Duration;

use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, MxcUri, OwnedDeviceId, OwnedEventId, OwnedMxcUri,
    OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, RoomId, RoomOrAliasId, UserId,
};
use serde_json::{Value, value::RawValue};

pub use error::{Class, Error};

use crate::{clock::Clock, rewrite::Scrubbed, rng::Rng};

/// Who acts: a Matrix user of the namespace and its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The user.
    pub user: OwnedUserId,
    /// Its device; `None` only before it has one.
    pub device: Option<OwnedDeviceId>,
}

/// A client of one homeserver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Homeserver {}

/// How a [`Homeserver`] is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base URL, without `/_matrix`.
    pub url: url::Url,
    /// The application service's token.
    pub as_token: crate::crypto::Secret<String>,
    /// How long one request may take.
    pub timeout: Duration,
    /// How often a request that may pass is tried before it is [`Error::Retry`] (1 = no retry).
    pub tries: u32,
}

/// A public profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The display name.
    pub displayname: Option<String>,
    /// The avatar.
    pub avatar_url: Option<OwnedMxcUri>,
}

/// A page of a room's history, newest first when walking backwards.
#[derive(Debug)]
pub struct Page {
    /// The events.
    pub chunk: Vec<Box<RawValue>>,
    /// Where the next page begins; `None` at the end.
    pub end: Option<String>,
}

/// Downloaded media.
#[derive(Debug)]
pub struct Media {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The content type that the server named.
    pub content_type: Option<String>,
}

/// What the homeserver says it can do.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    /// Supported specification versions.
    pub versions: Vec<String>,
    /// Unstable features and whether they are on.
    pub unstable_features: std::collections::BTreeMap<String, bool>,
}

impl Homeserver {
    /// A client.
    pub fn new(_settings: Settings, _clock: Clock, _rng: Rng) -> Result<Self, Error> {
        todo!()
    }

    // --- users, devices, profiles ---

    /// Registers a user of the namespace (`inhibit_login`); one that exists is success.
    pub async fn register(&self, _user: &UserId) -> Result<(), Error> {
        todo!()
    }
    /// Makes a device for the actor (MSC4190 `PUT /devices/{id}`); one that exists is success.
    pub async fn create_device(
        &self,
        _user: &UserId,
        _device: &ruma::DeviceId,
    ) -> Result<(), Error> {
        todo!()
    }
    /// Deletes the actor's device.
    pub async fn delete_device(&self, _actor: &Actor) -> Result<(), Error> {
        todo!()
    }
    /// Sets the actor's display name in its profile.
    pub async fn set_displayname(&self, _actor: &Actor, _name: &str) -> Result<(), Error> {
        todo!()
    }
    /// Sets the actor's avatar in its profile.
    pub async fn set_avatar(&self, _actor: &Actor, _avatar: Option<&MxcUri>) -> Result<(), Error> {
        todo!()
    }
    /// Sets a custom profile field (MSC4133) of the actor.
    pub async fn set_profile_field(
        &self,
        _actor: &Actor,
        _field: &str,
        _value: &Value,
    ) -> Result<(), Error> {
        todo!()
    }
    /// Reads a profile.
    pub async fn profile(&self, _actor: &Actor, _user: &UserId) -> Result<Profile, Error> {
        todo!()
    }

    // --- rooms ---

    /// Resolves an alias to a room id and servers that know it.
    pub async fn resolve_alias(
        &self,
        _actor: &Actor,
        _alias: &RoomAliasId,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), Error> {
        todo!()
    }
    /// Joins a room; `extra` (display name, mapping) is copied into the member event. One attempt may
    /// take minutes.
    pub async fn join(
        &self,
        _actor: &Actor,
        _room: &RoomOrAliasId,
        _via: &[OwnedServerName],
        _extra: &Value,
    ) -> Result<OwnedRoomId, Error> {
        todo!()
    }
    /// Knocks.
    pub async fn knock(
        &self,
        _actor: &Actor,
        _room: &RoomId,
        _via: &[OwnedServerName],
    ) -> Result<(), Error> {
        todo!()
    }
    /// Leaves (or declines an invite to) a room; not being in it is success.
    pub async fn leave(&self, _actor: &Actor, _room: &RoomId) -> Result<(), Error> {
        todo!()
    }
    /// Invites a user; one who is there already is success.
    pub async fn invite(
        &self,
        _actor: &Actor,
        _room: &RoomId,
        _user: &UserId,
    ) -> Result<(), Error> {
        todo!()
    }
    /// Removes a user from a room.
    pub async fn kick(&self, _actor: &Actor, _room: &RoomId, _user: &UserId) -> Result<(), Error> {
        todo!()
    }
    /// Creates a room with this `POST /createRoom` body. Not idempotent: never retried here.
    pub async fn create_room(&self, _actor: &Actor, _body: &Value) -> Result<OwnedRoomId, Error> {
        todo!()
    }
    /// The rooms that the actor is in.
    pub async fn joined_rooms(&self, _actor: &Actor) -> Result<Vec<OwnedRoomId>, Error> {
        todo!()
    }
    /// The users who are joined to a room, and their profiles there.
    pub async fn joined_members(
        &self,
        _actor: &Actor,
        _room: &RoomId,
    ) -> Result<Vec<(OwnedUserId, Profile)>, Error> {
        todo!()
    }
    /// The room's current state, as raw events.
    pub async fn state(&self, _actor: &Actor, _room: &RoomId) -> Result<Vec<Box<RawValue>>, Error> {
        todo!()
    }
    /// The content of one state event; `None` when there is none.
    pub async fn state_event(
        &self,
        _actor: &Actor,
        _room: &RoomId,
        _kind: &str,
        _key: &str,
    ) -> Result<Option<Box<RawValue>>, Error> {
        todo!()
    }
    /// MSC3266 room summary, for explaining a refusal; `None` when it cannot be had.
    pub async fn summary(
        &self,
        _actor: &Actor,
        _room: &RoomOrAliasId,
        _via: &[OwnedServerName],
    ) -> Result<Option<Value>, Error> {
        todo!()
    }

    // --- events ---

    /// Sends a message event. The same `txn_id` gives the same event.
    pub async fn send(
        &self,
        _actor: &Actor,
        _room: &RoomId,
        _event: &Scrubbed,
        _txn_id: &str,
    ) -> Result<OwnedEventId, Error> {
        todo!()
    }
    /// Sends a message event with an origin time of the past (`ts`, application services only).
    pub async fn send_at(
        &self,
        _actor: &Actor,
        _room: &RoomId,
        _event: &Scrubbed,
        _txn_id: &str,
        _ts: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Result<OwnedEventId, Error> {
        todo!()
    }
    /// Sends a state event.
    pub async fn send_state(
        &self,
        _actor: &Actor,
        _room: &RoomId,
        _event: &Scrubbed,
        _key: &str,
    ) -> Result<OwnedEventId, Error> {
        todo!()
    }
    /// Redacts an event, never with a reason.
    pub async fn redact(
        &self,
        _actor: &Actor,
        _room: &RoomId,
        _event: &EventId,
        _txn_id: &str,
    ) -> Result<OwnedEventId, Error> {
        todo!()
    }
    /// Sends a public read receipt (used in portals alone).
    pub async fn read_receipt(
        &self,
        _actor: &Actor,
        _room: &RoomId,
        _event: &EventId,
    ) -> Result<(), Error> {
        todo!()
    }
    /// A page of history. `from` = `None` starts at the newest (backwards).
    pub async fn messages(
        &self,
        _actor: &Actor,
        _room: &RoomId,
        _from: Option<&str>,
        _limit: u32,
    ) -> Result<Page, Error> {
        todo!()
    }

    // --- media ---

    /// Reserves an mxc (MSC2246), so that a crash between upload and use leaves no second copy.
    pub async fn reserve_media(&self, _actor: &Actor) -> Result<OwnedMxcUri, Error> {
        todo!()
    }
    /// Uploads to a reserved mxc; one already uploaded is success.
    pub async fn upload(
        &self,
        _actor: &Actor,
        _mxc: &MxcUri,
        _bytes: Vec<u8>,
        _content_type: &str,
    ) -> Result<(), Error> {
        todo!()
    }
    /// Downloads (authenticated) at most `max` bytes.
    pub async fn download(
        &self,
        _actor: &Actor,
        _mxc: &MxcUri,
        _max: usize,
    ) -> Result<Media, Error> {
        todo!()
    }

    // --- the homeserver itself ---

    /// `GET /versions`.
    pub async fn versions(&self) -> Result<Versions, Error> {
        todo!()
    }
    /// `GET /account/whoami` as a user of the namespace.
    pub async fn whoami(&self, _actor: &Actor) -> Result<OwnedUserId, Error> {
        todo!()
    }
    /// Asks the homeserver to call `POST /_matrix/app/v1/ping` on us; returns the milliseconds it took.
    pub async fn ping(&self, _appservice_id: &str, _txn_id: &str) -> Result<u64, Error> {
        todo!()
    }
    /// The `Date` header of a response, in Unix seconds, to compare clocks.
    pub async fn server_time(&self) -> Result<Option<u64>, Error> {
        todo!()
    }
}
