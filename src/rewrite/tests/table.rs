//! Contents, and what becomes of them.

use serde_json::{Value, json};

use super::{checks, outbound, raw, sent, text};
use crate::rewrite::{self, Rewritten};

fn unsupported(event_type: &str, content: &Value) -> String {
    match outbound(event_type, content, &checks::translations()) {
        Rewritten::Unsupported(name) => name,
        Rewritten::Refused(name) => name.to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_known_fields_pass() {
    let content = json!({
        "msgtype": "m.text", "body": "hi", "format": "org.matrix.custom.html", "formatted_body": "<b>hi</b>",
        "com.beeper.per_message_profile": {"displayname": "Alice"}, "filename": "Alice.png",
        "url": "mxc://a.example/x", "info": {}, "m.relates_to": {"rel_type": "m.reference", "event_id": "$here"},
        "org.example.client": "x",
    });
    let expected = json!({
        "msgtype": "m.text", "body": "hi", "format": "org.matrix.custom.html", "formatted_body": "<b>hi</b>",
        "m.mentions": {},
    });
    assert_eq!(sent(&content), expected);
}

#[test]
fn the_three_kinds_of_words() {
    for msgtype in ["m.text", "m.notice", "m.emote"] {
        let content = json!({"msgtype": msgtype, "body": "waves\r\n\0x"});
        let expected = json!({"msgtype": msgtype, "body": "waves\nx", "m.mentions": {}});
        assert_eq!(sent(&content), expected);
    }
    // HTML of another format is none.
    let content = json!({"msgtype": "m.text", "body": "x", "format": "a", "formatted_body": "<b>"});
    assert_eq!(sent(&content)["formatted_body"], Value::Null);
    // HTML alone is enough.
    let content = json!({"msgtype": "m.text", "body": "", "format": "org.matrix.custom.html",
        "formatted_body": "<p>a</p><p>b</p>"});
    assert_eq!(sent(&content)["body"], "a\nb");
    let content = json!({"msgtype": "m.text", "body": "", "format": "org.matrix.custom.html",
        "formatted_body": "mx<b>c://a/b</b>"});
    assert_eq!(sent(&content)["body"], "(media)");
}

#[test]
fn replies_and_threads() {
    let relation = |relation: Value| {
        let mut content = text("> <@x:y> old\n\nnew");
        content["m.relates_to"] = relation;
        let sent = sent(&content);
        (sent["body"].clone(), sent["m.relates_to"].clone())
    };
    let here = json!({"event_id": "$here"});
    assert_eq!(
        relation(json!({"m.in_reply_to": here})),
        (
            json!("new"),
            json!({"m.in_reply_to": {"event_id": "$there"}})
        )
    );
    assert_eq!(
        relation(json!({"m.in_reply_to": {"event_id": "$unknown"}})),
        (json!("new"), Value::Null)
    );
    let thread = |root: &str, reply: &str, falling: bool| {
        relation(
            json!({"rel_type": "m.thread", "event_id": root, "is_falling_back": falling,
            "m.in_reply_to": {"event_id": reply}}),
        )
        .1
    };
    let expected = |reply: &str, falling: bool| {
        json!({"rel_type": "m.thread", "event_id": "$root-there", "is_falling_back": falling,
            "m.in_reply_to": {"event_id": reply}})
    };
    assert_eq!(thread("$root", "$here", false), expected("$there", false));
    assert_eq!(thread("$root", "$here", true), expected("$there", true));
    assert_eq!(
        thread("$root", "$unknown", false),
        expected("$root-there", true)
    );
    assert_eq!(
        thread("$unknown", "$here", false),
        json!({"m.in_reply_to": {"event_id": "$there"}})
    );
    assert_eq!(thread("$unknown", "$here", true), Value::Null);
    // Without a reply, a quotation is a quotation.
    assert_eq!(
        sent(&text("> <@x:y> old\n\nnew"))["body"],
        "> <@x:y> old\n\nnew"
    );
}

#[test]
fn edits_are_rebuilt() {
    let content = json!({
        "msgtype": "m.text", "body": "> <@x:y> old\n\n * Alice was here",
        "m.new_content": {
            "msgtype": "m.notice", "body": "new", "format": "org.matrix.custom.html",
            "formatted_body": "<mx-reply>old</mx-reply><i>new</i>", "secret": 1,
            "m.mentions": {"user_ids": ["@_vizard_m_bob:a.example"]},
            "m.relates_to": {"rel_type": "m.thread", "event_id": "$here"},
        },
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$here"},
    });
    let expected = json!({
        "msgtype": "m.notice", "body": "* new", "format": "org.matrix.custom.html",
        "formatted_body": "* <i>new</i>", "m.mentions": {},
        "m.new_content": {
            "msgtype": "m.notice", "body": "new", "format": "org.matrix.custom.html",
            "formatted_body": "<i>new</i>", "m.mentions": {"user_ids": ["@bob:b.example"]},
        },
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$there"},
    });
    assert_eq!(sent(&content), expected);

    let mut unknown = content.clone();
    unknown["m.relates_to"]["event_id"] = json!("$unknown");
    let unknown = outbound("m.room.message", &unknown, &checks::translations());
    assert!(matches!(unknown, Rewritten::Unknown(_)), "{unknown:?}");

    let mut malformed = content;
    malformed["m.new_content"] = json!([]);
    assert_eq!(
        unsupported("m.room.message", &malformed),
        "a malformed edit"
    );
}

#[test]
fn an_edit_of_what_is_not_there_is_a_message() {
    let edit = |new: Value| {
        let relation = json!({"rel_type": "m.replace", "event_id": "$unknown"});
        let content = json!({"msgtype": "m.text", "body": "* x", "m.new_content": new, "m.relates_to": relation});
        rewrite::inbound("m.room.message", &raw(&content), &checks::translations())
    };
    let new = json!({"msgtype": "m.text", "body": "new", "format": "org.matrix.custom.html",
        "formatted_body": "<b>new</b>", "secret": 1});
    let Rewritten::Send(shown) = edit(new) else {
        panic!("not shown");
    };
    let expected = json!({"msgtype": "m.text", "body": "✎ (an older message, edited) new",
        "format": "org.matrix.custom.html", "m.mentions": {},
        "formatted_body": "✎ (an older message, edited) <b>new</b>"});
    let shown: Value = serde_json::from_str(shown.content().get()).unwrap();
    assert_eq!(shown, expected);
    let image = json!({"msgtype": "m.image", "body": "Alice.png", "url": "mxc://x/y"});
    let Rewritten::Media(image) = edit(image) else {
        panic!("no picture");
    };
    let words = image.words().and_then(|words| words.text());
    assert_eq!(words.as_deref(), Some("✎ (an older message, edited)"));
    // An edit in an edit is none.
    let nested = json!({"msgtype": "m.text", "body": "x", "m.new_content": text("y"),
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$here"}});
    assert!(matches!(edit(nested), Rewritten::Unknown(_)));
    assert!(matches!(edit(json!(5)), Rewritten::Refused(_)));
}

#[test]
fn reactions() {
    let reaction = |event: &str, key: &str| {
        let relation = json!({"rel_type": "m.annotation", "event_id": event, "key": key, "x": 1});
        json!({"m.relates_to": relation, "shortcode": "x", "com.beeper.reaction": "y"})
    };
    let Rewritten::Send(sent) = outbound(
        "m.reaction",
        &reaction("$here", "👍\u{fe0f}"),
        &checks::translations(),
    ) else {
        panic!("not sent");
    };
    assert_eq!(sent.event_type(), "m.reaction");
    let expected = json!({"m.relates_to":
        {"rel_type": "m.annotation", "event_id": "$there", "key": "👍\u{fe0f}"}});
    let sent: Value = serde_json::from_str(sent.content().get()).unwrap();
    assert_eq!(sent, expected);
    for (content, name) in [
        (reaction("$here", "mxc://a/b"), "a reaction with a picture"),
        (
            reaction("$here", &"x".repeat(101)),
            "a reaction that is too long",
        ),
        (reaction("$here", " "), "a malformed reaction"),
        (json!({"m.relates_to": 1}), "a malformed reaction"),
    ] {
        assert_eq!(unsupported("m.reaction", &content), name);
    }
    let unknown = outbound("m.reaction", &reaction("$x", "a"), &checks::translations());
    assert!(matches!(unknown, Rewritten::Unknown(_)));
}

#[test]
fn mentions() {
    let with = |mentions: Value| {
        let mut content = text("x");
        content["m.mentions"] = mentions;
        sent(&content)["m.mentions"].clone()
    };
    let bob = "@_vizard_m_bob:a.example";
    assert_eq!(
        with(json!({"user_ids": [bob, "@alice:a.example", bob], "room": true, "x": 1})),
        json!({"user_ids": ["@bob:b.example"], "room": true})
    );
    for absurd in [
        json!(5),
        json!([]),
        json!({"user_ids": 5, "room": "x"}),
        json!({"user_ids": [5]}),
    ] {
        assert_eq!(with(absurd), json!({}));
    }
    // Without intentional mentions, pills mention.
    let pill = json!({"msgtype": "m.text", "body": "Bob", "format": "org.matrix.custom.html",
        "formatted_body": format!("<a href=\"https://matrix.to/#/{bob}\">x</a>")});
    assert_eq!(
        sent(&pill)["m.mentions"],
        json!({"user_ids": ["@bob:b.example"]})
    );
}

#[test]
fn what_is_too_long() {
    let long = "é".repeat(29_000);
    assert!(sent(&text(&long))["body"].as_str().unwrap().len() == 58_000);
    assert_eq!(
        unsupported("m.room.message", &text(&"x".repeat(61_000))),
        "a message that is too long"
    );
    assert_eq!(
        unsupported("org.example", &text(&"x".repeat(200_000))),
        "a message that is too long"
    );
    // HTML goes first.
    let content = json!({"msgtype": "m.text", "body": "x".repeat(30_000),
        "format": "org.matrix.custom.html", "formatted_body": "y".repeat(32_000)});
    let plain = sent(&content);
    assert_eq!(plain["formatted_body"], Value::Null);
    assert_eq!(plain["body"].as_str().unwrap().len(), 30_000);
    // An edit says everything twice; then the fallback goes.
    let edit = json!({"msgtype": "m.text", "body": "",
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$here"},
        "m.new_content": text(&"x".repeat(40_000))});
    let edit = sent(&edit);
    assert_eq!(edit["body"], "* (edited)");
    assert_eq!(
        edit["m.new_content"]["body"].as_str().unwrap().len(),
        40_000
    );
}

#[test]
fn what_is_not_relayed_has_a_name() {
    let message = |msgtype: &str| json!({"msgtype": msgtype, "body": "x"});
    let some = json!({"x": 1});
    for (event_type, content, name) in [
        (
            "m.room.message",
            message("m.image"),
            "a malformed attachment",
        ),
        ("m.room.message", message("m.location"), "a location"),
        (
            "m.room.message",
            message("m.key.verification.request"),
            "a verification request",
        ),
        (
            "m.room.message",
            message("org.example\u{202e}.x"),
            "a message of type org.example.x",
        ),
        (
            "m.room.message",
            json!({"body": "x"}),
            "a malformed message",
        ),
        (
            "m.room.message",
            json!({"msgtype": "m.text"}),
            "a malformed message",
        ),
        ("m.room.message", text(" "), "an empty message"),
        ("m.room.message", json!([]), "a malformed message"),
        (
            "m.room.message",
            json!(["m.text", "x"]),
            "a malformed message",
        ),
        ("m.room.message", json!(null), "a malformed message"),
        ("m.room.encrypted", some.clone(), "an encrypted message"),
        ("m.sticker", some.clone(), "a malformed attachment"),
        ("m.poll.start", some.clone(), "a poll"),
        (
            "org.matrix.msc3381.poll.response",
            some.clone(),
            "an answer to a poll",
        ),
        ("m.beacon", some.clone(), "a live location"),
        ("m.call.invite", some.clone(), "a call"),
        (
            "org.example.\0thing",
            some.clone(),
            "an event of type org.example.thing",
        ),
        ("", some.clone(), "an event of type without a name"),
    ] {
        assert_eq!(unsupported(event_type, &content), name, "{event_type}");
    }
    assert!(unsupported(&"x".repeat(1000), &some).len() < 100);
    for (event_type, content) in [
        ("m.room.message", json!({})),
        ("m.sticker", json!({})),
        ("m.reaction", json!({})),
        ("m.room.name", some.clone()),
        ("m.typing", some.clone()),
        ("m.receipt", some.clone()),
        ("m.call.candidates", some.clone()),
        ("m.key.verification.done", some),
    ] {
        let nothing = outbound(event_type, &content, &checks::translations());
        assert!(
            matches!(nothing, Rewritten::Nothing),
            "{event_type}: {nothing:?}"
        );
    }
}

#[test]
fn all_references_are_found() {
    let content = json!({
        "msgtype": "m.text", "body": "@a:x, @b:x:80. matrix:u/c:x https://matrix.to/#/!r:x/$e1 mail@d.x",
        "format": "org.matrix.custom.html",
        "formatted_body": "<a href='https://matrix.to/#/@d:x'>D</a> <a href='matrix:roomid/r:x/e/e2'>x</a> @e:x",
        "m.mentions": {"user_ids": ["@f:x", "nonsense", "@a:x"]},
        "m.relates_to": {"rel_type": "m.thread", "event_id": "$e3", "m.in_reply_to": {"event_id": "$e4"}},
    });
    let references = rewrite::references("m.room.message", &raw(&content));
    let mut users: Vec<_> = references.users.iter().map(|user| user.as_str()).collect();
    users.sort_unstable();
    assert_eq!(
        users,
        ["@a:x", "@b:x", "@b:x:80", "@c:x", "@d:x", "@e:x", "@f:x"]
    );
    let mut events: Vec<_> = references
        .events
        .iter()
        .map(|event| event.as_str())
        .collect();
    events.sort_unstable();
    assert_eq!(events, ["$e1", "$e2", "$e3", "$e4"]);

    let many: Vec<_> = (0..1000).map(|n| format!("@u{n}:x")).collect();
    let content = json!({"msgtype": "m.text", "body": many.join(" ")});
    let references = rewrite::references("m.room.message", &raw(&content));
    assert_eq!(references.users.len(), 100);
}

#[test]
fn a_field_that_comes_twice_is_malformed() {
    let content = r#"{"msgtype":"m.text","body":"a","body":"b"}"#;
    let content = serde_json::value::RawValue::from_string(content.to_owned()).unwrap();
    let rewritten = rewrite::outbound("m.room.message", &content, &checks::translations());
    assert!(matches!(
        rewritten,
        Rewritten::Unsupported(_) | Rewritten::Refused(_)
    ));
}
