//! What the bot and the hosts say: plain text and HTML made side by side, so that nothing that comes from
//! elsewhere is ever read as markup.

use std::fmt::Write as _;

use crate::rewrite::{Scrubbed, code_spans};

/// One notice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    plain: String,
    html: String,
}

/// What a command answers: notices in order; none when it has reported by other means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer(pub Vec<Reply>);

impl Answer {
    /// Nothing (more) is said.
    pub fn none() -> Self {
        Self::default()
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self(vec![reply])
    }
}

impl Reply {
    /// A text. What stands between backticks is shown as code.
    pub fn say(text: &str) -> Self {
        Self::default().and(text)
    }

    /// More text.
    #[must_use]
    pub fn and(mut self, text: &str) -> Self {
        self.plain.push_str(text);
        self.html.push_str(&code_spans(text));
        self
    }

    /// Text that comes from elsewhere, emphasised, exactly as it is.
    #[must_use]
    pub fn bold(mut self, text: &str) -> Self {
        self.plain.push_str(text);
        let _ = write!(self.html, "<strong>{}</strong>", escape(text));
        self
    }

    /// Text that comes from elsewhere, exactly as it is.
    #[must_use]
    pub fn quote(mut self, text: &str) -> Self {
        self.plain.push_str(text);
        self.html.push_str(&escape(text));
        self
    }

    /// Code, exactly as it is.
    #[must_use]
    pub fn code(mut self, text: &str) -> Self {
        self.plain.push_str(text);
        let _ = write!(self.html, "<code>{}</code>", escape(text));
        self
    }

    /// A link.
    #[must_use]
    pub fn link(mut self, label: &str, url: &str) -> Self {
        let _ = write!(self.plain, "{label}: {url}");
        let _ = write!(
            self.html,
            "<a href=\"{}\">{}</a>",
            escape(url),
            escape(label)
        );
        self
    }

    /// A block of code, on lines of its own.
    #[must_use]
    pub fn block(mut self, text: &str) -> Self {
        let _ = write!(self.plain, "\n{text}\n");
        let code = escape_lines(text, "\n");
        let _ = write!(self.html, "<pre><code>{code}</code></pre>");
        self
    }

    /// A new line.
    #[must_use]
    pub fn line(self) -> Self {
        self.and("\n")
    }

    /// What another reply says.
    #[must_use]
    pub fn followed_by(mut self, other: &Self) -> Self {
        self.plain.push_str(&other.plain);
        self.html.push_str(&other.html);
        self
    }

    /// The plain text.
    #[cfg(test)]
    pub fn plain(&self) -> &str {
        &self.plain
    }

    /// The HTML.
    #[cfg(test)]
    pub fn html(&self) -> &str {
        &self.html
    }

    /// The notice.
    pub fn notice(&self) -> Scrubbed {
        if self.html == self.plain {
            Scrubbed::notice(&self.plain)
        } else {
            Scrubbed::notice_html(&self.plain, &self.html)
        }
    }
}

fn escape(text: &str) -> String {
    escape_lines(text, "<br>")
}

fn escape_lines(text: &str, newline: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push_str(newline),
            c => out.push(c),
        }
    }
    out
}

/// A name from elsewhere (a room's, or what somebody typed), fit to stand within a line: no line breaks, no
/// characters that turn the text around, at most `max` characters.
pub fn tidy(name: &str, max: usize) -> String {
    let kept: String = name
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| {
            !c.is_control()
                && !matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        })
        .collect();
    let mut words = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = words.char_indices().nth(max) {
        words.truncate(cut);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let reply = Reply::say("Try `join #a:b`.\n")
            .bold("<b>")
            .and(" & ")
            .link("here", "https://x/?a=1&b=\"")
            .block("{\n\"a\": 1}");
        assert_eq!(
            reply.plain(),
            "Try `join #a:b`.\n<b> & here: https://x/?a=1&b=\"\n{\n\"a\": 1}\n"
        );
        assert_eq!(
            reply.html(),
            "Try <code>join #a:b</code>.<br><strong>&lt;b&gt;</strong> &amp; \
             <a href=\"https://x/?a=1&amp;b=&quot;\">here</a>\
             <pre><code>{\n&quot;a&quot;: 1}</code></pre>"
        );
        assert_eq!(Reply::say("one ` two").html(), "one ` two");
        assert_eq!(Reply::say("`a` ` b").html(), "<code>a</code> ` b");
    }

    #[test]
    fn names_are_tidied() {
        assert_eq!(tidy(" a\n b\u{202e}c\0 ", 10), "a bc");
        assert_eq!(tidy("ééééé", 3), "ééé…");
    }

    proptest! {
        #[test]
        fn nothing_said_is_markup(text: String) {
            let html = Reply::say(&text).bold(&text).code(&text).block(&text).html().to_owned();
            let rest = ["code", "strong", "pre"].iter().fold(html, |html, tag| {
                html.replace(&format!("<{tag}>"), "").replace(&format!("</{tag}>"), "")
            });
            prop_assert!(!rest.replace("<br>", "").contains(['<', '>', '"']));
        }
    }
}
