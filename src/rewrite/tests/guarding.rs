//! What the identity guard finds, and what it leaves alone.

use serde_json::json;

use super::{checks::translations, raw};
use crate::rewrite::{self, GuardWords, Rewritten, Scrubbed};

fn words() -> GuardWords {
    let strings = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
    GuardWords {
        words: strings(&["", "alice", "Alice Liddell", "Jo", "小明"]),
        ids: strings(&["", "@alice:a.example", "!other:a.example", "$secret_-Event"]),
    }
}

fn found(text: &str) -> Option<String> {
    rewrite::guard(&Scrubbed::notice(text), &words())
}

fn found_html(html: &str) -> Option<String> {
    rewrite::guard(&Scrubbed::notice_html("x", html), &words())
}

#[test]
fn plain_text() {
    for text in [
        "I am Alice",
        "ALICE",
        "alice's",
        "al\u{200b}ice",
        "ａｌｉｃｅ",
        "see /home/alice/x",
        "%61lice",
        "%2561lice",
        "**al**ice",
        "https://x.example/~alice",
        "x%20alice%20y",
    ] {
        assert_eq!(found(text).as_deref(), Some("alice"), "{text}");
    }
    assert_eq!(
        found("@ALICE:a.example").as_deref(),
        Some("@alice:a.example")
    );
    assert_eq!(
        found("https://e.x/#/room/%21other:a.example").as_deref(),
        Some("!other:a.example")
    );
    assert_eq!(found("x$secret_-Eventx").as_deref(), Some("$secret_-Event"));
    assert_eq!(found("Jo!").as_deref(), Some("Jo"));
    assert_eq!(found("我叫小明").as_deref(), Some("小明"));
    for text in ["malice", "Jonas", "alices", "banjo", "", "hello"] {
        assert_eq!(found(text), None, "{text}");
    }
}

#[test]
fn html() {
    for html in [
        "al<b>ice</b>",
        "hello<p>alice</p>",
        "hi<i>al<b>ice</b></i>",
        "<a href=\"https://x/%61lice\">x</a>",
        "<span data-mx-spoiler=\"alice\">x</span>",
        "&#97;lice",
        "x<br>alice<br>x",
    ] {
        assert_eq!(found_html(html).as_deref(), Some("alice"), "{html}");
    }
    let link = "<a href=\"https://matrix.to/#/%21other%3Aa.example\">x</a>";
    assert_eq!(found_html(link).as_deref(), Some("!other:a.example"));
    assert_eq!(found_html("m<b>alice</b>").as_deref(), Some("alice"));
    assert_eq!(found_html("<p>malice</p>"), None);
}

#[test]
fn edits_and_reactions() {
    let edit = json!({
        "msgtype": "m.text", "body": "x",
        "m.new_content": {"msgtype": "m.text", "body": "alice"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$here"},
    });
    let reaction = json!({
        "m.relates_to": {"rel_type": "m.annotation", "event_id": "$here", "key": "alice!"},
    });
    for (event_type, content) in [("m.room.message", edit), ("m.reaction", reaction)] {
        let Rewritten::Send(content) =
            rewrite::outbound(event_type, &raw(&content), &translations())
        else {
            panic!("not sent");
        };
        assert_eq!(rewrite::guard(&content, &words()).as_deref(), Some("alice"));
    }
}

#[test]
fn translated_ids_are_not_words() {
    let content = json!({"msgtype": "m.text", "body": "x", "m.relates_to":
        {"m.in_reply_to": {"event_id": "$here"}}});
    let Rewritten::Send(content) =
        rewrite::outbound("m.room.message", &raw(&content), &translations())
    else {
        panic!("not sent");
    };
    let words = GuardWords {
        words: vec!["there".to_owned()],
        ids: Vec::new(),
    };
    assert_eq!(rewrite::guard(&content, &words), None);
}
