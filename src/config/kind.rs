//! What the value of a key must look like, and what to say when it does not.

use std::net::SocketAddr;

use data_encoding::BASE64_NOPAD;
use figment::value::Value;
use ruma::{ServerName, UserId};

use crate::telemetry;

/// What the value of a key must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds.
    Whole { min: u64, max: u64 },
    /// Something without spaces.
    Word,
    /// A file.
    Path,
    /// The name of a Matrix server.
    ServerName,
    /// An `http` or `https` URL without anything after its path.
    BaseUrl,
    /// An address and a port to listen on.
    Address,
    /// (The beginning of) a Matrix localpart.
    Localpart,
    /// A long random word, never shown.
    Token,
    /// `sqlite:PATH` or `postgres://…`, never shown.
    DatabaseUrl,
    /// Matrix IDs, server names or `*`.
    Users,
    /// Matrix IDs.
    UserIds,
    /// Patterns of Matrix IDs.
    UserPatterns,
    /// Patterns of room ids and aliases.
    Rooms,
    /// Patterns of server names.
    Servers,
    /// A log filter.
    LogLevel,
    /// `human` or `json`.
    LogFormat,
    /// `always`, `match` or `never`.
    EncryptPortals,
    /// `all` or `signed`.
    ShareKeys,
    /// `ask`, `send` or `refuse`.
    UnknownMedia,
    /// `tls` or `federation`.
    Anchor,
    /// An Ed25519 key in unpadded base64.
    ServerKey,
}

/// A value does not do: what is wrong, and what to write instead.
pub(super) type Complaint = (String, String);

impl Kind {
    /// Whether its values are strings, so that `VIZARD__…=123` need not be quoted.
    pub(super) fn is_text(self) -> bool {
        !matches!(
            self,
            Self::Bool
                | Self::Whole { .. }
                | Self::Users
                | Self::UserIds
                | Self::UserPatterns
                | Self::Rooms
                | Self::Servers
        )
    }

    /// Whether a value must not be shown.
    fn is_secret(self) -> bool {
        matches!(self, Self::Token | Self::DatabaseUrl)
    }

    /// Checks a value.
    pub(super) fn check(self, value: &Value) -> Result<(), Complaint> {
        match self {
            Self::Bool => match value {
                Value::Bool(..) => Ok(()),
                _ => Err(self.wrong(value, "is neither true nor false", "write true or false")),
            },
            Self::Whole { min, max } => {
                let (min, max) = (i128::from(min), i128::from(max));
                let what = match whole(value) {
                    Some(number) if (min..=max).contains(&number) => return Ok(()),
                    Some(_) => "is not within its bounds",
                    None => "is not a whole number",
                };
                let instead = format!("write a whole number from {min} to {max}, without quotes");
                Err(self.wrong(value, what, instead))
            }
            Self::Users => self.each(
                value,
                r#"["*"] or ["@alice:example.org", "example.org"]"#,
                |user| {
                    user == "*"
                        || UserId::parse(user).is_ok()
                        || <&ServerName>::try_from(user).is_ok()
                },
            ),
            Self::UserIds => self.each(value, r#"["@admin:example.org"]"#, |user| {
                UserId::parse(user).is_ok()
            }),
            Self::UserPatterns => self.each(value, r#"["@spam*:*", "@*:evil.example"]"#, |user| {
                user.starts_with(['@', '*', '?']) && is_word(user)
            }),
            Self::Rooms => self.each(value, r##"["!abc:example.org", "#spam-*:*"]"##, |room| {
                room.starts_with(['!', '#', '*', '?']) && is_word(room)
            }),
            Self::Servers => self.each(value, r#"["evil.example", "*.evil.example"]"#, |server| {
                is_word(server) && !server.starts_with(['@', '!', '#']) && !server.contains("//")
            }),
            _ => {
                let Value::String(_, text) = value else {
                    return Err(self.wrong(value, "is not a text", self.example()));
                };
                self.check_text(text)
                    .map_err(|what| self.wrong(value, what, self.example()))
            }
        }
    }

    /// Checks a text; says what is wrong.
    fn check_text(self, text: &str) -> Result<(), &'static str> {
        let sound = |sound: bool, what| if sound { Ok(()) } else { Err(what) };
        match self {
            Self::Word => sound(is_word(text) && !text.starts_with('/') && text.len() <= 64,
                "must be one word of at most 64 characters that does not begin with a slash"),
            Self::Path => sound(!text.trim().is_empty(), "is empty"),
            Self::ServerName => sound(<&ServerName>::try_from(text).is_ok(), "is not a server name"),
            Self::BaseUrl => base_url(text),
            Self::Address => match text.parse::<SocketAddr>() {
                Ok(address) => sound(address.port() != 0, "has port 0, which nobody can find"),
                Err(_) => Err("is not an IP address and a port"),
            },
            Self::Localpart => sound(
                text.len() >= 2 && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'=' | b'-' | b'/' | b'+')),
                "must be at least 2 of the characters that a Matrix localpart may have: a-z 0-9 . _ = - / +",
            ),
            Self::Token => token(text),
            Self::DatabaseUrl => database_url(text),
            Self::LogLevel => telemetry::filter(text).map(|_| ()).map_err(|_| "is not a log filter"),
            Self::UnknownMedia => sound(matches!(text, "ask" | "send" | "refuse"), "is none of the three"),
            Self::LogFormat => sound(matches!(text, "human" | "json"), "is no format"),
            Self::EncryptPortals => sound(
                matches!(text, "always" | "match" | "never"),
                "is no choice",
            ),
            Self::ShareKeys => sound(matches!(text, "all" | "signed"), "is no choice"),
            Self::Anchor => sound(matches!(text, "tls" | "federation"), "is no choice"),
            Self::ServerKey => sound(
                BASE64_NOPAD.decode(text.as_bytes()).is_ok_and(|key| key.len() == 32),
                "is not a key in unpadded base64",
            ),
            _ => Ok(()),
        }
    }

    /// What to write.
    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Word => r#"write one word in quotes, such as "vizard""#,
            Self::Path => {
                "write a file's path in quotes, relative to the configuration's directory or absolute"
            }
            Self::ServerName => {
                r#"write what stands after the colon of your users' Matrix IDs, such as "example.org""#
            }
            Self::BaseUrl => r#"write a URL without /_matrix, such as "http://127.0.0.1:8008""#,
            Self::Address => {
                r#"write an IP address and a port in quotes, such as "127.0.0.1:29350""#
            }
            Self::Localpart => r#"write a lower-case word in quotes, such as "_vizard_""#,
            Self::Token => {
                "write at least 32 random characters without spaces (`vizard init` makes good tokens), or name a file with `…_file`"
            }
            Self::DatabaseUrl => {
                r#"write "sqlite:vizard.db" or "postgres://USER:PASSWORD@HOST/NAME""#
            }
            Self::LogLevel => {
                r#"write off, error, warn, info, debug or trace, or a list such as "info,vizard::relay=debug""#
            }
            Self::UnknownMedia => r#"write "ask", "send" or "refuse""#,
            Self::LogFormat => r#"write "human" or "json""#,
            Self::EncryptPortals => r#"write "always", "match" or "never""#,
            Self::ShareKeys => r#"write "all" or "signed""#,
            Self::Anchor => r#"write "tls" or "federation""#,
            Self::ServerKey => {
                "write the 43 characters that `vizard keys show` prints on that server"
            }
            _ => "see config/vizard.example.toml",
        }
    }

    fn each(
        self,
        value: &Value,
        example: &str,
        sound: impl Fn(&str) -> bool,
    ) -> Result<(), Complaint> {
        let instead = || format!("write a list, such as {example}");
        let Value::Array(_, items) = value else {
            return Err(self.wrong(value, "is not a list", instead()));
        };
        for item in items {
            if !item.as_str().is_some_and(&sound) {
                return Err(self.wrong(item, "does not belong into this list", instead()));
            }
        }
        Ok(())
    }

    fn wrong(self, value: &Value, what: &str, instead: impl Into<String>) -> Complaint {
        let shown = if self.is_secret() {
            "the value".to_owned()
        } else {
            shown(value)
        };
        (format!("{shown} {what}"), instead.into())
    }
}

