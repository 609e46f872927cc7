//! Contents of messages, as stock clients make them.

use serde_json::{Value, json};

/// The edit that replaces the text of a message.
pub fn edit(event: &str, body: &str) -> Value {
    json!({
        "msgtype": "m.text", "body": format!("* {body}"),
        "m.new_content": {"msgtype": "m.text", "body": body},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    })
}

/// A reaction to a message.
pub fn reaction(event: &str, key: &str) -> Value {
    json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": key}})
}
