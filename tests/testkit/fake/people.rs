//! What people do who have nothing to do with the application service: methods that act at once.
//!
//! Any user id may act, of any server; accounts are made as needed. Each method is refused like the
//! request it stands for.

use std::sync::Arc;

use ruma::{OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};

use super::{Fake, Receipt, Refused, event_id, world::New};

impl Fake {
    /// Makes a user with a display name (or renames one).
    pub fn user(&self, user: impl AsRef<str>, displayname: &str) {
        self.inner
            .change(|world| world.set_profile(user.as_ref(), "displayname", displayname.into()));
    }

    /// Sets any profile field of a user.
    pub fn set_profile(&self, user: impl AsRef<str>, field: &str, value: Value) {
        self.inner
            .change(|world| world.set_profile(user.as_ref(), field, value));
    }

    /// Creates a room with this `createRoom` body.
    pub fn create_room(&self, user: impl AsRef<str>, body: &Value) -> Result<OwnedRoomId, Refused> {
        self.inner
            .change(|world| world.create_room(user.as_ref(), body))
            .map(|id| id.try_into().unwrap())
    }

    /// Creates a public room with a name.
    pub fn public_room(&self, user: impl AsRef<str>, name: &str) -> OwnedRoomId {
        self.create_room(user, &json!({"preset": "public_chat", "name": name}))
            .unwrap()
    }

    /// Lets an alias point to a room.
    pub fn alias(&self, alias: impl AsRef<str>, room: impl AsRef<str>) {
        self.inner.change(|world| {
            world
                .aliases
                .insert(alias.as_ref().to_owned(), room.as_ref().to_owned())
        });
    }

    /// Sends a message with this content.
    pub fn say(
        &self,
        user: impl AsRef<str>,
        room: impl AsRef<str>,
        content: Value,
    ) -> Result<OwnedEventId, Refused> {
        self.send(user, room, "m.room.message", content)
    }

    /// Sends a text message.
    pub fn text(
        &self,
        user: impl AsRef<str>,
        room: impl AsRef<str>,
        body: &str,
    ) -> Result<OwnedEventId, Refused> {
        self.say(user, room, json!({"msgtype": "m.text", "body": body}))
    }

    /// Sends a text message of a server whose clock says this.
    pub fn text_at(&self, user: &str, room: &str, body: &str, ts: u64) -> OwnedEventId {
        let new = New {
            room,
            sender: user,
            kind: "m.room.message",
            key: None,
            content: json!({"msgtype": "m.text", "body": body}),
            ts: Some(ts),
            redacts: None,
        };
        let sent = self.inner.change(|world| world.send_event(new));
        event_id(sent.unwrap())
    }

    /// A user is in a room no more, without an event of it: the state was reset.
    pub fn reset_out(&self, user: &str, room: &str) {
        self.inner
            .change(|world| world.rooms.get_mut(room).unwrap().reset_out(user));
    }

    /// Sends an event of any type.
    pub fn send(
        &self,
        user: impl AsRef<str>,
        room: impl AsRef<str>,
        kind: &str,
        content: Value,
    ) -> Result<OwnedEventId, Refused> {
        self.put(user.as_ref(), room.as_ref(), kind, None, content)
    }

    /// Sends a state event.
    pub fn send_state(
        &self,
        user: impl AsRef<str>,
        room: impl AsRef<str>,
        kind: &str,
        key: &str,
        content: Value,
    ) -> Result<OwnedEventId, Refused> {
        self.put(user.as_ref(), room.as_ref(), kind, Some(key), content)
    }

    fn put(
        &self,
        sender: &str,
        room: &str,
        kind: &str,
        key: Option<&str>,
        content: Value,
    ) -> Result<OwnedEventId, Refused> {
        let new = New {
            room,
            sender,
            kind,
            key,
            content,
            ts: None,
            redacts: None,
        };
        self.inner
            .change(|world| world.send_event(new))
            .map(event_id)
    }

    /// Redacts an event.
    pub fn redact(
        &self,
        user: impl AsRef<str>,
        room: impl AsRef<str>,
        event: impl AsRef<str>,
    ) -> Result<OwnedEventId, Refused> {
        self.inner
            .change(|world| world.redact(room.as_ref(), user.as_ref(), event.as_ref(), json!({})))
            .map(event_id)
    }

