//! Rooms: finding, creating, entering, leaving, and what is in them.

use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, RoomId, RoomOrAliasId, UserId};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{Actor, Error, Homeserver, Profile, request::Call, users::profile};

/// How often a join is tried: it can take minutes, and the user waits for it.
const JOIN_TRIES: u32 = 2;

#[derive(Deserialize)]
struct InRoom {
    room_id: OwnedRoomId,
}

impl Homeserver {
    /// Resolves an alias to a room id and servers that know it.
    pub async fn resolve_alias(
        &self,
        actor: &Actor,
        alias: &RoomAliasId,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), Error> {
        #[derive(Deserialize)]
        struct Resolved {
            room_id: OwnedRoomId,
            #[serde(default)]
            servers: Vec<String>,
        }
        let target = self
            .at("/_matrix/client/v3/directory/room")
            .segment(alias.as_str())
            .actor(actor);
        let resolved: Resolved = self.0.json(Call::get("resolve_alias", target)).await?;
        let servers = resolved.servers.iter();
        Ok((
            resolved.room_id,
            servers
                .filter_map(|name| OwnedServerName::try_from(name.as_str()).ok())
                .collect(),
        ))
    }

    /// Joins a room; `extra` (display name, mapping) is copied into the member event. One attempt may
    /// take minutes.
    pub async fn join(
        &self,
        actor: &Actor,
        room: &RoomOrAliasId,
        via: &[OwnedServerName],
        extra: &Value,
    ) -> Result<OwnedRoomId, Error> {
        let target = self
            .at("/_matrix/client/v3/join")
            .segment(room.as_str())
            .via(via)
            .actor(actor);
        let body = if extra.is_object() {
            extra.to_string()
        } else {
            "{}".to_owned()
        };
        // Joining again what is joined is answered with the room, so a lost answer does no harm.
        let call = Call::post("join", target, body)
            .timeout(self.0.join_timeout)
            .tries(JOIN_TRIES);
        self.0.json(call).await.map(|InRoom { room_id }| room_id)
    }

    /// Knocks.
    pub async fn knock(
        &self,
        actor: &Actor,
        room: &RoomId,
        via: &[OwnedServerName],
    ) -> Result<(), Error> {
        let target = self
            .at("/_matrix/client/v3/knock")
            .segment(room.as_str())
            .via(via)
            .actor(actor);
        let call = Call::post("knock", target, "{}".to_owned())
            .timeout(self.0.join_timeout)
            .tries(JOIN_TRIES);
        self.0.done(call).await
    }

    /// Leaves (or declines an invite to) a room; not being in it is success.
    pub async fn leave(&self, actor: &Actor, room: &RoomId) -> Result<(), Error> {
        let target = self.room(actor, room, "/leave");
        let result = self
            .0
            .done(Call::post("leave", target, "{}".to_owned()))
            .await;
        let Err(error) = result else { return result };
        if !matches!(error.status(), Some(403 | 404)) {
            return Err(error);
        }
        // The refusal does not say why. Believe the room's state where the actor may see it, otherwise
        // the list of its rooms.
        let gone = match self.membership(actor, room, &actor.user).await {
            Some(membership) => matches!(membership.as_str(), "leave" | "ban"),
            None => !self.joined_rooms(actor).await?.iter().any(|id| id == room),
        };
        if gone { Ok(()) } else { Err(error) }
    }

    /// Invites a user; one who is there already is success.
    pub async fn invite(&self, actor: &Actor, room: &RoomId, user: &UserId) -> Result<(), Error> {
        self.invite_saying(actor, room, user, None).await
    }

    /// The same with a reason that the user reads before they answer. It stands in clear in the room: for portals alone.
    pub async fn invite_saying(
        &self,
        actor: &Actor,
        room: &RoomId,
        user: &UserId,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        let target = self.room(actor, room, "/invite");
        let call = Call::post("invite", target, about(user, reason));
        let result = self.0.done(call).await;
        self.unless_already(result, actor, room, user, &["join", "invite"])
            .await
    }

    /// Removes a user from a room; one who is not there is success.
    pub async fn kick(&self, actor: &Actor, room: &RoomId, user: &UserId) -> Result<(), Error> {
        self.kick_saying(actor, room, user, None).await
    }

    /// The same with a reason, for portals alone. Who is invited is invited no more.
    pub async fn kick_saying(
        &self,
        actor: &Actor,
        room: &RoomId,
        user: &UserId,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        let target = self.room(actor, room, "/kick");
        let call = Call::post("kick", target, about(user, reason));
        let result = self.0.done(call).await;
        self.unless_already(result, actor, room, user, &["leave", "ban"])
            .await
    }

    /// Turns a 403 into success when the user's membership is already one of `wanted`: a homeserver
    /// refuses in the same way what was done before (perhaps by an earlier try) and what is forbidden.
    async fn unless_already(
        &self,
        result: Result<(), Error>,
        actor: &Actor,
        room: &RoomId,
        user: &UserId,
        wanted: &[&str],
    ) -> Result<(), Error> {
        let Err(error) = result else { return result };
        if error.status() == Some(403)
            && let Some(membership) = self.membership(actor, room, user).await
            && wanted.contains(&membership.as_str())
        {
            return Ok(());
        }
        Err(error)
    }

