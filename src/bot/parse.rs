//! Reading a command line: a name, and words that may stand in quotes. Any text is a command line.

/// A command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The command's name, as typed; empty for an empty line.
    pub name: &'a str,
    /// What follows it, trimmed.
    pub rest: &'a str,
}

/// A word and where it ends in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word, without its quotes.
    pub text: String,
    /// The byte after it (and after its closing quote).
    pub end: usize,
}

/// Splits a line into name and rest. A `prefix` before the name is dropped, because people who are used to
/// typing it in portals type it in the direct chat too.
pub fn line<'a>(text: &'a str, prefix: &str) -> Line<'a> {
    let text = text.trim();
    let text = match text.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => rest.trim_start(),
        _ => text,
    };
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    Line {
        name,
        rest: rest.trim(),
    }
}

/// The words of a text. A word that begins with a quotation mark ends at the next one (or, if there is none,
/// at the end of the text); within a word a quotation mark is a character like any other.
pub fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let trimmed = rest.trim_start();
        let Some(first) = trimmed.chars().next() else {
            break;
        };
        let start = at + (rest.len() - trimmed.len());
        let (from, closes): (usize, fn(char) -> bool) = match first {
            '"' => (start + first.len_utf8(), |c| c == '"'),
            '“' | '„' => (start + first.len_utf8(), |c| matches!(c, '”' | '“')),
            _ => (start, char::is_whitespace),
        };
        let body = &text[from..];
        let length = body.find(closes).unwrap_or(body.len());
        let closing = if from == start {
            0
        } else {
            body[length..].chars().next().map_or(0, char::len_utf8)
        };
        at = from + length + closing;
        words.push(Word {
            text: body[..length].to_owned(),
            end: at,
        });
    }
    words
}

/// The words again as one text, without their quotes.
pub fn join(words: &[Word]) -> String {
    words
        .iter()
        .map(|word| word.text.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn lines() {
        for (text, name, rest) in [
            ("", "", ""),
            ("  \n ", "", ""),
            ("help", "help", ""),
            (
                "  join   #a:b.example  as Jo ",
                "join",
                "#a:b.example  as Jo",
            ),
            ("!vizard help join", "help", "join"),
            ("!vizard", "", ""),
            ("!vizardry", "!vizardry", ""),
            ("prove\nline one\nline two", "prove", "line one\nline two"),
        ] {
            assert_eq!(line(text, "!vizard"), Line { name, rest }, "{text:?}");
        }
    }

    #[test]
    fn words_and_quotes() {
        for (text, expected) in [
            ("", &[][..]),
            ("a  b\tc", &["a", "b", "c"]),
            ("\"Quiet Heron\" x", &["Quiet Heron", "x"]),
            ("“Quiet Heron” x", &["Quiet Heron", "x"]),
            ("„Quiet Heron“", &["Quiet Heron"]),
            ("\"open end", &["open end"]),
            ("\"\" x", &["", "x"]),
            ("\"", &[""]),
            ("it's 5\" long", &["it's", "5\"", "long"]),
            ("\"a\"b", &["a", "b"]),
        ] {
            assert_eq!(texts(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_line(text: String, prefix: String) {
            let line = line(&text, &prefix);
            prop_assert!(!line.name.contains(char::is_whitespace));
            let mut last = 0;
            for word in words(line.rest) {
                prop_assert!(word.end > last);
                prop_assert!(line.rest.is_char_boundary(word.end));
                last = word.end;
            }
            prop_assert!(line.rest[last..].trim().is_empty());
        }

        #[test]
        fn quotes_and_spaces(text in "[\"“”„ a]{0,20}") {
            let count = words(&text).len();
            prop_assert!(count <= text.chars().count());
        }
    }
}
