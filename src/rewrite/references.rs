//! Collecting what has to be looked up before a content can be rewritten.
//!
//! Finds what `relations`, `mentions`, `html` and `text` will ask the [`super::Translations`] for, and no
//! more than [`MAX_REFERENCES`] of each kind, so that no content can cost more than that many look-ups.

use ruma::{EventId, OwnedEventId, OwnedUserId, UserId};
use serde_json::value::RawValue;

use super::{
    References, attachment,
    content::{Mentions, Message, Reaction, Relation, Text, parse},
    limits::{MAX_INPUT, MAX_REFERENCES},
    link::{self, Link},
    message, reaction, text,
    tokens::{Token, attribute, tokenize},
};

/// See [`super::references()`].
pub(super) fn collect(event_type: &str, content: &RawValue) -> References {
    let mut references = References::default();
    if content.get().len() > MAX_INPUT {
        return references;
    }
    match event_type {
        message::TYPE | attachment::STICKER => {
            if let Some(message) = parse::<Message<'_>>(content) {
                references.relation(message.relates_to.as_ref());
                references.mentions(message.mentions.as_ref());
                match message.replacement() {
                    Some(new) if message.is_edit() => {
                        references.mentions(new.mentions.as_ref());
                        references.words(&new);
                    }
                    _ => references.words(&message),
                }
            }
        }
        reaction::TYPE => {
            if let Some(reaction) = parse::<Reaction<'_>>(content) {
                references.relation(reaction.relates_to.as_ref());
            }
        }
        _ => {}
    }
    references
}

impl References {
    fn relation(&mut self, relation: Option<&Relation<'_>>) {
        let Some(relation) = relation else { return };
        let reply = relation.in_reply_to.as_ref();
        for id in [
            relation.event_id.as_ref(),
            reply.and_then(|reply| reply.event_id.as_ref()),
        ] {
            if let Some(event) = id.and_then(event_id) {
                self.event(event);
            }
        }
    }

    fn mentions(&mut self, mentions: Option<&Mentions<'_>>) {
        let users = mentions.and_then(|mentions| mentions.user_ids.as_ref());
        for user in users.into_iter().flatten().take(MAX_REFERENCES) {
            if let Ok(user) = UserId::parse(user.0.as_ref()) {
                self.user(user);
            }
        }
    }

    fn words(&mut self, message: &Message<'_>) {
        if let Some(html) = message.html() {
            let mut run = String::new();
            tokenize(html, |token| {
                if let Token::Text(text) = token {
                    run.push_str(text);
                    return;
                }
                self.text(&std::mem::take(&mut run));
                if let Token::Start("a", attributes) = token
                    && let Some(href) = attribute(attributes, "href")
                {
                    self.link(link::parse(href));
                }
            });
            self.text(&run);
        }
        if let Some(body) = &message.body {
            self.text(&body.0);
        }
    }

    fn text(&mut self, text: &str) {
        text::find(text, |link| self.link(link));
    }

    fn link(&mut self, link: Link) {
        match link {
            Link::User(user) => self.user(user),
            Link::Event(_, event, _) => self.event(event),
            Link::Room(..) | Link::Alias(..) | Link::Web(_) | Link::Bad => {}
        }
    }

    fn event(&mut self, event: OwnedEventId) {
        if self.events.len() < MAX_REFERENCES && !self.events.contains(&event) {
            self.events.push(event);
        }
    }

    fn user(&mut self, user: OwnedUserId) {
        if self.users.len() < MAX_REFERENCES && !self.users.contains(&user) {
            self.users.push(user);
        }
    }
}

fn event_id(id: &Text<'_>) -> Option<OwnedEventId> {
    EventId::parse(id.0.as_ref()).ok()
}
