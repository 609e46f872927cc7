//! Endpoints: accounts, devices, profiles, and the homeserver itself.

use serde_json::{Map, Value, json};

use super::{
    Keys, Refused,
    serve::{Answer, Req},
    world::World,
};

fn done() -> Result<Answer, Refused> {
    Ok(Answer::Json(json!({})))
}

pub(super) fn register(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let body = req.json()?;
    if body["type"] != "m.login.application_service" {
        return Err(Refused::forbidden("Registration has been disabled"));
    }
    let name = body["username"].as_str().unwrap_or_default();
    let id = format!("@{name}:{}", world.config.server);
    if !world.in_namespace(&id) || ruma::UserId::parse(&id).is_err() {
        return Err(Refused::new(
            400,
            "M_EXCLUSIVE",
            "Invalid user localpart for this application service.",
        ));
    }
    if world.users.contains_key(&id) {
        return Err(Refused::new(400, "M_USER_IN_USE", "User ID already taken."));
    }
    world.users.entry(id.clone()).or_default();
    // Synapse has created the user by then.
    if body["inhibit_login"] != true {
        return Err(Refused::new(
            400,
            "M_APPSERVICE_LOGIN_UNSUPPORTED",
            "inhibit_login must be true",
        ));
    }
    Ok(Answer::Json(json!({ "user_id": id })))
}

pub(super) fn create_device(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    if world.config.keys == Keys::WithoutDevices {
        // As Synapse without MSC4190: there is none that could be renamed.
        return Err(Refused::not_found("No device found"));
    }
    let user = world.users.entry(req.user.clone()).or_default();
    let new = user.devices.insert(req.args[0].clone());
    Ok(Answer::Status(if new { 201 } else { 200 }, json!({})))
}

pub(super) fn delete_device(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    world.delete_device(&req.user, &req.args[0]);
    done()
}

pub(super) fn whoami(_world: &mut World, req: &Req) -> Result<Answer, Refused> {
    Ok(Answer::Json(
        json!({ "user_id": req.user, "device_id": req.device, "is_guest": false }),
    ))
}

pub(super) fn profile(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let user = world.users.get(&req.args[0]);
    let user = user.ok_or_else(|| Refused::not_found("Profile was not found"))?;
    match req.args.get(1) {
        None => Ok(Answer::Json(Value::Object(user.profile.clone()))),
        Some(field) => match user.profile.get(field) {
            Some(value) => Ok(Answer::Json(Value::Object(Map::from_iter([(
                field.clone(),
                value.clone(),
            )])))),
            None => Err(Refused::not_found("Field was not found")),
        },
    }
}

pub(super) fn set_profile(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let (user, field) = (&req.args[0], &req.args[1]);
    if *user != req.user {
        return Err(Refused::forbidden("Cannot set another user's profile"));
    }
    let body = req.json()?;
    let value = body
        .get(field)
        .ok_or_else(|| Refused::new(400, "M_MISSING_PARAM", format!("Missing key '{field}'")))?;
    world.set_profile(user, field, value.clone());
    done()
}

impl World {
    /// Sets a profile field. Name and avatar are written into every member event, which loses what else
    /// stood there.
    pub(super) fn set_profile(&mut self, user: &str, field: &str, value: Value) {
        let account = self.users.entry(user.to_owned()).or_default();
        if value.is_null() || value == "" {
            account.profile.remove(field);
        } else {
            account.profile.insert(field.to_owned(), value);
        }
        if !matches!(field, "displayname" | "avatar_url") {
            return;
        }
        let mut rooms: Vec<String> = self
            .rooms
            .iter()
            .filter(|(_, room)| room.membership(user) == "join")
            .map(|(id, _)| id.clone())
            .collect();
        rooms.sort();
        for room in rooms {
            let _ = self.set_membership(&room, user, user, "join", json!({}));
        }
    }
}

pub(super) fn versions(_world: &mut World, _req: &Req) -> Result<Answer, Refused> {
    Ok(Answer::Json(json!({
        "versions": ["r0.6.1", "v1.1", "v1.11", "v1.12", "v1.16"],
        "unstable_features": {"org.matrix.msc3266": true, "uk.tcpip.msc4133": true},
    })))
}
