//! The state that Vizard itself writes into a portal room. Each kind has the fields that it needs and no others, so that
//! nothing else gets out under its name; only `portal` makes one.

use ruma::{MxcUri, OwnedServerName, RoomId, UserId};
use serde_json::{Value, json};

use super::Scrubbed;

/// A state event of a portal room.
#[derive(Clone, Copy, Debug)]
pub enum PortalEvent<'a> {
    /// `m.room.name`.
    Name(&'a str),
    /// `m.room.topic`.
    Topic(&'a str),
    /// `m.room.avatar`: a copy that lies on the own homeserver, or none any more.
    Avatar(Option<&'a MxcUri>),
    /// `m.room.encryption`.
    Encryption,
    /// MSC2346 bridge information, under its stable type.
    Bridge(Bridge<'a>),
    /// The same under the type that clients know.
    UnstableBridge(Bridge<'a>),
}

/// What bridge information says: which room the portal leads to, and behind which pseudonym.
#[derive(Clone, Copy, Debug)]
pub struct Bridge<'a> {
    /// The portal's host.
    pub host: &'a UserId,
    /// The room.
    pub room: &'a RoomId,
    /// Servers that know the room.
    pub via: &'a [OwnedServerName],
    /// What the room is called.
    pub name: &'a str,
    /// The pseudonym's ghost.
    pub ghost: &'a UserId,
    /// The pseudonym's name.
    pub nick: &'a str,
}

impl Bridge<'_> {
    /// The content, which is the same under both types.
    #[must_use]
    pub fn content(&self) -> Value {
        json!({
            "bridgebot": self.host,
            "protocol": {"id": "matrix", "displayname": "Matrix, behind a pseudonym", "external_url": "https://matrix.org"},
            "channel": {
                "id": self.room,
                "displayname": self.name,
                "external_url": self.room.matrix_to_uri_via(self.via.iter().cloned()).to_string(),
            },
            "org.vizard.pseudonym": {"user_id": self.ghost, "displayname": self.nick},
        })
    }
}

impl PortalEvent<'_> {
    /// The event's type.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Name(_) => "m.room.name",
            Self::Topic(_) => "m.room.topic",
            Self::Avatar(_) => "m.room.avatar",
            Self::Encryption => "m.room.encryption",
            Self::Bridge(_) => "m.bridge",
            Self::UnstableBridge(_) => "uk.half-shot.bridge",
        }
    }

    /// The event's content.
    #[must_use]
    pub fn content(&self) -> Value {
        match self {
            Self::Name(name) => json!({ "name": name }),
            Self::Topic(topic) => json!({ "topic": topic }),
            Self::Avatar(Some(copy)) => json!({ "url": copy }),
            Self::Avatar(None) => json!({}),
            Self::Encryption => json!({ "algorithm": "m.megolm.v1.aes-sha2" }),
            Self::Bridge(about) | Self::UnstableBridge(about) => about.content(),
        }
    }
}

impl Scrubbed {
    /// A state event of a portal room, for its host to send there.
    #[must_use]
    pub fn portal_state(event: PortalEvent<'_>) -> Self {
        Self::made(event.event_type(), &event.content())
    }
}

#[cfg(test)]
mod tests {
    use ruma::{mxc_uri, owned_server_name, room_id, user_id};

    use super::*;

    #[test]
    fn each_kind_has_its_fields() {
        let via = [owned_server_name!("b.example")];
        let about = Bridge {
            host: user_id!("@_vizard_p_h:a.example"),
            room: room_id!("!r:b.example"),
            via: &via,
            name: "Tearoom",
            ghost: user_id!("@_vizard_g:a.example"),
            nick: "Quiet Heron",
        };
        let bridge = json!({
            "bridgebot": "@_vizard_p_h:a.example",
            "protocol": {"id": "matrix", "displayname": "Matrix, behind a pseudonym", "external_url": "https://matrix.org"},
            "channel": {"id": "!r:b.example", "displayname": "Tearoom",
                "external_url": "https://matrix.to/#/!r:b.example?via=b.example"},
            "org.vizard.pseudonym": {"user_id": "@_vizard_g:a.example", "displayname": "Quiet Heron"},
        });
        for (event, kind, content) in [
            (PortalEvent::Name("x"), "m.room.name", json!({"name": "x"})),
            (
                PortalEvent::Topic("x"),
                "m.room.topic",
                json!({"topic": "x"}),
            ),
            (
                PortalEvent::Avatar(Some(mxc_uri!("mxc://a.example/x"))),
                "m.room.avatar",
                json!({"url": "mxc://a.example/x"}),
            ),
            (PortalEvent::Avatar(None), "m.room.avatar", json!({})),
            (
                PortalEvent::Encryption,
                "m.room.encryption",
                json!({"algorithm": "m.megolm.v1.aes-sha2"}),
            ),
            (PortalEvent::Bridge(about), "m.bridge", bridge.clone()),
            (
                PortalEvent::UnstableBridge(about),
                "uk.half-shot.bridge",
                bridge,
            ),
        ] {
            let state = Scrubbed::portal_state(event);
            assert_eq!(state.event_type(), kind);
            let made: Value = serde_json::from_str(state.content().get()).unwrap();
            assert_eq!(made, content);
            assert_eq!(state.text(), None);
        }
    }
}
