//! Rust source without what is not the crate's code: comments, what stands in literals, and items for tests alone.

/// The code of a source text.
pub fn code(text: &str) -> String {
    without_tests(&without_words(text))
}

/// Without comments, and with nothing in string and character literals. Lines stay lines.
fn without_words(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (mut at, mut out) = (0, String::with_capacity(text.len()));
    let next = |at: usize| chars.get(at).copied().unwrap_or('\0');
    while at < chars.len() {
        let end = match (next(at), next(at + 1)) {
            ('/', '/') => end_of(&chars, at, |at| next(at) == '\n'),
            ('/', '*') => end_of_comment(&chars, at),
            ('"', _) => end_of_string(&chars, at),
            ('r', '"' | '#') if at == 0 || !is_word(next(at - 1)) || next(at - 1) == 'b' => {
                end_of_raw(&chars, at).unwrap_or(at + 1)
            }
            ('\'', '\\') => end_of(&chars, at + 3, |at| next(at) == '\'') + 1,
            ('\'', _) if next(at + 2) == '\'' => at + 3,
            _ => at + 1,
        };
        if end == at + 1 {
            out.push(next(at));
        } else {
            // A literal still is a value.
            if next(at) != '/' {
                out.push_str("\"\"");
            }
            let lines = chars[at..end.min(chars.len())].iter();
            out.extend(lines.filter(|c| **c == '\n'));
        }
        at = end;
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn end_of(chars: &[char], from: usize, is_end: impl Fn(usize) -> bool) -> usize {
    (from..chars.len())
        .find(|at| is_end(*at))
        .unwrap_or(chars.len())
}

fn end_of_comment(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn end_of_string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `None`: it is no raw string.
fn end_of_raw(chars: &[char], from: usize) -> Option<usize> {
    let marks = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(from + 1 + marks) != Some(&'"') {
        return None;
    }
    let ends = |at: &usize| {
        chars[*at] == '"'
            && chars.len() > at + marks
            && chars[at + 1..=at + marks].iter().all(|c| *c == '#')
    };
    let last = (from + 2 + marks..chars.len()).find(ends);
    Some(last.map_or(chars.len(), |at| at + marks + 1))
}

/// Without the items that are compiled for tests alone.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let (mut out, mut rest) = (String::new(), code);
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        rest = &rest[end_of_item(rest)..];
    }
    out.push_str(rest);
    out
}

/// Where an item ends: at a semicolon or comma outside all brackets, or with its braces.
fn end_of_item(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return at,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    // A group of imports goes on to its semicolon.
                    return at + 1 + usize::from(code[at + 1..].starts_with(';'));
                }
            }
            ';' | ',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn only_code_is_left() {
    for (text, left) in [
        ("use a;// b\nc", "use a;\nc"),
        ("/* a /* b */ c */d", "d"),
        (
            r#"f("use crate::x; \" {", 'a', '\'', b'{', &'a str)"#,
            r#"f("", "", "", b"", &'a str)"#,
        ),
        (
            r##"r#"a"b"#, br"c", rate, r#type"##,
            r#""", b"", rate, r#type"#,
        ),
        ("#[cfg(test)]\nmod tests;\nuse crate::x;", "\nuse crate::x;"),
        (
            "a;#[cfg(test)]\nmod t {\n fn f() { \"}\" }\n}\nb;",
            "a;\nb;",
        ),
        ("#[cfg(test)]\n#[path = \"x\"]\nuse a::{b, c};d", "d"),
        ("#[cfg(test)]\npub fn f(a: A) -> B { C }\nd", "\nd"),
    ] {
        assert_eq!(code(text), left, "{text}");
    }
}