/// A value as an admin would write it, cut short.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, char) => format!("{:?}", char.to_string()),
        Value::Bool(_, bool) => bool.to_string(),
        Value::Num(_, num) => match (num.to_i128(), num.to_u128(), num.to_f64()) {
            (Some(number), ..) => number.to_string(),
            (_, Some(number), _) => number.to_string(),
            (.., Some(number)) => number.to_string(),
            _ => "a number".to_owned(),
        },
        Value::Array(..) => "a list".to_owned(),
        Value::Dict(..) => "a table".to_owned(),
        Value::Empty(..) => "nothing".to_owned(),
    };
    if text.chars().count() <= 60 {
        text
    } else {
        text.chars().take(59).chain(['…']).collect()
    }
}

/// A whole number, whichever of its number types the parser chose.
fn whole(value: &Value) -> Option<i128> {
    let Value::Num(_, number) = value else {
        return None;
    };
    number
        .to_i128()
        .or_else(|| number.to_u128().and_then(|number| number.try_into().ok()))
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text
            .chars()
            .any(|char| char.is_whitespace() || char.is_control())
}

fn base_url(text: &str) -> Result<(), &'static str> {
    let Ok(url) = url::Url::parse(text) else {
        return Err("is not a URL");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("is not an http or https URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("carries a user name or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has something after its path");
    }
    if url.path().contains("/_matrix") {
        return Err("contains /_matrix");
    }
    Ok(())
}

/// Checks a token that was written in the file or stands in a file of its own.
pub(super) fn token(text: &str) -> Result<(), &'static str> {
    if text.len() < 32 {
        return Err("is shorter than 32 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has characters that a token cannot have (spaces, or others than ASCII)");
    }
    Ok(())
}

/// Checks a database's URL that was written in the file or stands in a file of its own.
pub(super) fn database_url(text: &str) -> Result<(), &'static str> {
    if let Some(path) = super::sqlite_path(text) {
        let path = path.as_os_str().to_string_lossy();
        return if path.is_empty() {
            Err("names no file")
        } else if path.contains(":memory:") {
            Err("would be forgotten at every stop: Vizard cannot live in memory alone")
        } else if path.contains('?') {
            Err("has options, which Vizard sets by itself")
        } else {
            Ok(())
        };
    }
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => Ok(()),
        Ok(_) => Err("is neither SQLite nor PostgreSQL"),
        Err(_) => Err("is not a database URL"),
    }
}
