//! What hosts and the bot say, and the ghost's own member event.
//!
//! The texts come from Vizard, so they do not pass the rewriting; whoever puts foreign words into them
//! uses [`super::clean_name`] and [`super::escape_html`].

use ruma::EventId;
use serde::Serialize;
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use super::{Copied, Location, Scrubbed, message, text, text::escape_html};

impl Scrubbed {
    /// Serializes a typed content.
    pub(super) fn of(event_type: &str, content: &impl Serialize) -> Option<Self> {
        Some(Self {
            event_type: event_type.to_owned(),
            content: to_raw_value(content).ok()?,
            public: false,
        })
    }

    pub(super) fn made(event_type: &str, content: &Value) -> Self {
        Self {
            event_type: event_type.to_owned(),
            // A `Value` always serializes.
            content: to_raw_value(content).unwrap_or_else(|_| RawValue::NULL.to_owned()),
            public: false,
        }
    }

    /// An `m.notice`. What stands between backticks is shown as code; nothing else in it is markup.
    #[must_use]
    pub fn notice(text: &str) -> Self {
        if text.matches('`').nth(1).is_some() {
            return Self::notice_html(text, &code_spans(text));
        }
        let content = json!({
            "msgtype": "m.notice",
            "body": text::clean(text),
            "m.mentions": {},
        });
        Self::made(message::TYPE, &content)
    }

    /// A notice that is said in clear even where everything else is encrypted: that there is no encryption any more. It
    /// tells servers nothing, because its text is fixed.
    #[must_use]
    pub fn public(text: &'static str) -> Self {
        Self {
            public: true,
            ..Self::notice(text)
        }
    }

    /// An `m.notice` of plain text and HTML made by Vizard itself.
    #[must_use]
    pub fn notice_html(text: &str, html: &str) -> Self {
        let content = json!({
            "msgtype": "m.notice",
            "body": text::clean(text),
            "format": super::content::HTML_FORMAT,
            "formatted_body": text::clean(html),
            "m.mentions": {},
        });
        Self::made(message::TYPE, &content)
    }

    /// A picture that was copied and encrypted; `None` where it was not.
    #[must_use]
    pub fn picture(name: &'static str, copy: &Copied) -> Option<Self> {
        let Location::Encrypted(file) = &copy.location else {
            return None;
        };
        let content = json!({
            "msgtype": "m.image",
            "body": name,
            "file": file,
            "info": {"mimetype": copy.kind.mime(), "size": copy.size},
            "m.mentions": {},
        });
        Some(Self::made(message::TYPE, &content))
    }

    /// The notice as a reply to `event`.
    #[must_use]
    pub fn in_reply_to(self, event: &EventId) -> Self {
        self.with(|content| {
            content["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": event } });
        })
    }

    /// The notice as an edit of `event`. A relation that it had goes: an edit cannot have another.
    #[must_use]
    pub fn replacing(self, event: &EventId) -> Self {
        self.with(|content| {
            if let Some(fields) = content.as_object_mut() {
                fields.remove("m.relates_to");
            }
            let new = content.clone();
            for key in ["body", "formatted_body"] {
                if let Some(text) = new[key].as_str() {
                    content[key] = Value::String(format!("* {text}"));
                }
            }
            content["m.new_content"] = new;
            content["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": event });
        })
    }

    /// Whether it is an edit of another message.
    #[must_use]
    pub fn is_edit(&self) -> bool {
        let content = serde_json::from_str::<Value>(self.content.get());
        content.is_ok_and(|content| content["m.relates_to"]["rel_type"] == "m.replace")
    }

    /// The text with a mark before it.
    #[must_use]
    pub fn marked(self, mark: &str) -> Self {
        let put = |content: &mut Value| {
            for key in ["body", "formatted_body"] {
                if let Some(text) = content[key].as_str() {
                    content[key] = Value::String(format!("{mark} {text}"));
                }
            }
        };
        self.with(|content| {
            put(content);
            if content["m.new_content"].is_object() {
                put(&mut content["m.new_content"]);
            }
        })
    }

    fn with(self, change: impl FnOnce(&mut Value)) -> Self {
        let Ok(mut content) = serde_json::from_str::<Value>(self.content.get()) else {
            return self;
        };
        if content.is_object() {
            change(&mut content);
        }
        Self {
            public: self.public,
            ..Self::made(&self.event_type, &content)
        }
    }

    /// A ghost's member event, whole: display name and mapping.
    #[must_use]
    pub fn ghost_member(displayname: &str, mapping: &Value) -> Self {
        let content = json!({
            "membership": "join",
            "displayname": text::clean_name(displayname),
            "org.matrix.msc4014.mxid_mapping": mapping,
        });
        Self::made("m.room.member", &content)
    }

    /// The plain text, if it has one: `body`, of an edit the new one.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let content = serde_json::from_str::<Value>(self.content.get()).ok()?;
        let body = content["m.new_content"]["body"]
            .as_str()
            .or_else(|| content["body"].as_str())?;
        Some(body.to_owned())
    }
}

