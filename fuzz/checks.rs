//! What must hold of the rewriting for any input, however absurd. Used by the fuzz targets, by the test
//! that runs their corpus, and by the property tests; whoever includes this file has `rewrite` in scope.

use std::collections::HashMap;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde_json::{Value, json, value::RawValue};

use super::rewrite::{
    self, Attachment, Copied, GuardWords, Location, Person, Placed, Rewritten, Scrubbed,
    Translations,
};

/// The portal is `!portal:a.example`, the room `!room:b.example`; Bob has a mirror; the event `$here` and the
/// event `$root` are known.
pub fn translations() -> Translations {
    let bob = Person {
        id: user("@bob:b.example"),
        name: "Bob".to_owned(),
    };
    Translations {
        events: HashMap::from([
            (event("$here"), event("$there")),
            (event("$root"), event("$root-there")),
        ]),
        users: HashMap::from([(user("@_vizard_m_bob:a.example"), bob)]),
        rooms: Some((room("!portal:a.example"), room("!room:b.example"))),
    }
}

fn user(id: &str) -> OwnedUserId {
    OwnedUserId::try_from(id).expect("a user id")
}

fn event(id: &str) -> OwnedEventId {
    OwnedEventId::try_from(id).expect("an event id")
}

fn room(id: &str) -> OwnedRoomId {
    OwnedRoomId::try_from(id).expect("a room id")
}

/// Any text as HTML of a message.
pub fn html(html: &str) {
    let content = json!({
        "msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": html,
    });
    contents(&content.to_string(), rewrite::outbound);
}

/// Any JSON as content, outbound.
pub fn outbound(json: &str) {
    contents(json, rewrite::outbound);
}

/// Any JSON as content, inbound.
pub fn inbound(json: &str) {
    contents(json, rewrite::inbound);
}

/// Any JSON as content: the references are bounded, and hold all that a rewriting asks for.
pub fn references(json: &str) {
    let Ok(content) = RawValue::from_string(json.to_owned()) else {
        return;
    };
    for event_type in TYPES {
        let references = rewrite::references(event_type, &content);
        assert!(references.events.len() <= 100 && references.users.len() <= 100);
        // With what was asked for, everything is translated that can be. (Behind tags that are dropped an id
        // may come together that is not one before: it stays as it is, for the guard.)
        if !json.contains('<') && references.events.len() < 100 && references.users.len() < 100 {
            let all = translations();
            let asked = Translations {
                events: all
                    .events
                    .clone()
                    .into_iter()
                    .filter(|(id, _)| references.events.contains(id))
                    .collect(),
                users: all
                    .users
                    .clone()
                    .into_iter()
                    .filter(|(id, _)| references.users.contains(id))
                    .collect(),
                rooms: all.rooms.clone(),
            };
            let sent = |translations: &Translations| {
                let rewritten = rewrite::outbound(event_type, &content, translations);
                format!("{rewritten:?}")
            };
            assert_eq!(sent(&asked), sent(&all), "{json}");
        }
    }
}

const TYPES: [&str; 4] = [
    "m.room.message",
    "m.reaction",
    "m.sticker",
    "org.example.unknown",
];

fn contents(json: &str, rewrite: fn(&str, &RawValue, &Translations) -> Rewritten) {
    let Ok(content) = RawValue::from_string(json.to_owned()) else {
        return;
    };
    for event_type in TYPES {
        match rewrite(event_type, &content, &translations()) {
            Rewritten::Send(scrubbed) => sent(&scrubbed),
            Rewritten::Media(attachment) => media(&attachment),
            Rewritten::Unsupported(name) => assert!(name.len() <= 500, "{name}"),
            Rewritten::Refused(_) | Rewritten::Unknown(_) | Rewritten::Nothing => {}
        }
    }
}

/// An attachment: with its copies in place, nothing of the old places is left.
fn media(attachment: &Attachment) {
    let copy = || Copied {
        location: Location::Plain("mxc://new.example/copy".into()),
        kind: attachment.claimed(),
        size: 7,
    };
    let placed = Placed {
        file: copy(),
        thumbnail: attachment.thumbnail().map(|_| copy()),
    };
    let scrubbed = attachment.place(&placed).expect("content");
    let json = scrubbed.content().get();
    assert!(json.len() <= 60_000, "{} bytes", json.len());
    let rest = json.replace("\"mxc://new.example/copy\"", "");
    assert!(!rest.to_ascii_lowercase().contains("mxc://"), "{json}");
    let value: Value = serde_json::from_str(json).expect("JSON");
    carried(&value, true);
    if let Some(new) = value.get("m.new_content") {
        carried(new, false);
    }
    relation(&value);
    let _ = attachment.words().map(|words| sent(&words));
}

fn carried(value: &Value, whole: bool) {
    let mut keys = vec![
        "msgtype",
        "body",
        "filename",
        "format",
        "formatted_body",
        "url",
        "info",
        "m.mentions",
        "org.matrix.msc3245.voice",
        "org.matrix.msc1767.audio",
    ];
    if whole {
        keys.extend(["m.relates_to", "m.new_content"]);
    }
    object(value, &keys);
    words(value);
    let numbers = ["w", "h", "duration", "size", "mimetype"];
    let info = &value["info"];
    object(
        info,
        &[&numbers[..], &["thumbnail_url", "thumbnail_info"]].concat(),
    );
    if let Some(info) = info.get("thumbnail_info") {
        object(info, &numbers);
    }
    if let Some(name) = value.get("filename").and_then(Value::as_str) {
        assert!(
            ["image.", "audio.", "video.", "file."]
                .iter()
                .any(|stem| name.starts_with(stem))
        );
    }
}

