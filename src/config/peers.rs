//! `[peers."b.example"]`: tables whose names an admin chooses, which the table of keys cannot know.

use figment::value::{Dict, Value};
use ruma::ServerName;

use super::{Problem, kind::Kind};

/// The name of the section.
pub(super) const SECTION: &str = "peers";

/// The keys of each table.
const KEYS: [(&str, Kind); 2] = [("server_key", Kind::ServerKey), ("url", Kind::BaseUrl)];

/// Keeps the tables that are sound, and says what is wrong with the others.
pub(super) fn sweep(value: &Value, problems: &mut Vec<Problem>) -> Dict {
    let mut sound = Dict::new();
    let Value::Dict(_, peers) = value else {
        problems.push(Problem::new(SECTION, "is a section, not a key", EXAMPLE));
        return sound;
    };
    for (server, table) in peers {
        let before = problems.len();
        let path = format!("{SECTION}.{server:?}");
        if <&ServerName>::try_from(server.as_str()).is_err() {
            problems.push(Problem::new(&path, "is not a server name", EXAMPLE));
        }
        match table {
            Value::Dict(_, keys) => keys
                .iter()
                .for_each(|(name, value)| key(&path, name, value, problems)),
            _ => problems.push(Problem::new(&path, "is a section, not a key", EXAMPLE)),
        }
        if problems.len() == before {
            sound.insert(server.clone(), table.clone());
        }
    }
    sound
}

const EXAMPLE: &str =
    r#"write [peers."b.example"] on a line of its own, and server_key or url below"#;

fn key(path: &str, name: &str, value: &Value, problems: &mut Vec<Problem>) {
    let path = format!("{path}.{name}");
    match KEYS.iter().find(|(known, _)| *known == name) {
        None => problems.push(Problem::new(
            path,
            "there is no such key",
            "there are server_key and url",
        )),
        Some((_, kind)) => {
            if let Err((what, instead)) = kind.check(value) {
                problems.push(Problem::new(path, what, instead));
            }
        }
    }
}
