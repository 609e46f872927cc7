//! What holds for any content.

use std::{fs, path::Path};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    checks::{self, translations},
    outbound,
};
use crate::rewrite::{self, GuardWords, Person, Rewritten, Scrubbed, Translations};

/// Pieces of text that mean something to somebody.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[ a-z<>&/\"'=:.@!$#%()-]{0,6}",
        1 => any::<String>(),
        6 => prop::sample::select(vec![
            "@_vizard_m_bob:a.example", "@_vizard_m_eve:a.example", "!portal:a.example", "$here", "$root",
            "$x", "mxc://", "mx", "c://", "MXC://a.example/x", "https://matrix.to/#/", "matrix:u/",
            "_vizard_m_bob:a.example", "matrix:roomid/portal:a.example/e/here", "> <@x:y>", "\n", "\0", "\u{202e}", "%40",
            "<b>", "</b>", "<p>", "<a href=\"", "\">", "</a>", "<mx-reply>", "</mx-reply>", "<img alt=", "<li>", "<td>",
            "<span data-mx-spoiler=", "<font color=#ff0000>", "<script>", "</script>", "<!--", "&#64;", "&amp;",
            "https://c.example/", "m.text", "m.emote", "m.image", "m.replace", "m.thread", "m.annotation",
            "org.matrix.custom.html", "👍", "é",
        ]).prop_map(str::to_owned),
    ]
}

fn texts() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat())
}

fn key() -> impl Strategy<Value = String> {
    let known = vec![
        "msgtype",
        "body",
        "format",
        "formatted_body",
        "m.relates_to",
        "m.mentions",
        "m.new_content",
        "rel_type",
        "event_id",
        "key",
        "is_falling_back",
        "m.in_reply_to",
        "user_ids",
        "room",
        "url",
        "com.example",
    ];
    prop::sample::select(known).prop_map(str::to_owned)
}

/// Any JSON, with the keys of messages.
fn absurd() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        piece().prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 10, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(key(), inner, 0..10)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A well-formed message, now and then with absurd fields.
fn message() -> impl Strategy<Value = Value> {
    let event = prop::sample::select(vec!["$here", "$root", "$unknown", "mxc://x"]);
    let relation = prop_oneof![
        Just(Value::Null),
        event.clone().prop_map(|id| json!({"m.in_reply_to": {"event_id": id}})),
        event.clone().prop_map(|id| json!({"rel_type": "m.replace", "event_id": id})),
        (event.clone(), event.clone(), any::<bool>()).prop_map(|(root, reply, falling)| json!({
            "rel_type": "m.thread", "event_id": root, "is_falling_back": falling, "m.in_reply_to": {"event_id": reply},
        })),
        (event, texts()).prop_map(|(id, key)| json!({"rel_type": "m.annotation", "event_id": id, "key": key})),
    ];
    let msgtype = prop::sample::select(vec!["m.text", "m.notice", "m.emote", "m.image"]);
    (msgtype, texts(), texts(), relation, prop::option::weighted(0.2, (key(), absurd()))).prop_map(
        |(msgtype, body, html, relation, extra)| {
            let words = json!({
                "msgtype": msgtype, "body": body, "format": "org.matrix.custom.html", "formatted_body": html,
                "m.mentions": {"user_ids": ["@_vizard_m_bob:a.example", "@x:y"]}, "com.example": body,
            });
            let mut content = words.clone();
            content["m.new_content"] = words;
            content["m.relates_to"] = relation;
            if let Some((key, value)) = extra {
                content[key] = value;
            }
            content
        },
    )
}

/// The translations of a second pass: what is there stays there.
fn same() -> Translations {
    let there = translations();
    let bob = Person {
        id: "@bob:b.example".try_into().unwrap(),
        name: "Bob".to_owned(),
    };
    let room = there.rooms.unwrap().1;
    Translations {
        events: there
            .events
            .into_values()
            .map(|id| (id.clone(), id))
            .collect(),
        users: [(bob.id.clone(), bob)].into(),
        rooms: Some((room.clone(), room)),
    }
}

