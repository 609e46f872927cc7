//! Endpoints: sending, redacting, receipts, history.

use serde_json::{Value, json};

use super::{
    Receipt, Refused,
    serve::{Answer, Req},
    world::{New, World},
};

const LARGEST_EVENT: usize = 65_000;

impl World {
    /// Sends an event where the room's rules allow it.
    pub(super) fn send_event(&mut self, new: New<'_>) -> Result<String, Refused> {
        if new.kind.len() > 255 || new.content.to_string().len() > LARGEST_EVENT {
            return Err(Refused::new(413, "M_TOO_LARGE", "event too large"));
        }
        if !new.content.is_object() {
            return Err(Refused::bad("Content must be a JSON object."));
        }
        if new.kind == "m.room.member" {
            let target = new.key.unwrap_or_default();
            let membership = new.content["membership"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            return self.set_membership(new.room, new.sender, target, &membership, new.content);
        }
        let room = self.room_of(new.room, new.sender)?;
        let foreign = new
            .key
            .is_some_and(|key| key.starts_with('@') && key != new.sender);
        if foreign || room.level(new.sender) < room.needed_to_send(new.kind, new.key.is_some()) {
            return Err(Refused::forbidden(format!(
                "You don't have permission to post {} to the room.",
                new.kind
            )));
        }
        Ok(if new.key.is_some() {
            self.put_state(new)
        } else {
            self.append(new)
        })
    }

    /// Redacts an event; one that is not known is redacted in vain.
    pub(super) fn redact(
        &mut self,
        room: &str,
        sender: &str,
        target: &str,
        content: Value,
    ) -> Result<String, Refused> {
        let here = self.room_of(room, sender)?;
        let own = match self.by_id.get(target) {
            Some((other, _)) if other != room => {
                return Err(Refused::not_found("Event not found in this room"));
            }
            Some((_, place)) => here.events[*place]["sender"] == sender,
            None => true,
        };
        if !own && here.level(sender) < here.needed("redact") {
            return Err(Refused::forbidden("You don't have permission to redact"));
        }
        let content = if content.is_object() {
            content
        } else {
            json!({})
        };
        Ok(self.append(New {
            room,
            sender,
            kind: "m.room.redaction",
            key: None,
            content,
            ts: None,
            redacts: Some(target),
        }))
    }

    /// Does something once per transaction id, by both of Synapse's memories: one by path alone (two
    /// ghosts in one room share it!), one by user and device.
    fn once(
        &mut self,
        req: &Req,
        txn_id: &str,
        act: impl FnOnce(&mut Self) -> Result<String, Refused>,
    ) -> Result<Answer, Refused> {
        if !self.config.deduplicate {
            return Ok(Answer::Json(json!({ "event_id": act(self)? })));
        }
        if let Some(sent) = self.sent_by_path.get(&req.path) {
            return Ok(Answer::Json(sent.clone()));
        }
        let key = req.device.as_ref().map(|device| {
            [&req.args[0], &req.user, device, txn_id].map(|part: &str| part.to_owned())
        });
        let known = key.as_ref().and_then(|key| self.sent_by_device.get(key));
        let id = match known {
            Some(id) => id.clone(),
            None => act(self)?,
        };
        if let Some(key) = key {
            let [_, user, device, txn_id] = key.clone();
            self.sent_as
                .entry(id.clone())
                .or_insert([user, device, txn_id]);
            self.sent_by_device.insert(key, id.clone());
        }
        let answer = json!({ "event_id": id });
        self.sent_by_path.insert(req.path.clone(), answer.clone());
        Ok(Answer::Json(answer))
    }
}

pub(super) fn send(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let content = req.json()?;
    let ts = req.query("ts").and_then(|ts| ts.parse().ok());
    world.once(req, &req.args[2], |world| {
        world.send_event(New {
            room: &req.args[0],
            sender: &req.user,
            kind: &req.args[1],
            key: None,
            content,
            ts,
            redacts: None,
        })
    })
}

pub(super) fn send_state(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let id = world.send_event(New {
        room: &req.args[0],
        sender: &req.user,
        kind: &req.args[1],
        key: Some(req.args.get(2).map_or("", String::as_str)),
        content: req.json()?,
        ts: None,
        redacts: None,
    })?;
    Ok(Answer::Json(json!({ "event_id": id })))
}

pub(super) fn redact(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let content = req.json()?;
    world.once(req, &req.args[2], |world| {
        world.redact(&req.args[0], &req.user, &req.args[1], content)
    })
}

pub(super) fn receipt(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let [room, kind, event] = [0, 1, 2].map(|at| req.args[at].clone());
    world.room_of(&room, &req.user)?;
    world.receipts.push(Receipt {
        room,
        user: req.user.clone(),
        event,
        kind,
    });
    Ok(Answer::Json(json!({})))
}

/// Pages are cut at places in the room's order: the token `t7` means the events before place 7.
pub(super) fn messages(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let room = world
        .rooms
        .get(&req.args[0])
        .filter(|room| room.members.contains_key(&req.user))
        .ok_or_else(|| Refused::forbidden("You are not in this room"))?;
    let invalid = || Refused::new(400, "M_INVALID_PARAM", "from is invalid");
    let from = match req.query("from") {
        Some(token) => token
            .strip_prefix('t')
            .and_then(|place| place.parse::<usize>().ok())
            .ok_or_else(invalid)?
            .min(room.events.len()),
        None => room.events.len(),
    };
    // The device that sent an event, and no other, is shown its transaction id.
    let shown = |event: &std::sync::Arc<Value>| {
        let mut event = (**event).clone();
        let sent = event["event_id"]
            .as_str()
            .and_then(|id| world.sent_as.get(id));
        if let Some([user, device, txn_id]) = sent
            && *user == req.user
            && Some(device) == req.device.as_ref()
        {
            event["unsigned"]["transaction_id"] = json!(txn_id);
        }
        event
    };
    let limit = req.query("limit").and_then(|text| text.parse().ok());
    let limit: usize = limit.unwrap_or(10).min(1000);
    let mut answer = if req.query("dir") == Some("f") {
        let from = if req.query("from").is_some() { from } else { 0 };
        let to = (from + limit).min(room.events.len());
        let chunk: Vec<Value> = room.events[from..to].iter().map(shown).collect();
        json!({"chunk": chunk, "start": format!("t{from}"), "end": (to < room.events.len()).then(|| format!("t{to}"))})
    } else {
        let to = from.saturating_sub(limit);
        let chunk: Vec<Value> = room.events[to..from].iter().rev().map(shown).collect();
        json!({"chunk": chunk, "start": format!("t{from}"), "end": (to > 0).then(|| format!("t{to}"))})
    };
    if answer["end"].is_null() {
        answer.as_object_mut().unwrap().remove("end");
    }
    Ok(Answer::Json(answer))
}

pub(super) fn event(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let room = world.room_of(&req.args[0], &req.user)?;
    match world.by_id.get(&req.args[1]) {
        Some((other, place)) if *other == req.args[0] => {
            Ok(Answer::Json((*room.events[*place]).clone()))
        }
        _ => Err(Refused::not_found("Event not found.")),
    }
}