/// Checks a content that is sent against the allow-list, written down a second time and in another way.
pub fn sent(scrubbed: &Scrubbed) {
    let json = scrubbed.content().get();
    assert!(json.len() <= 60_000, "{} bytes", json.len());
    assert!(!json.to_ascii_lowercase().contains("mxc://"), "{json}");
    let value: Value = serde_json::from_str(json).expect("JSON");
    object(
        &value,
        &[
            "msgtype",
            "body",
            "format",
            "formatted_body",
            "m.mentions",
            "m.relates_to",
            "m.new_content",
        ],
    );
    words(&value);
    if let Some(new) = value.get("m.new_content") {
        object(
            new,
            &["msgtype", "body", "format", "formatted_body", "m.mentions"],
        );
        words(new);
    }
    relation(&value);
    // The guard reads it too, without a panic.
    let words = GuardWords {
        words: vec!["alice".to_owned(), String::new(), "\u{300}".to_owned()],
        ids: vec!["!secret:a.example".to_owned(), String::new()],
    };
    let _ = rewrite::guard(scrubbed, &words);
    // What of an id is left, because it is none any more, the guard finds wherever it stands.
    let ours = GuardWords {
        words: Vec::new(),
        ids: vec!["_vizard_".to_owned()],
    };
    assert!(
        !json.contains("_vizard_") || rewrite::guard(scrubbed, &ours).is_some(),
        "{json}"
    );
}

fn relation(value: &Value) {
    if let Some(relation) = value.get("m.relates_to") {
        object(
            relation,
            &[
                "rel_type",
                "event_id",
                "key",
                "is_falling_back",
                "m.in_reply_to",
            ],
        );
        event_id(relation.get("event_id"));
        if let Some(reply) = relation.get("m.in_reply_to") {
            object(reply, &["event_id"]);
            event_id(reply.get("event_id"));
        }
    }
}

fn words(value: &Value) {
    for key in ["body", "formatted_body"] {
        if let Some(text) = value.get(key) {
            let text = text.as_str().expect("a string");
            let is_clean = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
            assert!(text.chars().all(is_clean), "{text:?}");
        }
    }
    if let Some(mentions) = value.get("m.mentions") {
        object(mentions, &["user_ids", "room"]);
        for user in mentions["user_ids"].as_array().into_iter().flatten() {
            assert_eq!(user, "@bob:b.example");
        }
    }
    if let Some(html) = value.get("formatted_body") {
        tags(html.as_str().expect("a string"));
    }
}

fn object(value: &Value, keys: &[&str]) {
    for key in value.as_object().expect("an object").keys() {
        assert!(keys.contains(&key.as_str()), "unexpected {key}");
    }
}

fn event_id(id: Option<&Value>) {
    let id = id.and_then(Value::as_str);
    assert!(
        matches!(id, None | Some("$there" | "$root-there")),
        "{id:?}"
    );
}

/// Every `<` that is sent begins a tag, so tags can be found without a parser.
fn tags(html: &str) {
    const ALLOWED: &str = " del h1 h2 h3 h4 h5 h6 blockquote p a ul ol sup sub li b i u strong em s code hr br \
        div table thead tbody tr th td caption pre span details summary ";
    let mut open = Vec::new();
    for piece in html.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').expect("a whole tag");
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "not well nested: {html}");
            continue;
        }
        assert!(ALLOWED.contains(&format!(" {name} ")), "<{name}> in {html}");
        if !matches!(name, "br" | "hr") {
            open.push(name);
        }
        assert!(open.len() <= 100, "too deep");
        let mut rest = attributes;
        while let Some((attribute, value)) = rest.split_once("=\"") {
            let (value, after) = value.split_once('"').expect("a quoted value");
            self::attribute(name, attribute, value);
            rest = after.trim_start();
        }
        assert_eq!(rest, "", "unquoted attribute in {html}");
    }
    assert!(open.is_empty(), "unclosed in {html}");
}

fn attribute(tag: &str, name: &str, value: &str) {
    match (tag, name) {
        ("a", "href") => {
            let scheme = value.split(':').next().unwrap_or("");
            assert!(
                ["http", "https", "ftp", "mailto", "magnet"].contains(&scheme),
                "{value}"
            );
            assert!(!value.contains("!portal:a.example"), "{value}");
            // What lacks a server is no id, and the guard's matter (`sent`).
            for rest in value.split("@_vizard_").skip(1) {
                let (local, _) = rest.split_once(':').unwrap_or(("?", ""));
                let is_id = |c: char| c.is_ascii_alphanumeric() || "._=-/+".contains(c);
                assert!(!local.chars().all(is_id), "{value}");
            }
        }
        ("span", "data-mx-color" | "data-mx-bg-color") => assert_eq!(value.len(), 7),
        ("span", "data-mx-spoiler" | "data-mx-maths") | ("div", "data-mx-maths") => {}
        ("ol", "start") => assert!(value.parse::<u32>().is_ok()),
        ("code", "class") => assert!(value.starts_with("language-") && !value.contains(' ')),
        _ => panic!("{name} on {tag}"),
    }
}
