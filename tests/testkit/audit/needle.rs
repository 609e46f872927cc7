//! What must not be found, and the forms in which software may have written it.

use std::fmt::Write as _;

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, Encoding, HEXLOWER};
use sha2::{Digest as _, Sha256};

/// One secret: a Matrix ID, a name, a file.
#[derive(Clone, Debug)]
pub struct Needle {
    pub kind: String,
    /// For reports.
    pub shown: String,
    bytes: Vec<u8>,
    is_file: bool,
}

/// One byte string to search for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    /// Whether upper and lower case differ.
    pub(super) exact: bool,
    /// Whether it counts only where no letter or digit stands before or after it.
    pub(super) whole: bool,
}

/// Below this, a text is looked for as a whole word: five letters occur in any random base64.
const SHORT: usize = 8;
/// The shortest encoded form that is no coincidence in some ten megabytes of random text.
const SHORTEST_ENCODED: usize = 8;

impl Needle {
    /// A text, such as `Needle::text("MXID", "@alice:a.example")`.
    pub fn text(kind: &str, text: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            shown: text.to_owned(),
            bytes: text.as_bytes().to_vec(),
            is_file: false,
        }
    }

    /// The content of a file: found by pieces of it and by its hash.
    pub fn file(kind: &str, name: &str, bytes: &[u8]) -> Self {
        Self {
            kind: kind.to_owned(),
            shown: name.to_owned(),
            bytes: bytes.to_vec(),
            is_file: true,
        }
    }

    /// A Matrix user: the ID and the localpart.
    pub fn user(kind: &str, user_id: &str) -> Vec<Self> {
        let localpart = user_id
            .trim_start_matches('@')
            .split(':')
            .next()
            .unwrap_or_default();
        vec![
            Self::text(kind, user_id),
            Self::text(&format!("{kind} (localpart)"), localpart),
        ]
    }

    /// A room, event or mxc id: the whole and its opaque part.
    pub fn id(kind: &str, id: &str) -> Vec<Self> {
        let opaque = id
            .strip_prefix("mxc://")
            .and_then(|rest| rest.split_once('/').map(|(_, media)| media))
            .unwrap_or_else(|| {
                id.trim_start_matches(['!', '$', '@', '#'])
                    .split(':')
                    .next()
                    .unwrap_or_default()
            });
        vec![
            Self::text(kind, id),
            Self::text(&format!("{kind} (opaque part)"), opaque),
        ]
    }

    pub(super) fn forms(&self) -> Vec<Form> {
        let mut forms = if self.is_file {
            self.pieces()
        } else {
            self.writings()
        };
        let digest = Sha256::digest(&self.bytes);
        forms.push(encoded("sha256 in hex", HEXLOWER.encode(&digest), false));
        forms.push(encoded(
            "sha256 in base64",
            BASE64_NOPAD.encode(&digest),
            true,
        ));
        forms.push(encoded(
            "sha256 in base64url",
            BASE64URL_NOPAD.encode(&digest),
            true,
        ));
        // Where case makes no difference, a form in another case is the same form.
        let sameness = |form: &Form| {
            if form.exact {
                form.bytes.clone()
            } else {
                form.bytes.to_ascii_lowercase()
            }
        };
        let mut seen = std::collections::HashSet::new();
        forms.retain(|form| !form.bytes.is_empty() && seen.insert((form.exact, sameness(form))));
        forms
    }

    /// Two pieces from where files of one format differ.
    fn pieces(&self) -> Vec<Form> {
        const PIECE: usize = 32;
        let (middle, end) = (self.bytes.len() / 2, self.bytes.len());
        [middle, end.saturating_sub(PIECE)]
            .into_iter()
            .map(|from| Form {
                name: "a piece of the file",
                bytes: self.bytes[from..end.min(from + PIECE)].to_vec(),
                exact: true,
                whole: false,
            })
            .collect()
    }

    fn writings(&self) -> Vec<Form> {
        let text = self.shown.as_str();
        let mut forms = Vec::new();
        let mut written = |name, text: String| {
            let whole = text.len() < SHORT;
            forms.push(Form {
                name,
                bytes: text.into_bytes(),
                exact: false,
                whole,
            });
        };
        written("plain", text.to_owned());
        // The search ignores case, but only that of ASCII letters.
        written("in lower case", text.to_lowercase());
        written("in upper case", text.to_uppercase());
        written("as JSON", json(text, false));
        written("as ASCII JSON", json(text, true));
        written("as JSON in JSON", json(&json(text, false), false));
        written("as ASCII JSON in JSON", json(&json(text, true), true));
        written("as HTML", html(text));
        written(
            "percent-encoded",
            percent(text, |byte| {
                byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
            }),
        );
        written(
            "percent-encoded",
            percent(text, |byte| {
                byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
            }),
        );
        written(
            "percent-encoded",
            percent(text, |byte| {
                byte.is_ascii_alphanumeric() || b"-._~@!#$".contains(&byte)
            }),
        );
        written(
            "form-encoded",
            percent(text, |byte| {
                byte.is_ascii_alphanumeric() || b"-._* ".contains(&byte)
            })
            .replace(' ', "+"),
        );
        written(
            "percent-encoded twice",
            percent(
                &percent(text, |byte| {
                    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
                }),
                |byte| byte != b'%',
            ),
        );
        written("percent-encoded throughout", percent(text, |_| false));
        written("with byte escapes", byte_escapes(text));
        written("as a path", text.replace([':', '/', '@'], "_"));
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        forms.push(Form {
            name: "UTF-16",
            whole: false,
            exact: false,
            bytes: utf16,
        });
        forms.push(encoded("hex", HEXLOWER.encode(text.as_bytes()), false));
        for variant in [text.to_owned(), text.to_lowercase()] {
            aligned(&mut forms, "base64", &BASE64_NOPAD, 6, 3, &variant);
            aligned(&mut forms, "base64url", &BASE64URL_NOPAD, 6, 3, &variant);
            aligned(&mut forms, "base32", &BASE32_NOPAD, 5, 5, &variant);
        }
        forms.retain(|form| form.bytes.len() >= 2);
        forms
    }
}

fn encoded(name: &'static str, text: String, exact: bool) -> Form {
    Form {
        name,
        bytes: text.into_bytes(),
        exact,
        whole: false,
    }
}

/// The characters that a text contributes to the encoding of a longer one, wherever in a group it begins.
fn aligned(
    forms: &mut Vec<Form>,
    name: &'static str,
    encoding: &Encoding,
    bits: usize,
    group: usize,
    text: &str,
) {
    for offset in 0..group {
        let mut bytes = vec![0; offset];
        bytes.extend_from_slice(text.as_bytes());
        let encoded_text = encoding.encode(&bytes);
        // Characters at the edges also carry bits of the neighbours.
        let (from, to) = ((offset * 8).div_ceil(bits), bytes.len() * 8 / bits);
        if to.saturating_sub(from) >= SHORTEST_ENCODED {
            forms.push(encoded(name, encoded_text[from..to].to_owned(), bits == 6));
        }
    }
}

/// As between the quotes of a JSON string.
fn json(text: &str, ascii: bool) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = &quoted[1..quoted.len() - 1];
    if !ascii {
        return inner.to_owned();
    }
    let mut out = String::new();
    for unit in inner.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#x27;")
}

fn percent(text: &str, keep: impl Fn(u8) -> bool) -> String {
    text.bytes()
        .map(|byte| {
            if keep(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// As Python prints bytes.
fn byte_escapes(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii() {
                char::from(byte).to_string()
            } else {
                format!("\\x{byte:02x}")
            }
        })
        .collect()
}
