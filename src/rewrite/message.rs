//! `m.room.message`, in both directions: text, notices and emotes, their replies, threads and edits.

use std::borrow::Cow;

use ruma::EventId;
use serde_json::value::RawValue;

use super::{
    Rewritten, Scrubbed, Translations, attachment,
    content::{Mentions, MentionsOut, Message, MessageOut, RelationOut, Words, is_empty, parse},
    html, kinds,
    limits::MAX_CONTENT,
    mentions, relations, text, tokens,
};

/// The event type.
pub(super) const TYPE: &str = "m.room.message";

const MALFORMED: &str = "a malformed message";
const TOO_LONG: &str = "a message that is too long";
const EMPTY: &str = "an empty message";

/// What stands before the new text of an edit whose message is not there.
const EDITED: &str = "✎ (an older message, edited)";

/// Rewrites a message for the other side.
pub(super) fn rewrite(content: &RawValue, translations: &Translations) -> Rewritten {
    if is_empty(content) {
        return Rewritten::Nothing;
    }
    let Some(message) = parse::<Message<'_>>(content) else {
        return Rewritten::Refused(MALFORMED);
    };
    if message.is_edit() {
        return edit(&message, translations);
    }
    if attachment::is_attachment(message.msgtype.as_ref()) {
        return attachment::message(content, &message, translations);
    }
    let strip = relations::is_reply(message.relates_to.as_ref());
    let words = match words(&message, strip, translations) {
        Ok(words) => words,
        Err(other) => return other,
    };
    let relation = relations::translate(message.relates_to.as_ref(), translations);
    send(&words, relation)
}

/// Sends without HTML what is too long with it.
fn send(words: &Words<'_>, relation: Option<RelationOut<'_>>) -> Rewritten {
    let mut out = MessageOut::from(words);
    out.relates_to = relation;
    if let Some(scrubbed) = fitting(&out) {
        return Rewritten::Send(scrubbed);
    }
    let plain = Words {
        html: None,
        ..words.clone()
    };
    let mut shorter = MessageOut::from(&plain);
    shorter.relates_to = out.relates_to;
    fitting(&shorter).map_or_else(too_long, Rewritten::Send)
}

fn edit(message: &Message<'_>, translations: &Translations) -> Rewritten {
    let Some(target) = relations::target(message.relates_to.as_ref(), translations) else {
        return Rewritten::Unknown("the message this edits is not known here");
    };
    let Some(replacement) = message.replacement() else {
        return Rewritten::Refused("a malformed edit");
    };
    if attachment::is_attachment(replacement.msgtype.as_ref()) {
        return attachment::edit(message, &replacement, target.to_owned(), translations);
    }
    let new = match words(&replacement, true, translations) {
        Ok(new) => new,
        // An edit that leaves nothing is still an edit; without words it is nothing that can be sent.
        Err(Rewritten::Refused(EMPTY)) => {
            return Rewritten::Refused("an edit that leaves the message empty");
        }
        Err(other) => return other,
    };
    // At the top stands whom the edit mentions newly, which is nobody unless it says so.
    let nobody = Mentions::default();
    let newly = message.mentions.as_ref().unwrap_or(&nobody);
    let fallback = Words {
        mentions: mentions::translate(Some(newly), &[], translations),
        ..fallback(&new)
    };
    let short = Words {
        body: Cow::Borrowed("* (edited)"),
        html: None,
        ..fallback.clone()
    };
    let plain = Words {
        html: None,
        ..new.clone()
    };
    [(&fallback, &new), (&short, &new), (&short, &plain)]
        .into_iter()
        .find_map(|(outer, inner)| fitting(&replacing(outer, inner, target)))
        .map_or_else(too_long, Rewritten::Send)
}

/// An edit of what is not known on the other side, such as a message from before the join, as a message of its own: there, its
/// text is new. `None`: it is no edit.
pub(super) fn detached(content: &RawValue, translations: &Translations) -> Option<Rewritten> {
    let edit = parse::<Message<'_>>(content).filter(Message::is_edit)?;
    if edit.replacement().is_some_and(|new| new.is_edit()) {
        return None;
    }
    Some(match rewrite(edit.new_content?, translations) {
        Rewritten::Send(content) => Rewritten::Send(content.marked(EDITED)),
        Rewritten::Media(mut attachment) => {
            attachment.caption = Some(noted(attachment.caption.take()));
            Rewritten::Media(attachment)
        }
        other => other,
    })
}