/// Text as HTML in which what stands between backticks is code, and line breaks are kept.
#[must_use]
pub fn code_spans(text: &str) -> String {
    let pieces: Vec<_> = text.split('`').collect();
    // An odd backtick at the end opens nothing.
    let unpaired = pieces.len() % 2 == 0;
    let mut html = String::with_capacity(text.len() + 32);
    for (index, piece) in pieces.iter().enumerate() {
        let piece = escape_html(piece).replace('\n', "<br>");
        let last = index + 1 == pieces.len();
        match (index % 2 == 1, last && unpaired) {
            (true, false) => html.extend(["<code>", &piece, "</code>"]),
            (true, true) => html.extend(["`", &piece]),
            (false, _) => html.push_str(&piece),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use ruma::event_id;

    use super::*;

    fn value(scrubbed: &Scrubbed) -> Value {
        serde_json::from_str(scrubbed.content().get()).unwrap()
    }

    #[test]
    fn notices() {
        let public = Scrubbed::public("hi").in_reply_to(event_id!("$e"));
        assert!(!public.is_secret() && Scrubbed::notice("hi").is_secret());
        let notice = Scrubbed::notice("hi\0");
        assert_eq!(notice.event_type(), "m.room.message");
        let expected = json!({"msgtype": "m.notice", "body": "hi", "m.mentions": {}});
        assert_eq!(value(&notice), expected);
        assert_eq!(notice.text().as_deref(), Some("hi"));

        let reply = value(&notice.in_reply_to(event_id!("$e")));
        assert_eq!(
            reply["m.relates_to"],
            json!({"m.in_reply_to": {"event_id": "$e"}})
        );
    }

    #[test]
    fn commands_in_notices_are_code() {
        let notice = value(&Scrubbed::notice("<Say> `a & b`,\nor `c`, not `"));
        assert_eq!(notice["body"], "<Say> `a & b`,\nor `c`, not `");
        assert_eq!(
            notice["formatted_body"],
            "&lt;Say&gt; <code>a &amp; b</code>,<br>or <code>c</code>, not `"
        );
        let one = value(&Scrubbed::notice("one ` <b>"));
        assert_eq!(one["formatted_body"], json!(null));
    }

    #[test]
    fn an_edit_of_a_notice_says_it_twice() {
        let edit = Scrubbed::notice_html("a", "<b>a</b>")
            .in_reply_to(event_id!("$x"))
            .replacing(event_id!("$e"));
        let new = json!({
            "msgtype": "m.notice", "body": "a", "format": "org.matrix.custom.html",
            "formatted_body": "<b>a</b>", "m.mentions": {},
        });
        let mut expected = new.clone();
        expected["body"] = json!("* a");
        expected["formatted_body"] = json!("* <b>a</b>");
        expected["m.new_content"] = new;
        expected["m.relates_to"] = json!({"rel_type": "m.replace", "event_id": "$e"});
        assert_eq!(value(&edit), expected);
        assert!(edit.is_edit() && !Scrubbed::notice("a").in_reply_to(event_id!("$e")).is_edit());
        assert_eq!(edit.text().as_deref(), Some("a"));
    }

    #[test]
    fn a_mark_stands_before_every_text() {
        let marked = |content: Scrubbed| value(&content.marked("⚠"));
        let plain = marked(Scrubbed::notice("a"));
        assert_eq!(plain["body"], "⚠ a");
        assert_eq!(plain["formatted_body"], json!(null));
        let html = marked(Scrubbed::notice_html("a", "<b>a</b>"));
        assert_eq!(html["body"], "⚠ a");
        assert_eq!(html["formatted_body"], "⚠ <b>a</b>");

        let edit = Scrubbed::notice_html("a", "<b>a</b>").replacing(event_id!("$e"));
        let relation = value(&edit)["m.relates_to"].clone();
        let edit = marked(edit);
        assert_eq!(edit["body"], "⚠ * a");
        assert_eq!(edit["m.new_content"]["body"], "⚠ a");
        assert_eq!(edit["m.new_content"]["formatted_body"], "⚠ <b>a</b>");
        assert_eq!(edit["m.relates_to"], relation);

        // Nothing to mark, and nothing changed.
        let reaction = Scrubbed::made("m.reaction", &json!({"a": 1}));
        assert_eq!(marked(reaction), json!({"a": 1}));
    }

    #[test]
    fn a_member_event_is_whole() {
        let mapping = json!({"type": "mxid_mapping"});
        let member = Scrubbed::ghost_member("Quiet Heron", &mapping);
        let expected = json!({
            "membership": "join", "displayname": "Quiet Heron",
            "org.matrix.msc4014.mxid_mapping": mapping,
        });
        assert_eq!(value(&member), expected);
    }
}
