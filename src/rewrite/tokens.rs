//! HTML as a stream of tags and text.
//!
//! Only the tokenizer of html5ever is used, not its tree: building a tree as browsers do takes quadratic
//! time and memory on hostile input (every unclosed formatting tag is opened again in every paragraph),
//! and what is sent is written anew from the tokens anyway.

use std::cell::{Cell, RefCell};

use html5ever::{
    Attribute, TokenizerResult,
    buffer_queue::BufferQueue,
    tendril::StrTendril,
    tokenizer::{
        Tag, TagKind, Token as Html5Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
        states::RawKind,
    },
};

/// A piece of HTML. Names are lower case; character references are decoded.
pub(super) enum Token<'a> {
    /// `<name …>`
    Start(&'a str, &'a [Attribute]),
    /// `</name>`
    End(&'a str),
    /// Text; one run of text may come in several pieces.
    Text(&'a str),
}

/// Reads HTML and hands each token to `each`. Comments, doctypes, and elements whose content is no text
/// (`script`, `style`, …) are left out.
pub(super) fn tokenize(html: &str, each: impl FnMut(Token<'_>)) {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    let sink = Sink {
        each: RefCell::new(each),
        hidden: Cell::new(false),
    };
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    // The sink never asks for a script to be run, but the tokenizer may pause for one.
    while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
    tokenizer.end();
}

struct Sink<F> {
    each: RefCell<F>,
    /// Inside of an element whose text is not shown.
    hidden: Cell<bool>,
}

impl<F: FnMut(Token<'_>)> Sink<F> {
    fn tag(&self, tag: &Tag) -> TokenSinkResult<()> {
        let mut each = self.each.borrow_mut();
        let name: &str = &tag.name;
        match tag.kind {
            TagKind::StartTag if is_hidden(name) => {
                self.hidden.set(true);
                return TokenSinkResult::RawData(RawKind::Rawtext);
            }
            TagKind::StartTag => each(Token::Start(name, &tag.attrs)),
            // In raw text only the tag that ends it is reported.
            TagKind::EndTag if self.hidden.replace(false) => {}
            TagKind::EndTag => each(Token::End(name)),
        }
        TokenSinkResult::Continue
    }
}

impl<F: FnMut(Token<'_>)> TokenSink for Sink<F> {
    type Handle = ();

    fn process_token(&self, token: Html5Token, _line: u64) -> TokenSinkResult<()> {
        match token {
            Html5Token::TagToken(tag) => return self.tag(&tag),
            Html5Token::CharacterTokens(text) if !self.hidden.get() => {
                (self.each.borrow_mut())(Token::Text(&text));
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

fn is_hidden(name: &str) -> bool {
    matches!(name, "script" | "style" | "iframe" | "noembed" | "noframes")
}

/// Whether a tag starts a new line where it stands, so that the words on both sides of it are apart.
pub(super) fn is_block(name: &str) -> bool {
    matches!(
        name,
        "h1" | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "blockquote"
            | "p"
            | "ul"
            | "ol"
            | "li"
            | "hr"
            | "br"
            | "div"
            | "table"
            | "thead"
            | "tbody"
            | "tr"
            | "th"
            | "td"
            | "caption"
            | "pre"
            | "details"
            | "summary"
    )
}

/// The value of an attribute.
pub(super) fn attribute<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|attribute| &*attribute.name.local == name)
        .map(|attribute| &*attribute.value)
}

/// The text of HTML, blocks on lines of their own.
pub(super) fn text_of(html: &str) -> String {
    let mut out = String::new();
    tokenize(html, |token| match token {
        Token::Text(text) => out.push_str(text),
        Token::Start(name, _) | Token::End(name) => {
            if is_block(name) && !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
        }
    });
    out.truncate(out.trim_end().len());
    out
}
