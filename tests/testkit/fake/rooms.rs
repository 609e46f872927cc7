//! Endpoints: rooms and who is in them.

use serde_json::{Map, Value, json};

use super::{
    Refused,
    serve::{Answer, Req},
    world::World,
};

fn done() -> Result<Answer, Refused> {
    Ok(Answer::Json(json!({})))
}

pub(super) fn create_room(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let id = world.create_room(&req.user, &req.json()?)?;
    Ok(Answer::Json(json!({ "room_id": id })))
}

/// Joins; the body's fields are copied into the member event, as Synapse does.
pub(super) fn join(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    enter(world, req, "join")
}

pub(super) fn knock(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    enter(world, req, "knock")
}

fn enter(world: &mut World, req: &Req, membership: &str) -> Result<Answer, Refused> {
    let room = world
        .resolve(&req.args[0])
        .ok_or_else(|| Refused::not_found("Room alias not found"))?;
    world.set_membership(&room, &req.user, &req.user, membership, req.json()?)?;
    Ok(Answer::Json(json!({ "room_id": room })))
}

pub(super) fn leave(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let room = &req.args[0];
    // Who has left once may leave again.
    let left = world
        .rooms
        .get(room)
        .and_then(|room| room.members.get(&req.user));
    if left.is_none_or(|membership| membership != "leave") {
        world.set_membership(room, &req.user, &req.user, "leave", reason(&req.json()?))?;
    }
    done()
}

pub(super) fn invite(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    other(world, req, "invite")
}

pub(super) fn kick(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    other(world, req, "leave")
}

pub(super) fn ban(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    other(world, req, "ban")
}

fn other(world: &mut World, req: &Req, membership: &str) -> Result<Answer, Refused> {
    let body = req.json()?;
    let target = body["user_id"]
        .as_str()
        .filter(|id| ruma::UserId::parse(*id).is_ok())
        .ok_or_else(|| Refused::new(400, "M_INVALID_PARAM", "Invalid user_id"))?;
    world.set_membership(&req.args[0], &req.user, target, membership, reason(&body))?;
    done()
}

fn reason(body: &Value) -> Value {
    match body.get("reason") {
        Some(reason) => json!({ "reason": reason }),
        None => json!({}),
    }
}

pub(super) fn joined_rooms(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let mut rooms: Vec<&String> = world
        .rooms
        .iter()
        .filter(|(_, room)| room.membership(&req.user) == "join")
        .map(|(id, _)| id)
        .collect();
    rooms.sort();
    Ok(Answer::Json(json!({ "joined_rooms": rooms })))
}

pub(super) fn joined_members(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let room = world.room_of(&req.args[0], &req.user)?;
    let mut joined = Map::new();
    for user in room.joined() {
        let content = room.state("m.room.member", user);
        let field = |name: &str| content.map_or(Value::Null, |content| content[name].clone());
        joined.insert(
            user.to_owned(),
            json!({"display_name": field("displayname"), "avatar_url": field("avatar_url")}),
        );
    }
    Ok(Answer::Json(json!({ "joined": joined })))
}

/// Whoever did not leave.
pub(super) fn members(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let room = world.room_of(&req.args[0], &req.user)?;
    let here = |event: &&Value| {
        event["type"] == "m.room.member" && event["content"]["membership"] != "leave"
    };
    let chunk: Vec<_> = room.all_state().filter(here).cloned().collect();
    Ok(Answer::Json(json!({ "chunk": chunk })))
}

pub(super) fn state(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let room = world.room_of(&req.args[0], &req.user)?;
    Ok(Answer::Json(room.all_state().cloned().collect()))
}

pub(super) fn state_event(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    // Who has left still sees the state.
    let room = world
        .rooms
        .get(&req.args[0])
        .filter(|room| {
            let membership = room.members.get(&req.user).map(String::as_str);
            matches!(membership, Some("join" | "leave" | "ban"))
        })
        .ok_or_else(|| Refused::forbidden("You are not in this room"))?;
    let key = req.args.get(2).map_or("", String::as_str);
    room.state(&req.args[1], key)
        .map(|content| Answer::Json(content.clone()))
        .ok_or_else(|| Refused::not_found("Event not found."))
}

pub(super) fn resolve_alias(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let room = world
        .aliases
        .get(&req.args[0])
        .ok_or_else(|| Refused::not_found("Room alias not found"))?;
    let mut servers: Vec<&str> = world.rooms[room]
        .joined()
        .filter_map(|user| user.split_once(':').map(|(_, server)| server))
        .collect();
    servers.sort_unstable();
    servers.dedup();
    Ok(Answer::Json(json!({ "room_id": room, "servers": servers })))
}

/// MSC3266.
pub(super) fn summary(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let unknown = || Refused::not_found("Room not found");
    let id = world.resolve(&req.args[0]).ok_or_else(unknown)?;
    let room = world.rooms.get(&id).ok_or_else(unknown)?;
    let membership = room.membership(&req.user);
    let open = matches!(
        room.join_rule(),
        "public" | "knock" | "knock_restricted" | "restricted"
    );
    if !open && !matches!(membership, "join" | "invite") {
        return Err(unknown());
    }
    let named = |kind: &str, field: &str| {
        room.state(kind, "")
            .map_or(Value::Null, |content| content[field].clone())
    };
    Ok(Answer::Json(json!({
        "room_id": id,
        "name": named("m.room.name", "name"),
        "topic": named("m.room.topic", "topic"),
        "avatar_url": named("m.room.avatar", "url"),
        "canonical_alias": named("m.room.canonical_alias", "alias"),
        "join_rule": room.join_rule(),
        "membership": membership,
        "num_joined_members": room.joined().count(),
        "room_version": room.version,
        "encryption": named("m.room.encryption", "algorithm"),
        "world_readable": false,
        "guest_can_join": false,
    })))
}
