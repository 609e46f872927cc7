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
    let haystack = shown(content)?;
    let id = words.ids.iter().find(|id| haystack.contains(id));
    let found = id.or_else(|| {
        words
            .words
            .iter()
            .find(|word| haystack.contains_word(&fold(word)))
    })?;
    Some(super::text::clean_name(found))
}

/// All that a reader may see, folded.
fn shown(content: &Scrubbed) -> Option<Folded> {
    let value: Value = serde_json::from_str(content.content().get()).ok()?;
    let mut haystack = Folded::default();
    gather(&value, &mut haystack);
    Some(haystack)
}

/// Says quickly of most contents that nothing in them can be found by [`super::guard()`], however much there is to look for.
///
/// Of each word it keeps the hashes of a few short pieces. A content that lacks one of them lacks the word.
#[derive(Clone, Debug)]
pub struct Sieve(Vec<[u16; PIECES]>);

/// Pieces kept of each word.
const PIECES: usize = 4;
/// A piece's length in bytes; of a shorter word the whole is kept.
const PIECE: usize = 3;

impl Sieve {
    /// A sieve for these words.
    #[must_use]
    pub fn new(words: &GuardWords) -> Self {
        let folded = words.words.iter().chain(&words.ids).map(|word| fold(word));
        Self(
            folded
                .filter(|word| !word.is_empty())
                .map(|word| pieces(word.as_bytes()))
                .collect(),
        )
    }

    /// `false`: [`super::guard()`] would find nothing.
    #[must_use]
    pub fn may_match(&self, content: &Scrubbed) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let Some(haystack) = shown(content) else {
            return false;
        };
        let mut there = vec![0_u64; 1 << (u16::BITS - u64::BITS.trailing_zeros())];
        let text = haystack.text().as_bytes();
        for length in 1..=PIECE {
            for piece in text.windows(length) {
                let hash = hash(piece);
                there[usize::from(hash >> 6)] |= 1 << (hash & 63);
            }
        }
        let is_there = |hash: &u16| there[usize::from(hash >> 6)] & (1 << (hash & 63)) != 0;
        self.0.iter().any(|pieces| pieces.iter().all(is_there))
    }
}

/// Hashes of pieces spread over a word.
fn pieces(word: &[u8]) -> [u16; PIECES] {
    let last = word.len().saturating_sub(PIECE);
    std::array::from_fn(|nth| {
        let from = last * nth / (PIECES - 1);
        hash(&word[from..word.len().min(from + PIECE)])
    })
}

fn hash(piece: &[u8]) -> u16 {
    let value = piece
        .iter()
        .fold(0_u32, |value, &byte| value << 8 | u32::from(byte));
    let [high, low, ..] = value.wrapping_mul(0x9e37_79b1).to_be_bytes();
    u16::from_be_bytes([high, low])
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