    /// A user's membership, where the actor may see it.
    async fn membership(&self, actor: &Actor, room: &RoomId, user: &UserId) -> Option<String> {
        #[derive(Deserialize)]
        struct Member {
            membership: String,
        }
        let content = self
            .state_event(actor, room, "m.room.member", user.as_str())
            .await
            .ok()??;
        serde_json::from_str(content.get())
            .ok()
            .map(|Member { membership }| membership)
    }

    /// Creates a room with this `POST /createRoom` body. Not idempotent: never retried here.
    pub async fn create_room(&self, actor: &Actor, body: &Value) -> Result<OwnedRoomId, Error> {
        let target = self.at("/_matrix/client/v3/createRoom").actor(actor);
        let call = Call::post("create_room", target, body.to_string()).tries(1);
        self.0.json(call).await.map(|InRoom { room_id }| room_id)
    }

    /// The rooms that the actor is in.
    pub async fn joined_rooms(&self, actor: &Actor) -> Result<Vec<OwnedRoomId>, Error> {
        #[derive(Deserialize)]
        struct Joined {
            joined_rooms: Vec<OwnedRoomId>,
        }
        let target = self.at("/_matrix/client/v3/joined_rooms").actor(actor);
        self.0
            .json(Call::get("joined_rooms", target))
            .await
            .map(|Joined { joined_rooms }| joined_rooms)
    }

    /// The users who are joined to a room, and their profiles there.
    pub async fn joined_members(
        &self,
        actor: &Actor,
        room: &RoomId,
    ) -> Result<Vec<(OwnedUserId, Profile)>, Error> {
        #[derive(Deserialize)]
        struct Joined {
            joined: serde_json::Map<String, Value>,
        }
        let target = self.room(actor, room, "/joined_members");
        let members: Joined = self.0.json(Call::get("joined_members", target)).await?;
        Ok(members
            .joined
            .iter()
            .filter_map(|(user, fields)| {
                let user = OwnedUserId::try_from(user.as_str()).ok()?;
                Some((user, profile(fields, "display_name")))
            })
            .collect())
    }

    /// Who is in a room and, if asked, who is `invited` to it.
    pub async fn members_in(
        &self,
        actor: &Actor,
        room: &RoomId,
        invited: bool,
    ) -> Result<Vec<OwnedUserId>, Error> {
        #[derive(Deserialize)]
        struct Members {
            chunk: Vec<MemberEvent>,
        }
        #[derive(Deserialize)]
        struct MemberEvent {
            state_key: String,
            content: Value,
        }
        let target = self
            .at("/_matrix/client/v3/rooms")
            .segment(room.as_str())
            .path("/members")
            .query("not_membership", "leave")
            .actor(actor);
        let members: Members = self.0.json(Call::get("members", target)).await?;
        Ok(members
            .chunk
            .into_iter()
            .filter(|event| {
                let membership = event.content["membership"].as_str();
                membership == Some("join") || invited && membership == Some("invite")
            })
            .filter_map(|event| OwnedUserId::try_from(event.state_key).ok())
            .collect())
    }

    /// The room's current state, as raw events.
    pub async fn state(&self, actor: &Actor, room: &RoomId) -> Result<Vec<Box<RawValue>>, Error> {
        let target = self.room(actor, room, "/state");
        self.0.json(Call::get("state", target)).await
    }

    /// The content of one state event; `None` when there is none.
    pub async fn state_event(
        &self,
        actor: &Actor,
        room: &RoomId,
        kind: &str,
        key: &str,
    ) -> Result<Option<Box<RawValue>>, Error> {
        let target = self
            .at("/_matrix/client/v3/rooms")
            .segment(room.as_str())
            .path("/state")
            .segment(kind)
            .segment(key)
            .actor(actor);
        let result: Result<Box<RawValue>, _> = self.0.json(Call::get("state_event", target)).await;
        match result {
            Ok(content) if content.get().starts_with('{') => Ok(Some(content)),
            Ok(_) => Err(Error::Answer("state that is no object")),
            Err(error) if error.errcode() == Some("M_NOT_FOUND") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// MSC3266 room summary, for explaining a refusal; `None` when it cannot be had.
    pub async fn summary(
        &self,
        actor: &Actor,
        room: &RoomOrAliasId,
        via: &[OwnedServerName],
    ) -> Result<Option<Value>, Error> {
        for path in [
            "/_matrix/client/v1/room_summary",
            "/_matrix/client/unstable/im.nheko.summary/summary",
        ] {
            let target = self.at(path).segment(room.as_str()).via(via).actor(actor);
            // It only makes a text nicer: not worth a second try.
            let call = Call::get("summary", target).tries(1);
            match self.0.json::<Value>(call).await {
                Ok(summary) if summary.is_object() => return Ok(Some(summary)),
                Err(error) if error.errcode() == Some("M_UNRECOGNIZED") => {}
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// The body of what is done to a user.
fn about(user: &UserId, reason: Option<&str>) -> String {
    let mut body = json!({ "user_id": user });
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    body.to_string()
}
