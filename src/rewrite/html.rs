//! Writing HTML anew: allowed tags and attributes only, links and pills translated.
//!
//! The tags and attributes are those of the Matrix specification (client-server API, `m.room.message`
//! msgtypes), less what is of no use here: `img` becomes its text, `target` and `name` go. The result is
//! always well nested, closed and escaped, whatever came in, so a later reader sees what was meant here.

use html5ever::Attribute;
use ruma::OwnedUserId;

use super::{
    Translations,
    limits::MAX_DEPTH,
    link::{self, Outcome},
    text::{escape_into, name_of, translate},
    tokens::{Token, attribute, is_block, tokenize},
};

/// HTML for the other side.
#[derive(Debug)]
pub(super) struct Html {
    /// The HTML.
    pub(super) html: String,
    /// Users there to whom it has pills, in order, perhaps more than once.
    pub(super) pills: Vec<OwnedUserId>,
}

/// Writes `html` for the other side. `None` if nothing visible is left.
pub(super) fn rewrite(html: &str, translations: &Translations) -> Option<Html> {
    let mut writer = Writer {
        out: String::with_capacity(html.len()),
        text: String::new(),
        open: Vec::new(),
        muted: None,
        pills: Vec::new(),
        visible: false,
        translations,
    };
    tokenize(html, |token| writer.token(&token));
    writer.finish()
}

struct Writer<'t> {
    out: String,
    /// Text that is not yet written. It is written whole at the next tag that is kept, so that nothing can
    /// hide from the translation behind a tag that is dropped.
    text: String,
    open: Vec<&'static str>,
    muted: Option<Muted>,
    pills: Vec<OwnedUserId>,
    visible: bool,
    translations: &'t Translations,
}

/// What is left out, and until when.
enum Muted {
    /// A reply fallback, at this depth of reply fallbacks.
    Reply(usize),
    /// The text of a pill, in whose place the person's name was written.
    Pill,
}

impl Writer<'_> {
    fn token(&mut self, token: &Token<'_>) {
        if self.is_muted(token) {
            return;
        }
        match *token {
            Token::Text(text) => self.text.push_str(text),
            Token::Start("mx-reply", _) => self.muted = Some(Muted::Reply(1)),
            Token::Start("img", attributes) => {
                let text = attribute(attributes, "alt").filter(|alt| !alt.trim().is_empty());
                if let Some(text) = text.or_else(|| attribute(attributes, "title")) {
                    self.text.push_str(text);
                }
            }
            Token::Start(name, attributes) => {
                if let Some(tag) = allowed(name) {
                    self.start(tag, attributes);
                }
            }
            Token::End(name) => {
                if let Some(tag) = allowed(name) {
                    self.end(tag);
                }
            }
        }
    }

    /// Takes a token for what is muted, if anything is; ends the muting where it ends.
    fn is_muted(&mut self, token: &Token<'_>) -> bool {
        match (&mut self.muted, token) {
            (None, _) => return false,
            (Some(Muted::Reply(depth)), Token::Start("mx-reply", _)) => *depth += 1,
            (Some(Muted::Reply(depth)), Token::End("mx-reply")) => {
                *depth -= 1;
                if *depth == 0 {
                    self.muted = None;
                }
            }
            (Some(Muted::Pill), Token::End("a")) => {
                self.muted = None;
                self.end("a");
            }
            // A link that nobody closed must not swallow the rest of the message.
            (Some(Muted::Pill), Token::Start(name, _) | Token::End(name))
                if *name == "a" || is_block(name) =>
            {
                self.muted = None;
                self.end("a");
                return false;
            }
            _ => {}
        }
        true
    }

    fn start(&mut self, tag: &'static str, attributes: &[Attribute]) {
        if matches!(tag, "br" | "hr") {
            self.flush();
            self.tag(tag);
            self.out.push('>');
            self.visible |= tag == "hr";
            return;
        }
        self.close_implied(tag);
        if self.open.len() >= MAX_DEPTH {
            return;
        }
        if tag == "a" {
            self.link(attributes);
            return;
        }
        self.flush();
        self.tag(tag);
        for (name, value) in kept_attributes(tag, attributes) {
            let value = translate(value, self.translations);
            self.attribute(name, &value);
        }
        self.out.push('>');
        self.open.push(tag);
    }

    fn link(&mut self, attributes: &[Attribute]) {
        let Some(href) = attribute(attributes, "href") else {
            return;
        };
        let (href, person) = match link::translate(href, self.translations) {
            Outcome::Person(person) => (link::to_user(&person.id), Some(person)),
            Outcome::Keep(href) => (href, None),
            Outcome::Drop => return,
        };
        self.flush();
        self.tag("a");
        self.attribute("href", &href);
        self.out.push('>');
        self.open.push("a");
        if let Some(person) = person {
            escape_into(&mut self.out, &name_of(person));
            self.visible = true;
            self.pills.push(person.id.clone());
            self.muted = Some(Muted::Pill);
        }
    }

    fn end(&mut self, tag: &'static str) {
        let Some(at) = self.open.iter().rposition(|open| *open == tag) else {
            return;
        };
        self.flush();
        while self.open.len() > at {
            self.close_last();
        }
    }

    /// Ends what browsers take for ended when `tag` starts.
    fn close_implied(&mut self, tag: &str) {
        while let Some(last) = self.open.last() {
            let ends = match *last {
                "p" => is_block(tag),
                "li" => tag == "li",
                "td" | "th" => matches!(tag, "td" | "th" | "tr" | "tbody" | "thead"),
                "tr" => matches!(tag, "tr" | "tbody" | "thead"),
                "a" => tag == "a",
                _ => false,
            };
            if !ends {
                break;
            }
            self.flush();
            self.close_last();
        }
    }

    fn close_last(&mut self) {
        if let Some(tag) = self.open.pop() {
            self.out.push_str("</");
            self.out.push_str(tag);
            self.out.push('>');
        }
    }

    fn flush(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.text);
        let text = translate(&text, self.translations);
        self.visible |= !text.trim().is_empty();
        escape_into(&mut self.out, &text);
    }

    fn tag(&mut self, tag: &str) {
        self.out.push('<');
        self.out.push_str(tag);
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        escape_into(&mut self.out, value);
        self.out.push('"');
    }

    fn finish(mut self) -> Option<Html> {
        self.flush();
        while !self.open.is_empty() {
            self.close_last();
        }
        self.visible.then_some(Html {
            html: self.out,
            pills: self.pills,
        })
    }
}

