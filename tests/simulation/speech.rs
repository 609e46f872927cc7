//! What people say, and what they refer to.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    check,
    fake::world::World,
    operation::How,
    story::{Story, USERS, pick_of},
};

impl Story {
    /// Somebody says something. Every text and every reaction is said only once.
    pub fn speak(&mut self, who: &str, room: &str, how: How, pick: u64, label: &str) {
        self.said += 1;
        let label = format!("{label}{}", self.said);
        let text = |text: &str| json!({"msgtype": "m.text", "body": text});
        match how {
            How::File => return self.show(who, room, &label),
            How::Telling if USERS.iter().any(|(user, _)| *user == who) => {
                return self.tell(who, room, &label, pick);
            }
            _ => {}
        }
        let target = self.fake.look(|world| target(world, who, room, how, pick));
        if matches!(how, How::Text | How::Notice | How::Telling) || target.is_none() {
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
            How::Text | How::Notice | How::File | How::Telling => {}
        }
        let _ = self.fake.say(who, room, content);
    }

    /// Somebody shows a picture, whose name and whose comment tell something.
    fn show(&self, who: &str, room: &str, label: &str) {
        let server = who.split_once(':').unwrap().1;
        let mxc = format!("mxc://{server}/{label}");
        self.fake.put_media(&mxc, picture(label), "image/gif");
        let content = json!({
            "msgtype": "m.image", "body": label, "filename": format!("of {}.gif", &who[1..]),
            "url": mxc, "info": {"mimetype": "image/gif"},
        });
        let _ = self.fake.say(who, room, content);
    }

    /// A user names themselves, and decides about it, or not.
    fn tell(&self, who: &str, room: &str, label: &str, pick: u64) {
        let localpart = who[1..].split_once(':').unwrap().0;
        let body = format!("{label} {localpart}");
        let Ok(told) = self.fake.text(who, room, &body) else {
            return;
        };
        if let Some(word) = pick_of(&["send", "discard", ""], pick).filter(|word| !word.is_empty())
        {
            let relation = json!({"m.in_reply_to": {"event_id": told}});
            let content = json!({"msgtype": "m.text", "body": word, "m.relates_to": relation});
            let _ = self.fake.say(who, room, content);
        }
    }
}

/// What stands in a picture besides.
pub const PLANTED: &str = "taken at home";

/// What tells a picture from all others.
pub fn mark(label: &str) -> String {
    format!("<{label}>")
}

/// A GIF, as far as Vizard looks into one.
fn picture(label: &str) -> Vec<u8> {
    let mut file = b"GIF89a\x01\0\x01\0\0\0\0".to_vec();
    let mut block = |head: &[u8], data: &str| {
        file.extend(head);
        file.push(u8::try_from(data.len()).unwrap());
        file.extend(data.as_bytes());
        file.push(0);
    };
    block(b"\x21\xfe", PLANTED);
    block(b"\x2c\0\0\0\0\x01\0\x01\0\0\x02", &mark(label));
    file.push(0x3b);
    file
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
            // Of what waits for a word, nothing can be known; but it may be taken back.
            && (how == How::Redact || sender != who || !check::names_a_user(body))
    };
    let found: Vec<&Arc<Value>> = world.rooms[room].events.iter().filter(fits).collect();
    pick_of(&found, pick).map(|event| check::text(&event["event_id"]).to_owned())
}
