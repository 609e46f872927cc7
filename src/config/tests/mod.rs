//! Loading from a directory: the environment, paths and secrets' files here; [`example`] holds the example file against
//! the code, [`values`] tries bad keys and values.

mod example;
mod values;

use std::path::Path;

use super::*;

const AS: &str = "as_token-as_token-as_token-as_token-";
const HS: &str = "hs_token-hs_token-hs_token-hs_token-";

/// A directory with both token files and this `vizard.toml`.
fn dir(toml: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("as_token"), format!("{AS}\n")).unwrap();
    std::fs::write(dir.path().join("hs_token"), format!(" {HS}\n")).unwrap();
    std::fs::write(dir.path().join("vizard.toml"), toml).unwrap();
    dir
}

fn load(dir: &Path, environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::load(&dir.join("vizard.toml"), &environment)
}

/// The problems as `key: what | instead` lines.
fn problems(toml: &str, environment: &[(&str, &str)]) -> Vec<String> {
    match load(dir(toml).path(), environment) {
        Err(ConfigError::Invalid { problems, .. }) => problems
            .iter()
            .map(|problem| format!("{problem} | {}", problem.instead))
            .collect(),
        Err(other) => vec![other.to_string()],
        Ok(_) => vec![],
    }
}

/// The shortest file that does, with `extra` lines in it.
fn minimal(extra: &str) -> String {
    format!(
        r#"{extra}
[homeserver]
server_name = "example.org"
url = "http://127.0.0.1:8008"
[appservice]
as_token_file = "as_token"
hs_token_file = "hs_token"
[database]
url = "sqlite:vizard.db"
[secrets]
master_key_file = "master.key"
"#
    )
}

#[test]
fn relative_paths_count_from_the_file_and_tokens_are_read() {
    let dir = dir(&minimal(""));
    let loaded = load(dir.path(), &[]).unwrap();
    let config = &loaded.config;
    assert_eq!(loaded.dir(), dir.path());
    assert_eq!(config.as_token(), AS);
    assert_eq!(config.hs_token(), HS);
    assert_eq!(
        config.secrets.master_key_file,
        dir.path().join("master.key")
    );
    assert_eq!(
        config.database_path().unwrap(),
        dir.path().join("vizard.db")
    );
    assert_eq!(
        config.database_url(),
        format!("sqlite:{}/vizard.db", dir.path().display())
    );
    assert_eq!(config.appservice_url(), "http://127.0.0.1:29350");
    assert_eq!(config.sender_localpart(), "_vizard_appservice");
    assert!(!format!("{config:?}").contains(AS));

    let absolute = load(
        dir.path(),
        &[("VIZARD__DATABASE__URL", "sqlite:///var/lib/v.db")],
    )
    .unwrap();
    assert_eq!(absolute.config.database_url(), "sqlite:/var/lib/v.db");
    let odd = load(dir.path(), &[("VIZARD__DATABASE__URL", "sqlite:50%3F.db")]).unwrap();
    assert!(odd.config.database_url().ends_with("/50%253F.db"));
    assert_eq!(
        odd.config.database_path().unwrap(),
        dir.path().join("50%3F.db")
    );
    let postgres = "postgres://vizard:secret@127.0.0.1/vizard";
    let loaded = load(dir.path(), &[("VIZARD__DATABASE__URL", postgres)]).unwrap();
    assert_eq!(loaded.config.database_url(), postgres);
    assert_eq!(loaded.config.database_path(), None);
    let everywhere = load(dir.path(), &[("VIZARD__APPSERVICE__LISTEN", "0.0.0.0:99")]).unwrap();
    assert_eq!(everywhere.config.appservice_url(), "http://127.0.0.1:99");
}

#[test]
fn the_environment_wins_and_needs_no_quotes() {
    let dir = dir(&(minimal("") + "[log]\nlevel = \"warn\"\n"));
    let config = load(
        dir.path(),
        &[
            ("VIZARD__LOG__LEVEL", "debug"),
            ("VIZARD__LOG__FORMAT", "\"json\""),
            ("VIZARD__PORTAL__MEMBERSHIP", "false"),
            ("VIZARD__PORTAL__MAX_MIRRORS", "7"),
            ("VIZARD__ACCESS__USERS", r#"["*", "@a:b.example"]"#),
            // A name that TOML would take for something else.
            ("VIZARD__HOMESERVER__SERVER_NAME", "127.0.0.2:8448"),
            ("VIZARD__APPSERVICE__BOT", "1234"),
            ("UNRELATED", "x"),
            ("VIZARD_CONFIG", "x"),
        ],
    )
    .unwrap()
    .config;
    assert_eq!(config.log.level, "debug");
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(!config.portal.membership);
    assert_eq!(config.portal.max_mirrors, 7);
    assert_eq!(config.access.users, ["*", "@a:b.example"]);
    assert_eq!(config.homeserver.server_name, "127.0.0.2:8448");
    assert_eq!(config.appservice.bot, "1234");
}

#[test]
fn wrong_variables_are_named() {
    let found = problems(
        &minimal(""),
        &[
            ("VIZARD__LOG__LEVL", "debug"),
            ("VIZARD__LOG", "debug"),
            ("VIZARD__PORTAL__MAX_MIRRORS", "lots"),
        ],
    );
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("VIZARD__LOG: this environment variable"))
    );
    assert!(
        found.contains(
            &"log.levl: there is no such key (set by VIZARD__LOG__LEVL) | the nearest is log.level"
                .to_owned()
        )
    );
    assert!(found.iter().any(|line| line.starts_with("portal.max_mirrors: \"lots\" is not a whole number (set by VIZARD__PORTAL__MAX_MIRRORS) | write a whole number from 1 to 10000")));
}