/// The tag that is written for a tag that is read, if it passes.
fn allowed(name: &str) -> Option<&'static str> {
    const TAGS: [&str; 34] = [
        "del",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "blockquote",
        "p",
        "a",
        "ul",
        "ol",
        "sup",
        "sub",
        "li",
        "b",
        "i",
        "u",
        "strong",
        "em",
        "s",
        "code",
        "hr",
        "br",
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "caption",
        "pre",
        "span",
    ];
    match name {
        "details" => Some("details"),
        "summary" => Some("summary"),
        // Deprecated in the specification, still sent.
        "strike" => Some("s"),
        "font" => Some("span"),
        name => TAGS.into_iter().find(|tag| *tag == name),
    }
}

/// An attribute: its name as it is read, its name as it is written, and what its value has to be.
type Kept = (&'static str, &'static str, fn(&str) -> bool);

/// The attributes that pass, each with a value of the form that it has to have.
fn kept_attributes<'a>(
    tag: &'static str,
    attributes: &'a [Attribute],
) -> impl Iterator<Item = (&'static str, &'a str)> {
    let names: &[Kept] = match tag {
        "span" => &[
            ("data-mx-bg-color", "data-mx-bg-color", is_color),
            ("data-mx-color", "data-mx-color", is_color),
            ("color", "data-mx-color", is_color),
            ("data-mx-spoiler", "data-mx-spoiler", |_| true),
            ("data-mx-maths", "data-mx-maths", |_| true),
        ],
        "div" => &[("data-mx-maths", "data-mx-maths", |_| true)],
        "ol" => &[("start", "start", is_number)],
        "code" => &[("class", "class", is_language)],
        _ => &[],
    };
    names.iter().filter_map(|(from, to, is_valid)| {
        // `color` is what `data-mx-color` was called on `font`.
        if *from == "color" && attribute(attributes, "data-mx-color").is_some() {
            return None;
        }
        let value = attribute(attributes, from)?;
        is_valid(value).then_some((*to, value))
    })
}

fn is_color(value: &str) -> bool {
    value
        .strip_prefix('#')
        .is_some_and(|hex| hex.len() == 6 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_number(value: &str) -> bool {
    (1..=9).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_language(value: &str) -> bool {
    value.strip_prefix("language-").is_some_and(|language| {
        (1..=40).contains(&language.len())
            && language
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-#._".contains(&byte))
    })
}
