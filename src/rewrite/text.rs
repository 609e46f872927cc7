//! Plain text: cleaning of messages and names, and translation of the identifiers that stand in text.
//!
//! Used for `body`, for the text between HTML tags, and by everyone who shows a name.

use std::borrow::Cow;

use ruma::{RoomId, UserId};
use unicode_normalization::char::is_combining_mark;

use super::{
    Person, Translations,
    limits::{MAX_HREF, MAX_ID, MAX_MARKS, MAX_NAME},
    link::{self, Link, Outcome, strip_prefix_ignore_case},
};

/// A display name made harmless: control characters, bidirectional overrides and invisible characters
/// are removed, white space is folded, stacks of combining marks are cut, and at most 100 characters
/// remain. The result is empty when nothing is left.
#[must_use]
pub fn clean_name(name: &str) -> String {
    let mut clean = String::with_capacity(name.len().min(4 * MAX_NAME));
    let (mut chars, mut marks, mut gap) = (0, 0, false);
    for c in name.chars() {
        if c.is_whitespace() {
            gap = true;
            continue;
        }
        if c.is_control() || is_deceptive(c) {
            continue;
        }
        if is_combining_mark(c) {
            marks += 1;
            if marks > MAX_MARKS || clean.is_empty() {
                continue;
            }
        } else {
            marks = 0;
        }
        if gap && !clean.is_empty() {
            clean.push(' ');
            chars += 1;
        }
        gap = false;
        if chars >= MAX_NAME {
            break;
        }
        clean.push(c);
        chars += 1;
    }
    clean.truncate(clean.trim_end().len());
    // Joiners alone are no name.
    if clean
        .chars()
        .all(|c| matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0f}' | ' '))
    {
        clean.clear();
    }
    clean
}

/// Characters that hide or reorder others. The joiners U+200C and U+200D stay: scripts and emoji need them.
fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'
        | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}'
        | '\u{e0000}'..='\u{e001f}')
}

/// Removes control characters other than line feed and tab.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.chars().any(bad) {
        Cow::Owned(text.chars().filter(|c| !bad(*c)).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// What is written for a person: the cleaned name, or the Matrix ID where there is none.
pub(super) fn name_of(person: &Person) -> String {
    let name = clean_name(&person.name);
    if name.is_empty() {
        person.id.to_string()
    } else {
        name
    }
}

/// Removes the quotation that old clients put before a reply: lines that start with `>`, the first of
/// which names a user, and the empty line after them.
pub(super) fn strip_reply_fallback(body: &str) -> &str {
    let is_fallback = ["> <@", "> * <@", "> **<@"]
        .iter()
        .any(|start| body.starts_with(start));
    if !is_fallback {
        return body;
    }
    let mut rest = body;
    while rest.starts_with('>') {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest.strip_prefix('\n').unwrap_or(rest)
}

/// Cleans a text and translates what stands in it: links to users, rooms and events, literal user ids
/// and the id of the room. What cannot be translated stays. `mxc://` never does.
pub(super) fn translate<'a>(text: &'a str, translations: &Translations) -> Cow<'a, str> {
    let text = strip_media(clean(text));
    let has_ids = text.contains(['@', '!']) || text.contains(':') && mentions_matrix(&text);
    if !has_ids {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        let replacement = match byte {
            b'@' if starts_word(&text, at) => user_at(&text[at..], translations),
            b'!' => room_at(&text[at..], translations),
            b'h' | b'H' | b'm' | b'M' if starts_word(&text, at) => {
                link_at(&text[at..], translations)
            }
            _ => None,
        };
        if let Some((length, replacement)) = replacement {
            out.push_str(&text[copied..at]);
            out.push_str(&replacement);
            at += length;
            copied = at;
        } else {
            at += 1;
        }
    }
    if copied == 0 {
        return text;
    }
    out.push_str(&text[copied..]);
    // A name next to other text may make up a new one.
    strip_media(Cow::Owned(out))
}

/// Calls back for each link and each user id that [`translate`] would look up, and perhaps for more: what
/// can be translated ends a look-up, and here that is not known yet.
pub(super) fn find(text: &str, mut found: impl FnMut(Link)) {
    let text = &*strip_media(clean(text));
    if !(text.contains('@') || text.contains(':') && mentions_matrix(text)) {
        return;
    }
    let starts = |&(_, c): &(usize, char)| matches!(c, '@' | 'h' | 'H' | 'm' | 'M');
    for (at, c) in text.char_indices().filter(starts) {
        if !starts_word(text, at) {
            continue;
        }
        if c == '@' {
            user_candidates(&text[at..])
                .filter_map(|candidate| UserId::parse(candidate).ok())
                .for_each(|user| found(Link::User(user)));
        } else if let Some(candidate) = link_candidate(&text[at..]) {
            found(link::parse(candidate));
        }
    }
}

