//! Tests of the rewriting as its callers see it.

mod attachments;
mod guarding;
mod markup;
mod names;
mod properties;
mod table;

// What the fuzz targets check; here over their corpus and over generated contents.
#[path = "../../../fuzz/checks.rs"]
mod checks;

use serde_json::{Value, json, value::RawValue};

use crate::rewrite::{self, Rewritten, Translations};

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}

fn outbound(event_type: &str, content: &Value, translations: &Translations) -> Rewritten {
    rewrite::outbound(event_type, &raw(content), translations)
}

fn text(body: &str) -> Value {
    json!({"msgtype": "m.text", "body": body})
}

/// The content that is sent for a message.
fn sent(content: &Value) -> Value {
    match outbound("m.room.message", content, &checks::translations()) {
        Rewritten::Send(scrubbed) => serde_json::from_str(scrubbed.content().get()).unwrap(),
        other => panic!("{other:?} for {content}"),
    }
}

/// The HTML that is sent for HTML.
fn sent_html(html: &str) -> String {
    let content = json!({
        "msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": html,
    });
    let sent = sent(&content);
    sent["formatted_body"].as_str().unwrap_or("").to_owned()
}