/// A caption that says so, whatever else it says.
fn noted(caption: Option<Words<'static>>) -> Words<'static> {
    let Some(words) = caption else {
        return Words {
            msgtype: "m.text",
            body: Cow::Borrowed(EDITED),
            html: None,
            mentions: MentionsOut::default(),
        };
    };
    let put = |text: Cow<'_, str>| Cow::Owned(format!("{EDITED} {text}"));
    Words {
        body: put(words.body),
        html: words.html.map(put),
        ..words
    }
}

/// What clients that know no edits show: the new text after an asterisk.
pub(super) fn fallback<'a>(new: &Words<'_>) -> Words<'a> {
    Words {
        msgtype: new.msgtype,
        body: Cow::Owned(format!("* {}", new.body)),
        html: new
            .html
            .as_ref()
            .map(|html| Cow::Owned(format!("* {html}"))),
        mentions: new.mentions.clone(),
    }
}

/// An edit of `target`.
pub(super) fn replacing<'a>(
    fallback: &'a Words<'_>,
    new: &'a Words<'_>,
    target: &'a EventId,
) -> MessageOut<'a> {
    let mut out = MessageOut::from(fallback);
    out.new_content = Some(Box::new(MessageOut::from(new)));
    out.relates_to = Some(RelationOut {
        rel_type: Some("m.replace"),
        event_id: Some(target),
        ..RelationOut::default()
    });
    out
}

fn fitting(out: &MessageOut<'_>) -> Option<Scrubbed> {
    Scrubbed::of(TYPE, out).filter(|scrubbed| scrubbed.content().get().len() <= MAX_CONTENT)
}

fn too_long() -> Rewritten {
    Rewritten::Refused(TOO_LONG)
}

/// What a message says on the other side; or, as an error, what becomes of it instead.
fn words<'a>(
    message: &'a Message<'_>,
    strip_reply: bool,
    translations: &Translations,
) -> Result<Words<'a>, Rewritten> {
    let Some(msgtype) = message.msgtype.as_ref() else {
        return Err(Rewritten::Refused(MALFORMED));
    };
    let msgtype = match msgtype.0.as_ref() {
        "m.text" => "m.text",
        "m.notice" => "m.notice",
        "m.emote" => "m.emote",
        other => {
            let name = kinds::message(other);
            return Err(Rewritten::Unsupported(name));
        }
    };
    said(message, msgtype, strip_reply, translations)
}

/// The same, whatever the message calls itself.
pub(super) fn said<'a>(
    message: &'a Message<'_>,
    msgtype: &'static str,
    strip_reply: bool,
    translations: &Translations,
) -> Result<Words<'a>, Rewritten> {
    if message.body.is_none() && message.html().is_none() {
        return Err(Rewritten::Refused(MALFORMED));
    }
    let body = message.body.as_ref().map_or("", |body| body.0.as_ref());
    let body = if strip_reply {
        text::strip_reply_fallback(body)
    } else {
        body
    };
    let mut body = text::translate(body, translations);
    let html = message
        .html()
        .and_then(|html| html::rewrite(html, translations));
    if body.trim().is_empty() {
        match &html {
            // Without its markup, pieces of an id or a URI come together: translated once more.
            Some(html) => {
                let shown = tokens::text_of(&html.html);
                body = Cow::Owned(text::translate(&shown, translations).into_owned());
            }
            None if msgtype == "m.emote" => {}
            None => return Err(Rewritten::Refused(EMPTY)),
        }
    }
    let pills = html.as_ref().map_or(&[][..], |html| &html.pills);
    Ok(Words {
        msgtype,
        body,
        mentions: mentions::translate(message.mentions.as_ref(), pills, translations),
        html: html.map(|html| Cow::Owned(html.html)),
    })
}