    /// Joins, or accepts an invite to, a room or an alias.
    pub fn join(
        &self,
        user: impl AsRef<str>,
        room: impl AsRef<str>,
    ) -> Result<OwnedEventId, Refused> {
        let user = user.as_ref();
        let room = self
            .look(|world| world.resolve(room.as_ref()))
            .ok_or_else(|| Refused::not_found("Room alias not found"))?;
        self.member(user, &room, user, "join")
    }

    /// Knocks.
    pub fn knock(
        &self,
        user: impl AsRef<str>,
        room: impl AsRef<str>,
    ) -> Result<OwnedEventId, Refused> {
        self.member(user.as_ref(), room.as_ref(), user.as_ref(), "knock")
    }

    /// Leaves a room, or declines an invite.
    pub fn leave(
        &self,
        user: impl AsRef<str>,
        room: impl AsRef<str>,
    ) -> Result<OwnedEventId, Refused> {
        self.member(user.as_ref(), room.as_ref(), user.as_ref(), "leave")
    }

    /// Invites somebody.
    pub fn invite(
        &self,
        user: impl AsRef<str>,
        room: impl AsRef<str>,
        target: impl AsRef<str>,
    ) -> Result<OwnedEventId, Refused> {
        self.member(user.as_ref(), room.as_ref(), target.as_ref(), "invite")
    }

    /// Removes somebody, or ends a ban.
    pub fn kick(
        &self,
        user: impl AsRef<str>,
        room: impl AsRef<str>,
        target: impl AsRef<str>,
    ) -> Result<OwnedEventId, Refused> {
        self.member(user.as_ref(), room.as_ref(), target.as_ref(), "leave")
    }

    /// Bans somebody.
    pub fn ban(
        &self,
        user: impl AsRef<str>,
        room: impl AsRef<str>,
        target: impl AsRef<str>,
    ) -> Result<OwnedEventId, Refused> {
        self.member(user.as_ref(), room.as_ref(), target.as_ref(), "ban")
    }

    fn member(
        &self,
        sender: &str,
        room: &str,
        target: &str,
        membership: &str,
    ) -> Result<OwnedEventId, Refused> {
        self.inner
            .change(|world| world.set_membership(room, sender, target, membership, json!({})))
            .map(event_id)
    }

    /// Reads up to an event.
    pub fn read(&self, user: impl AsRef<str>, room: impl AsRef<str>, event: impl AsRef<str>) {
        let receipt = Receipt {
            room: room.as_ref().to_owned(),
            user: user.as_ref().to_owned(),
            event: event.as_ref().to_owned(),
            kind: "m.read".to_owned(),
        };
        self.inner.change(|world| world.receipts.push(receipt));
    }

    /// Deletes all devices of users whose id begins so, as an admin may, or Synapse's `delete_stale_devices_after`. How many.
    pub fn prune_devices(&self, beginning: &str) -> usize {
        self.inner.change(|world| {
            let lost: Vec<(String, String)> = world
                .users
                .iter()
                .filter(|(user, _)| user.starts_with(beginning))
                .flat_map(|(user, account)| {
                    let devices = account.devices.iter().cloned();
                    devices.map(|device| (user.clone(), device))
                })
                .collect();
            for (user, device) in &lost {
                world.delete_device(user, device);
            }
            lost.len()
        })
    }

    /// Keeps an event, of whatever shape, for whoever asks for it by its id. Nobody is told of it.
    pub fn keep(&self, room: &str, event: Value) {
        self.inner.change(|world| {
            let id = event["event_id"].as_str().unwrap_or_default().to_owned();
            if let Some(here) = world.rooms.get_mut(room) {
                world.by_id.insert(id, (room.to_owned(), here.events.len()));
                here.events.push(Arc::new(event));
            }
        });
    }

    /// Takes a room's state event with an empty state key away, and tells nobody: a homeserver that lies.
    pub fn forget_state(&self, room: &str, kind: &str) {
        self.inner.change(|world| {
            if let Some(room) = world.rooms.get_mut(room) {
                room.forget_state(kind);
            }
        });
    }

    /// Puts a file where an mxc points, on this server or (as if) on another.
    pub fn put_media(&self, mxc: impl AsRef<str>, bytes: Vec<u8>, content_type: &str) {
        let file = Some((bytes, content_type.to_owned()));
        self.inner
            .change(|world| world.media.insert(mxc.as_ref().to_owned(), file));
    }
}
