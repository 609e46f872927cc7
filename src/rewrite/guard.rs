//! The identity guard: finds what would tell who the user is in a content that is about to go out.
//!
//! It is there for accidents, not for adversaries: people paste links, quote themselves, sign their
//! messages. So it looks at what a reader could see or click: text, text with its markup taken away, the
//! values of attributes, each also percent-decoded.

use serde_json::Value;

use super::{
    GuardWords, Scrubbed,
    fold::{Folded, fold},
    link::decode_fully,
    tokens::{Token, is_block, tokenize},
};

/// See [`super::guard()`].
pub(super) fn find(content: &Scrubbed, words: &GuardWords) -> Option<String> {
    if words.words.is_empty() && words.ids.is_empty() {
        return None;
    }
    let Ok(value) = serde_json::from_str::<Value>(content.content().get()) else {
        return None;
    };
    let mut haystack = Folded::default();
    gather(&value, &mut haystack);
    let id = words.ids.iter().find(|id| haystack.contains(&fold(id)));
    let found = id.or_else(|| {
        words
            .words
            .iter()
            .find(|word| haystack.contains_word(&fold(word)))
    })?;
    Some(super::text::clean_name(found))
}

/// Gathers every string that a reader may see.
fn gather(value: &Value, haystack: &mut Folded) {
    match value {
        Value::String(text) => gather_text(text, haystack),
        Value::Array(values) => values.iter().for_each(|value| gather(value, haystack)),
        Value::Object(fields) => {
            for (key, value) in fields {
                // Chosen by the translation, and opaque: a short name may well occur in an event id.
                let is_translated = matches!(key.as_str(), "event_id" | "user_ids");
                if !is_translated {
                    gather(value, haystack);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn gather_text(text: &str, haystack: &mut Folded) {
    gather_plain(text, haystack);
    if !text.contains(['<', '&']) {
        return;
    }
    // The text without markup, in which a word may begin or end at each tag.
    let mut shown = String::new();
    let mut attributes = Vec::new();
    tokenize(text, |token| match token {
        Token::Text(text) => {
            haystack.push(text);
            shown.push_str(text);
        }
        Token::Start(name, values) => {
            attributes.extend(values.iter().map(|attribute| attribute.value.to_string()));
            between(name, haystack);
        }
        Token::End(name) => between(name, haystack),
    });
    haystack.separate();
    if shown.contains('%') {
        gather_plain(&shown, haystack);
    }
    for value in attributes {
        gather_plain(&value, haystack);
    }
}

fn between(tag: &str, haystack: &mut Folded) {
    if is_block(tag) {
        haystack.separate();
    } else {
        haystack.cut();
    }
}

fn gather_plain(text: &str, haystack: &mut Folded) {
    haystack.push(text);
    haystack.separate();
    if text.contains('%') {
        haystack.push(&decode_fully(text));
        haystack.separate();
    }
}
