//! What the stub answers to everything but the sending of messages: the least that is true to Synapse.

use serde_json::{Value, json};

use super::{
    State, keys,
    wire::{Request, decode},
    world::World,
};

/// An answer, or what must be done to have one.
pub enum Answer {
    /// Status and body.
    Now(u16, String),
    /// `POST …/ping`: call the application service with this transaction id, then answer.
    Ping(String),
}

fn ok(body: &Value) -> Answer {
    Answer::Now(200, body.to_string())
}

fn not_found() -> Answer {
    let body = json!({"errcode": "M_NOT_FOUND", "error": "Not found"});
    Answer::Now(404, body.to_string())
}

/// Answers a request and counts it by kind.
pub fn answer(state: &mut State, request: &Request<'_>) -> Answer {
    let parts: Vec<_> = request
        .path
        .trim_start_matches("/_matrix/")
        .split('/')
        .map(decode)
        .collect();
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    let user = request.parameter("user_id").unwrap_or_default();
    let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
    let (kind, answer) = match (request.method, parts.as_slice()) {
        (method, ["client", _, "rooms", room, rest @ ..]) => {
            in_room(&mut state.world, method, room, rest, &user, &body)
        }
        (_, ["media" | "client", _, rest @ ..])
            if parts.contains(&"media") || parts[0] == "media" =>
        {
            ("media", media(&mut state.world, request.method, rest))
        }
        (method, parts) => {
            let device = request.parameter("device_id").unwrap_or_default();
            let since = request.parameter("since");
            let whose = (&*user, &*device, since.as_deref());
            let joined = &state.world.joined;
            match keys::answer(&mut state.keys, joined, method, parts, whose, &body) {
                Some((kind, status, body)) => (kind, Answer::Now(status, body.to_string())),
                None => elsewhere(&mut state.world, method, parts, &user, &body),
            }
        }
    };
    state.ledger.request(kind);
    state.ledger.bytes += request.body.len() as u64;
    if let ["client", _, "rooms", room, "receipt", "m.read", event] = parts.as_slice()
        && let Some(portal) = state.world.rooms.get(*room)
    {
        state.ledger.receipt(portal.index, event);
    }
    if kind == "unknown" {
        let line = format!("{} {}", request.method, request.path);
        state.unknown.insert(line);
    }
    answer
}

fn in_room(
    world: &mut World,
    method: &str,
    room: &str,
    rest: &[&str],
    user: &str,
    body: &Value,
) -> (&'static str, Answer) {
    if !world.rooms.contains_key(room) {
        return ("unknown room", not_found());
    }
    match (method, rest) {
        ("POST", ["join"]) => {
            world.join(room, user, Some(body));
            ("join", ok(&json!({"room_id": room})))
        }
        ("POST", ["invite"]) => {
            world.invite(room, user, body["user_id"].as_str().unwrap_or_default());
            ("invite", ok(&json!({})))
        }
        ("POST", ["leave"]) => {
            world.leave(room, user, user);
            ("leave", ok(&json!({})))
        }
        ("POST", ["kick" | "ban"]) => {
            world.leave(room, user, body["user_id"].as_str().unwrap_or_default());
            ("kick", ok(&json!({})))
        }
        ("POST", ["receipt", ..]) => ("receipt", ok(&json!({}))),
        ("PUT", ["typing", ..]) => ("typing", ok(&json!({}))),
        ("PUT", ["redact", ..]) => ("redact", ok(&json!({"event_id": world.event_id()}))),
        ("PUT", ["state", kind, key @ ..]) => {
            let key = key.first().copied().unwrap_or_default();
            let id = world.set_state(room, user, (kind, key), body.clone());
            ("state", ok(&json!({"event_id": id})))
        }
        ("GET", ["state"]) => ("read state", ok(&whole_state(world, room))),
        ("GET", ["state", kind, key @ ..]) => {
            let key = key.first().copied().unwrap_or_default();
            let content = world.rooms[room]
                .state
                .get(&((*kind).to_owned(), key.to_owned()));
            ("read state", content.map_or_else(not_found, ok))
        }
        ("GET", ["joined_members"]) => ("members", ok(&joined_members(world, room))),
        ("GET", ["members"]) => {
            let mut events = whole_state(world, room);
            if let Some(events) = events.as_array_mut() {
                events.retain(|event| event["type"] == "m.room.member");
            }
            ("members", ok(&json!({"chunk": events})))
        }
        ("GET", ["messages"]) => ("messages", ok(&json!({"chunk": [], "start": "s0"}))),
        _ => ("unknown", unrecognized()),
    }
}

