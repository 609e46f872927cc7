//! What people say, and what they refer to.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    check,
    fake::world::World,
    operation::How,
    story::{Story, pick_of},
};

impl Story {
    /// Somebody says something. Every text and every reaction is said only once.
    pub fn speak(&mut self, who: &str, room: &str, how: How, pick: u64, label: &str) {
        self.said += 1;
        let label = format!("{label}{}", self.said);
        let target = self.fake.look(|world| target(world, who, room, how, pick));
        let text = |text: &str| json!({"msgtype": "m.text", "body": text});
        if matches!(how, How::Text | How::Notice) || target.is_none() {
            let mut content = text(&label);
            if how == How::Notice {
                content["msgtype"] = "m.notice".into();
            }
            let _ = self.fake.say(who, room, content);
            return;
        }
        let target = target.unwrap();
        let mut content = text(&label);
        match how {
            How::Edit => {
                content["body"] = format!("* {label}").into();
                content["m.new_content"] = text(&label);
                content["m.relates_to"] = json!({"rel_type": "m.replace", "event_id": target});
            }
            How::Reply => {
                content["m.relates_to"] = json!({"m.in_reply_to": {"event_id": target}});
            }
            How::Thread => {
                content["m.relates_to"] = json!({"rel_type": "m.thread", "event_id": target});
            }
            How::React => {
                let relation =
                    json!({"rel_type": "m.annotation", "event_id": target, "key": label});
                let content = json!({"m.relates_to": relation});
                let _ = self.fake.send(who, room, "m.reaction", content);
                return;
            }
            How::Redact => {
                let _ = self.fake.redact(who, room, target);
                return;
            }
            How::Text | How::Notice => {}
        }
        let _ = self.fake.say(who, room, content);
    }
}

/// A message to refer to: one's own where that is needed, and none that refers to another.
fn target(world: &World, who: &str, room: &str, how: How, pick: u64) -> Option<String> {
    let own = matches!(how, How::Edit | How::Redact);
    let fits = |event: &&Arc<Value>| {
        let sender = check::text(&event["sender"]);
        let body = check::text(&event["content"]["body"]);
        event["type"] == "m.room.message"
            && !body.is_empty()
            && !body.starts_with("!vizard")
            && event["content"].get("m.relates_to").is_none()
            && !sender.starts_with("@_vizard_p_")
            && (!own || sender == who)
    };
    let found: Vec<&Arc<Value>> = world.rooms[room].events.iter().filter(fits).collect();
    pick_of(&found, pick).map(|event| check::text(&event["event_id"]).to_owned())
}