fn mentions_matrix(text: &str) -> bool {
    // Cheaper than lower-casing everything, and the only casings that people write.
    ["matrix", "Matrix", "MATRIX"]
        .iter()
        .any(|word| text.contains(word))
}

fn starts_word(text: &str, at: usize) -> bool {
    !text[..at]
        .chars()
        .next_back()
        .is_some_and(char::is_alphanumeric)
}

fn user_at(text: &str, translations: &Translations) -> Option<(usize, String)> {
    user_candidates(text).find_map(|candidate| {
        let user = <&UserId>::try_from(candidate).ok()?;
        let person = translations.users.get(user)?;
        Some((candidate.len(), name_of(person)))
    })
}

/// What at the start of `text` may be a user id, longest first: with a port, and without.
fn user_candidates(text: &str) -> impl Iterator<Item = &str> {
    let colon = text
        .bytes()
        .take(MAX_ID)
        .take_while(u8::is_ascii_graphic)
        .position(|byte| byte == b':');
    let whole = colon.map(|colon| {
        let server = text[colon + 1..]
            .bytes()
            .take(MAX_ID)
            .take_while(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(byte))
            .count();
        text[..=colon + server].trim_end_matches(['.', ':', '-', '['])
    });
    let short = whole.zip(colon).and_then(|(whole, colon)| {
        let port = whole.get(colon + 1..)?.find(':')?;
        Some(whole[..=colon + port].trim_end_matches([':', '.', '-']))
    });
    whole.into_iter().chain(short)
}

fn room_at(text: &str, translations: &Translations) -> Option<(usize, String)> {
    let (here, there) = translations.rooms.as_ref()?;
    let rest = text.strip_prefix(here.as_str())?;
    let mut next = rest.chars();
    let continues = match next.next() {
        Some('.' | ':') => next.next().is_some_and(char::is_alphanumeric),
        Some(c) => c.is_alphanumeric() || matches!(c, '_' | '-'),
        None => false,
    };
    let there: &RoomId = there;
    (!continues).then(|| (here.as_str().len(), there.to_string()))
}

fn link_at(text: &str, translations: &Translations) -> Option<(usize, String)> {
    let candidate = link_candidate(text)?;
    let new = match link::translate(candidate, translations) {
        Outcome::Person(person) => link::to_user(&person.id),
        Outcome::Keep(link) => link,
        Outcome::Drop => return None,
    };
    Some((candidate.len(), new))
}

/// A `matrix.to` or `matrix:` link at the start of `text`.
fn link_candidate(text: &str) -> Option<&str> {
    let is_link = [
        "https://matrix.to/",
        "http://matrix.to/",
        "https://www.matrix.to/",
        "matrix:u/",
        "matrix:user/",
        "matrix:r/",
        "matrix:room/",
        "matrix:roomid/",
    ]
    .iter()
    .any(|start| strip_prefix_ignore_case(text, start).is_some());
    if !is_link {
        return None;
    }
    let end = text
        .char_indices()
        .take(MAX_HREF)
        .find(|(_, c)| c.is_whitespace() || "<>\"'`()[]{}|\\^".contains(*c))
        .map_or(text.len(), |(end, _)| end);
    Some(text[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '~']))
}

/// Replaces `mxc://` URIs: they name a server that would learn who looks.
pub(super) fn strip_media(text: Cow<'_, str>) -> Cow<'_, str> {
    let Some(mut at) = find_media(&text) else {
        return text;
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    loop {
        out.push_str(&rest[..at]);
        out.push_str("(media)");
        rest = &rest[at + "mxc://".len()..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "._-:/[]".contains(c)))
            .unwrap_or(rest.len());
        rest = &rest[end..];
        let Some(next) = find_media(rest) else { break };
        at = next;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn find_media(text: &str) -> Option<usize> {
    text.match_indices("://")
        .filter_map(|(colon, _)| colon.checked_sub(3))
        .find(|&start| {
            text.get(start..start + 3)
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("mxc"))
        })
}

/// Escapes text for HTML, between tags and in double-quoted attributes.
#[must_use]
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    escape_into(&mut out, text);
    out
}

pub(super) fn escape_into(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
}
