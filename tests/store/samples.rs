//! Records to put into a store. Names are long, so that finding one in raw bytes is no chance.

use ruma::{EventId, OwnedEventId, OwnedUserId, UserId};
use vizard::{
    rng::Rng,
    store::{
        Batch, Direction, GhostRecord, Held, Job, Link, Mirror, Portal, PortalId, PortalState,
        Puppet, Shown, Task,
    },
};

pub const ALICE: &str = "@alice-wonderland:a.example.org";
pub const BOB: &str = "@bob-the-builder:a.example.org";
pub const ROOM_X: &str = "!room-of-many-xylophones:b.example.org";
pub const ROOM_Y: &str = "!room-of-yellow-yaks:c.example.org";

pub fn user(id: &str) -> OwnedUserId {
    UserId::parse(id).unwrap()
}

pub fn event(id: &str) -> OwnedEventId {
    EventId::parse(id).unwrap()
}

/// A portal of `owner` into `room`, with everything that a portal can have.
pub fn portal(rng: &Rng, owner: &str, room: &str) -> Portal {
    let id = PortalId(rng.bytes());
    let name: u64 = u64::from_be_bytes(rng.bytes());
    Portal {
        id,
        user: user(owner),
        room: room.try_into().unwrap(),
        via: vec!["via-server.example.org".try_into().unwrap()],
        state: PortalState::Joined,
        ghost: GhostRecord {
            id: user(&format!("@_vizard_ghost{name:016x}:a.example.org")),
            seed: rng.bytes::<32>().into(),
            device: Some("GHOSTDEVICE".into()),
            former: None,
            nick: format!("Quiet Heron {name:016x}"),
            ready: true,
        },
        host: Puppet {
            id: user(&format!("@_vizard_p_{name:016x}:a.example.org")),
            device: Some("HOSTDEVICE".into()),
            former: None,
        },
        portal_room: Some(
            format!("!portal{name:016x}:a.example.org")
                .as_str()
                .try_into()
                .unwrap(),
        ),
        creating_room: false,
        user_joined: true,
        shown: Shown {
            name: Some("Xylophonists' Corner".to_owned()),
            ..Shown::default()
        },
        created: 1_700_000_000_000,
        successor: None,
        joined_at: 0,
        called: Vec::new(),
        told_pins: false,
        told_unread: Vec::new(),
        forgetting: false,
        replaced: Vec::new(),
        moved: None,
        floors: Vec::new(),
        received: None,
    }
}

pub fn link(source: &str, target: Option<&str>) -> Link {
    Link {
        source: event(source),
        target: target.map(event),
        direction: Direction::Inbound,
        sender: user("@carol-the-member:b.example.org"),
    }
}

pub fn links(portal: PortalId, links: impl IntoIterator<Item = Link>) -> Batch {
    Batch {
        links: links.into_iter().map(|link| (portal, link)).collect(),
        done: Vec::new(),
    }
}

pub fn mirror(rng: &Rng, member: &str) -> Mirror {
    let name: u64 = u64::from_be_bytes(rng.bytes());
    Mirror {
        puppet: Puppet {
            id: user(&format!("@_vizard_m_{name:016x}:a.example.org")),
            device: None,
            former: None,
        },
        member: user(member),
        name: Some("Carol the Member".to_owned()),
        avatar: None,
        joined: true,
        heard: 5,
    }
}

pub fn held(id: &str, question: Option<&str>, at: u64) -> Held {
    Held {
        event: event(id),
        question: question.map(event),
        json: r#"{"content":{"body":"my name is wonderland-alice"}}"#.to_owned(),
        at,
        unstripped: false,
    }
}

pub fn job(rng: &Rng, portal: PortalId, due: u64) -> Job {
    Job {
        id: rng.bytes(),
        due,
        attempts: 2,
        broken: 0,
        task: Task::Leave {
            portal,
            forget: true,
            report: None,
            spread: false,
        },
    }
}