fn elsewhere(
    world: &mut World,
    method: &str,
    parts: &[&str],
    user: &str,
    body: &Value,
) -> (&'static str, Answer) {
    match (method, parts) {
        ("GET", ["client", "versions"]) => {
            let versions = json!({"versions": ["v1.11", "v1.12"], "unstable_features": {}});
            ("versions", ok(&versions))
        }
        ("POST", ["client", _, "register"]) => {
            let localpart = body["username"].as_str().unwrap_or_default();
            (
                "register",
                ok(&json!({"user_id": format!("@{localpart}:a.example")})),
            )
        }
        ("GET", ["client", _, "account", "whoami"]) => ("whoami", ok(&json!({"user_id": user}))),
        ("PUT", ["client", _, "devices", _]) => ("device", Answer::Now(201, "{}".to_owned())),
        ("GET", ["client", _, "devices", ..]) => ("device", ok(&json!({"devices": []}))),
        ("PUT", ["client", _, "profile", ..] | ["client", _, _, "profile", ..]) => {
            ("profile", ok(&json!({})))
        }
        ("GET", ["client", _, "profile", of, ..]) => ("profile", profile(of)),
        ("POST", ["client", _, "join", room]) => {
            if !world.rooms.contains_key(*room) {
                return ("join", not_found());
            }
            world.join(room, user, Some(body));
            ("join", ok(&json!({"room_id": room})))
        }
        ("POST", ["client", _, "createRoom"]) => {
            let id = world.create_room(user, body);
            ("createRoom", ok(&json!({"room_id": id})))
        }
        ("GET", ["client", _, "joined_rooms"]) => {
            let rooms = world.joined.get(user).cloned().unwrap_or_default();
            ("joined_rooms", ok(&json!({"joined_rooms": rooms})))
        }
        ("GET", ["client", _, "capabilities"]) => {
            ("capabilities", ok(&json!({"capabilities": {}})))
        }
        ("POST", ["client", _, "appservice", _, "ping"]) => {
            let id = body["transaction_id"].as_str().unwrap_or_default();
            ("ping", Answer::Ping(id.to_owned()))
        }
        _ => ("unknown", unrecognized()),
    }
}

fn unrecognized() -> Answer {
    let body = json!({"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"});
    Answer::Now(404, body.to_string())
}

fn profile(user: &str) -> Answer {
    let localpart = user.trim_start_matches('@').split(':').next();
    let name = match localpart {
        Some(bob) if bob.starts_with("bob") => bob.replace("bob", "Bob "),
        Some(person) if person.starts_with('u') => person.replace('u', "Person "),
        _ => return not_found(),
    };
    ok(&json!({"displayname": name}))
}

fn media(world: &mut World, method: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("POST" | "PUT", _) => {
            let id = world.event_id();
            let uri = format!("mxc://a.example/{}", id.trim_start_matches('$'));
            ok(&json!({"content_uri": uri}))
        }
        _ => not_found(),
    }
}

fn whole_state(world: &World, room: &str) -> Value {
    world.rooms[room]
        .state
        .iter()
        .map(|((kind, key), content)| {
            let sender = if kind == "m.room.member" { key.as_str() } else { "@bob0:b.example" };
            json!({
                "type": kind, "state_key": key, "content": content, "sender": sender, "room_id": room,
                "event_id": "$state", "origin_server_ts": 1, "unsigned": {},
            })
        })
        .collect()
}

fn joined_members(world: &World, room: &str) -> Value {
    let members: serde_json::Map<_, _> = world.rooms[room]
        .state
        .iter()
        .filter(|((kind, _), content)| kind == "m.room.member" && content["membership"] == "join")
        .map(|((_, user), content)| {
            (
                user.clone(),
                json!({"display_name": content["displayname"]}),
            )
        })
        .collect();
    json!({"joined": members})
}
