//! Folding text so that two ways to write the same word become equal.
//!
//! Lower case; compatibility forms (full width, mathematical letters) replaced by plain ones; accents,
//! invisible characters and the marks of Markdown removed; white space folded. Where something was
//! removed, a word may begin or end: those places are remembered as *cuts*.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// Folded text.
#[derive(Debug, Default)]
pub(super) struct Folded {
    text: String,
    /// Offsets into `text` at which something was removed, ascending.
    cuts: Vec<usize>,
}

impl Folded {
    /// Folds and appends.
    pub(super) fn push(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_ascii() {
                self.push_ascii(c);
            } else if ('\u{ac00}'..='\u{d7a3}').contains(&c) {
                // Taken apart, one syllable would be found inside of another.
                self.text.push(c);
            } else {
                decompose_compatible(c, |part| {
                    for lower in part.to_lowercase() {
                        self.push_folded(lower);
                    }
                });
            }
        }
    }

    fn push_ascii(&mut self, c: char) {
        match c {
            '*' | '_' | '~' | '`' => self.cut(),
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => {
                if !self.text.ends_with(' ') {
                    self.text.push(' ');
                }
            }
            c => self.text.push(c.to_ascii_lowercase()),
        }
    }

    fn push_folded(&mut self, c: char) {
        if c.is_ascii() {
            self.push_ascii(c);
        } else if is_invisible(c) {
            self.cut();
        } else if c.is_whitespace() {
            self.push_ascii(' ');
        } else if !is_accent(c) {
            self.text.push(c);
        }
    }

    /// Marks that a word may begin or end here.
    pub(super) fn cut(&mut self) {
        if self.cuts.last() != Some(&self.text.len()) {
            self.cuts.push(self.text.len());
        }
    }

    /// Appends what no word contains.
    pub(super) fn separate(&mut self) {
        self.text.push('\u{1}');
    }

    /// The folded text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether `id` stands anywhere.
    pub(super) fn contains(&self, id: &str) -> bool {
        let mut word = Self::default();
        word.push(id.trim());
        // Of `@_vizard_m_` nothing is left at its end, and it would be found in `@_vizard_mqxz…`, a ghost's id.
        let is_cut = word.cuts.last() == Some(&word.text.len());
        let ends = |start: usize| start + word.text.len();
        !word.text.is_empty()
            && self
                .text
                .match_indices(&word.text)
                .any(|(start, _)| !is_cut || self.cuts.binary_search(&ends(start)).is_ok())
    }

    /// Whether `word` stands at word boundaries. It has to be folded.
    pub(super) fn contains_word(&self, word: &str) -> bool {
        let (Some(first), Some(last)) = (word.chars().next(), word.chars().next_back()) else {
            return false;
        };
        let mut from = 0;
        while let Some(found) = self.text[from..].find(word) {
            let (start, end) = (from + found, from + found + word.len());
            if self.is_boundary(start, first) && self.is_boundary(end, last) {
                return true;
            }
            from = start + first.len_utf8();
        }
        false
    }

    /// Whether a word whose edge is `edge` may begin or end at `at`.
    fn is_boundary(&self, at: usize, edge: char) -> bool {
        if !is_word(edge) || is_unspaced(edge) || self.cuts.binary_search(&at).is_ok() {
            return true;
        }
        let before = self.text[..at].chars().next_back();
        let after = self.text[at..].chars().next();
        !(before.is_some_and(is_word) && after.is_some_and(is_word))
    }
}

/// Folds one word or identifier.
pub(super) fn fold(text: &str) -> String {
    let mut folded = Folded::default();
    folded.push(text.trim());
    folded.text.truncate(folded.text.trim_end().len());
    folded.text
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// Letters of scripts that put no space between words, or join endings to a name.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}'
        | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Accents on letters. (Vowel signs of other scripts are letters to their readers and stay.)
fn is_accent(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{34e}' | '\u{350}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Characters that are not seen.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(text: &str, word: &str) -> bool {
        let mut folded = Folded::default();
        folded.push(text);
        folded.contains_word(&fold(word))
    }

    #[test]
    fn words_are_found_however_they_are_written() {
        for text in [
            "alice",
            "ALICE",
            "hi, Alice!",
            "al\u{200b}ice",
            "ａｌｉｃｅ",
            "𝓪𝓵𝓲𝓬𝓮",
            "álicë",
            "al**ic**e",
            "x alice_b",
            "@alice:a.example",
            "x\u{200b}alice",
        ] {
            assert!(has(text, "Alice"), "{text}");
        }
        for text in ["malice", "alices", "ali ce", "alice2", "", "alic"] {
            assert!(!has(text, "Alice"), "{text}");
        }
    }

    #[test]
    fn an_id_ends_where_it_ends() {
        let has = |text: &str, id: &str| {
            let mut folded = Folded::default();
            folded.push(text);
            folded.contains(id)
        };
        let mirror = "@_vizard_m_";
        for text in [
            "@_vizard_m_abc:x",
            "see @_VIZARD_M_abc",
            "@_vizard_mq @_vizard_m_",
        ] {
            assert!(has(text, mirror), "{text}");
        }
        for text in ["@_vizard_mabc:x", "@_vizard_abc:x", ""] {
            assert!(!has(text, mirror), "{text}");
        }
        assert!(has("x!a_b:c", "!a_b:c") && !has("anything", " "));
    }

    #[test]
    fn other_scripts() {
        assert!(has("我是小明。", "小明"));
        assert!(has("민수는 간다", "민수"));
        assert!(has("Это Иван!", "иван"));
        assert!(!has("Иванов", "иван"));
        assert!(has("Alice\u{a0} \n Smith", "alice smith"));
        assert!(!has("किरण", "कर"));
    }
}