fn sent(content: &Value, translations: &Translations) -> Option<Scrubbed> {
    match outbound("m.room.message", content, translations) {
        Rewritten::Send(scrubbed) => Some(scrubbed),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_bearable(content in absurd()) {
        let json = content.to_string();
        checks::outbound(&json);
        checks::inbound(&json);
        checks::references(&json);
    }

    #[test]
    fn what_is_sent_is_allowed(content in message()) {
        let json = content.to_string();
        checks::outbound(&json);
        checks::inbound(&json);
        checks::references(&json);
    }

    #[test]
    fn any_text_is_bearable_html(html in texts()) {
        checks::html(&html);
    }

    #[test]
    fn a_second_pass_changes_nothing(content in message()) {
        if let Some(once) = sent(&content, &translations()) {
            let json = once.content().get();
            // Of two quotations one is taken per pass. What could not be translated, or stood there already,
            // has another meaning in the second pass.
            let differs = ["> <@", "portal:a.example", "_vizard_"];
            if !differs.iter().any(|text| json.contains(text)) {
                let value: Value = serde_json::from_str(json).unwrap();
                let twice = sent(&value, &same());
                prop_assert_eq!(Some(json), twice.as_ref().map(|twice| twice.content().get()));
            }
        }
    }

    #[test]
    fn the_guard_finds_the_user_however_dressed(
        name in "[a-z][a-z0-9]{2,12}",
        dressed in prop::collection::vec((any::<bool>(), 0..6_u8), 13),
        before in "[ .,!<>&/()-]{0,5}",
        after in "[ .,!<>&/()-]{0,5}",
        place in 0..4_u8,
    ) {
        let mut text = String::new();
        let mut html = String::new();
        for (c, (upper, dress)) in name.chars().zip(dressed) {
            let c = if upper { c.to_ascii_uppercase() } else { c };
            let full_width = char::from_u32(u32::from(c) + 0xfee0).unwrap();
            let code = u32::from(c);
            let (in_text, in_html) = match dress {
                0 => (format!("%{code:02x}"), format!("<b>{c}</b>")),
                1 => (format!("{c}\u{200b}"), format!("{c}<i></i>")),
                2 => (full_width.to_string(), format!("&#{code};")),
                3 => (c.to_string(), format!("{c}\u{ad}")),
                _ => (c.to_string(), c.to_string()),
            };
            text += &in_text;
            html += &in_html;
        }
        let link = name.bytes().fold(String::new(), |link, byte| link + &format!("%{byte:02X}"));
        let (before, after) = (rewrite::escape_html(&before), rewrite::escape_html(&after));
        let (body, html) = match place {
            0 => (format!("{before}{text}{after}"), "x".to_owned()),
            1 => ("x".to_owned(), format!("{before}{html}{after}")),
            2 => ("x".to_owned(), format!("<a href=\"https://c.example/{link}?x\">x</a>")),
            _ => ("x".to_owned(), format!("<span data-mx-spoiler=\"{before}{name}\">x</span>")),
        };
        let content = json!({
            "msgtype": "m.text", "body": body, "format": "org.matrix.custom.html", "formatted_body": html,
        });
        let scrubbed = sent(&content, &translations()).unwrap();
        let words = GuardWords { words: vec![name.clone()], ids: Vec::new() };
        prop_assert_eq!(rewrite::guard(&scrubbed, &words), Some(name), "{}", scrubbed.content().get());
    }

    #[test]
    fn names_are_short_and_stay_clean(name in any::<String>()) {
        let clean = rewrite::clean_name(&name);
        prop_assert!(clean.chars().count() <= 100);
        prop_assert_eq!(rewrite::clean_name(&clean), clean);
    }
}

#[test]
fn deep_nesting_is_bearable() {
    for (open, close) in [
        ("[", "]"),
        ("{\"m.new_content\":", "}"),
        ("{\"m.relates_to\":", "}"),
    ] {
        let json = format!("{}1{}", open.repeat(5000), close.repeat(5000));
        checks::outbound(&json);
        checks::references(&json);
        let json = format!("{{\"msgtype\":\"m.text\",\"body\":\"x\",\"m.mentions\":{json}}}");
        checks::outbound(&json);
        checks::inbound(&json);
    }
}

#[test]
fn hostile_html_takes_linear_time() {
    for piece in [
        "<p><b a=1></p>",
        "<a href=x>",
        "<table>",
        "<mx-reply>",
        "a b=c ",
        "&amp",
        "<b x",
        "matrix:u/",
        "@a:b",
        "mxc://",
    ] {
        checks::html(&piece.repeat(60_000 / piece.len()));
    }
}

type Check = fn(&str);

/// The seeds of the fuzz targets run here too, so that they need no fuzzer to be of use.
#[test]
fn the_fuzz_corpus_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let targets: [(&str, Check); 4] = [
        ("html", checks::html),
        ("outbound", checks::outbound),
        ("inbound", checks::inbound),
        ("references", checks::references),
    ];
    for (target, check) in targets {
        let mut seeds = 0;
        for seed in fs::read_dir(corpus.join(target)).unwrap() {
            let bytes = fs::read(seed.unwrap().path()).unwrap();
            check(&String::from_utf8_lossy(&bytes));
            seeds += 1;
        }
        assert!(seeds > 0, "no seeds for {target}");
    }
}
