//! The example file against the code; every kind of bad value; the environment; paths and secrets' files.

use std::{collections::BTreeSet, path::Path};

use super::{
    schema::{KEYS, Presence},
    *,
};

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

/// The example's lines that set a key: (section, key, line without its comment mark, whether it was commented out).
fn example_lines() -> Vec<(String, String, String, bool)> {
    let mut section = String::new();
    let mut lines = Vec::new();
    for line in EXAMPLE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            continue;
        }
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some((name, _)) = bare.split_once(" = ")
            && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            lines.push((
                section.clone(),
                name.to_owned(),
                bare.to_owned(),
                bare != line,
            ));
        }
    }
    lines
}

#[test]
fn the_example_and_the_schema_have_the_same_keys() {
    let sort = |mut keys: Vec<String>| {
        keys.sort();
        keys
    };
    let example: Vec<_> = example_lines()
        .into_iter()
        .map(|(section, name, ..)| format!("{section}.{name}"))
        .collect();
    let schema: Vec<_> = KEYS.iter().map(schema::Key::path).collect();
    assert_eq!(sort(example), sort(schema));
}

#[test]
fn every_key_of_the_example_is_explained() {
    let lines: Vec<_> = EXAMPLE.lines().collect();
    for (_, name, bare, _) in example_lines() {
        let at = lines
            .iter()
            .position(|line| line.trim_start_matches("# ") == bare)
            .unwrap();
        let above = lines[at - 1];
        assert!(
            above.starts_with("# ") && !above.contains(" = "),
            "{name} has no comment"
        );
    }
}

/// serde lists the fields of a struct when it meets an unknown one.
#[test]
fn the_structs_and_the_schema_have_the_same_keys() {
    let sections: BTreeSet<_> = KEYS.iter().map(|key| key.section).collect();
    let mut fields = BTreeSet::new();
    for section in &sections {
        let toml = format!("[{section}]\nnonsense_ = 1");
        let error = toml::from_str::<Config>(&toml).unwrap_err().to_string();
        let list = error
            .split("expected")
            .nth(1)
            .unwrap_or_else(|| panic!("{error}"));
        for (index, field) in list.lines().next().unwrap().split('`').enumerate() {
            if index % 2 == 1 {
                fields.insert(format!("{section}.{field}"));
            }
        }
    }
    assert_eq!(fields, KEYS.iter().map(schema::Key::path).collect());
    let error = toml::from_str::<Config>("[nonsense_]")
        .unwrap_err()
        .to_string();
    let list = error.split("expected").nth(1).unwrap();
    assert_eq!(
        list.lines()
            .next()
            .unwrap()
            .split('`')
            .skip(1)
            .step_by(2)
            .collect::<BTreeSet<_>>(),
        sections
    );
}

#[test]
fn the_example_parses_and_each_commented_value_is_the_default() {
    let dir = dir(EXAMPLE);
    let plain = load(dir.path(), &[]).unwrap().config;
    for (section, name, bare, commented) in example_lines() {
        let key = schema::find(&section, &name).unwrap();
        if key.presence == Presence::Required {
            assert!(!commented, "{} is required", key.path());
        }
        if !commented {
            continue;
        }
        let with = minimal("") + &format!("[{section}]\n{bare}\n");
        // The minimal file has some of the sections already.
        let with = match with.matches(&format!("[{section}]\n")).count() {
            1 => with,
            _ => minimal("").replace(&format!("[{section}]\n"), &format!("[{section}]\n{bare}\n")),
        };
        if name == "as_token" || name == "hs_token" {
            assert_eq!(key.presence, Presence::Optional);
            continue;
        }
        std::fs::write(dir.path().join("vizard.toml"), with).unwrap();
        let set = load(dir.path(), &[])
            .unwrap_or_else(|error| panic!("{bare}: {error}"))
            .config;
        match key.presence {
            Presence::Defaulted => {
                std::fs::write(dir.path().join("vizard.toml"), minimal("")).unwrap();
                let unset = load(dir.path(), &[]).unwrap().config;
                assert_eq!(set, unset, "{bare} is not the default");
            }
            _ => assert_ne!(
                set.appservice_url() + &format!("{:?}", set.metrics),
                plain.appservice_url() + &format!("{:?}", plain.metrics)
            ),
        }
    }
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

#[test]
fn an_unknown_key_names_the_nearest_one() {
    for (extra, key, nearest) in [
        (
            "[portal]\nmax_miror = 1",
            "portal.max_miror",
            "portal.max_mirrors",
        ),
        (
            "[portal]\nmembers = true",
            "portal.members",
            "portal.membership",
        ),
        ("[access]\nuser = []", "access.user", "access.users"),
        (
            "[relay]\nmax_mirrors = 1",
            "relay.max_mirrors",
            "portal.max_mirrors",
        ),
        (
            "[metrics]\nlisten_address = \"\"",
            "metrics.listen_address",
            "metrics.listen",
        ),
        ("[logs]\nlevel = \"info\"", "logs", "[log]"),
        (
            "[access_control]\nadmin = []",
            "access_control.admin",
            "access.admins",
        ),
        (
            "server_name = \"a.example\"",
            "server_name",
            "homeserver.server_name, written below [homeserver]",
        ),
        ("listn = \"a\"", "listn", "listen"),
    ] {
        let found = problems(&minimal(extra), &[]);
        assert!(
            found
                .iter()
                .any(|line| line.starts_with(&format!("{key}:")) && line.contains(nearest)),
            "{extra}: {found:#?}"
        );
    }
}

#[test]
fn each_bad_value_is_explained() {
    for (key, value, what) in [
        (
            "homeserver.server_name",
            "\"https://example.org\"",
            "is not a server name",
        ),
        ("homeserver.server_name", "3", "3 is not a text"),
        ("homeserver.url", "\"127.0.0.1:8008\"", "is not a URL"),
        (
            "homeserver.url",
            "\"ftp://a.example\"",
            "is not an http or https URL",
        ),
        (
            "homeserver.url",
            "\"http://a.example/_matrix\"",
            "contains /_matrix",
        ),
        (
            "homeserver.url",
            "\"http://a.example/?x=1\"",
            "has something after its path",
        ),
        (
            "homeserver.url",
            "\"http://u:p@a.example\"",
            "carries a user name",
        ),
        (
            "homeserver.timeout",
            "0",
            "write a whole number from 1 to 3600",
        ),
        ("homeserver.timeout", "\"60\"", "without quotes"),
        (
            "homeserver.join_timeout",
            "20",
            "is shorter than homeserver.timeout",
        ),
        (
            "appservice.listen",
            "\"localhost:29350\"",
            "is not an IP address and a port",
        ),
        ("appservice.listen", "\"127.0.0.1:0\"", "has port 0"),
        (
            "appservice.prefix",
            "\"Vizard\"",
            "must be at least 2 of the characters",
        ),
        (
            "appservice.prefix",
            "\"viz\"",
            "choose a bot or a prefix that differ",
        ),
        (
            "appservice.bot",
            "\"_vizard_bot\"",
            "begins with appservice.prefix",
        ),
        ("appservice.bot", "\"\"", "must be at least 2"),
        ("appservice.max_body", "-1", "-1 is not within its bounds"),
        (
            "appservice.as_token",
            "\"short\"",
            "the value is shorter than 32",
        ),
        ("appservice.as_token_file", "\"nowhere\"", "cannot read"),
        (
            "appservice.hs_token_file",
            "\"as_token\"",
            "is the same as appservice.as_token",
        ),
        (
            "database.url",
            "\"mysql://u:verysecret@h/d\"",
            "is neither SQLite nor PostgreSQL",
        ),
        ("database.url", "\"sqlite::memory:\"", "would be forgotten"),
        ("database.url", "\"vizard.db\"", "is not a database URL"),
        ("secrets.master_key_file", "\"\"", "is empty"),
        ("access.users", "\"*\"", "is not a list"),
        (
            "access.users",
            "[\"@alice\"]",
            "does not belong into this list",
        ),
        (
            "access.admins",
            "[\"example.org\"]",
            "does not belong into this list",
        ),
        ("access.max_pseudonyms", "0", "write a whole number from 1"),
        ("access.joins_per_hour", "5000000000", "to 4294967295"),
        (
            "access.denied_rooms",
            "[\"spam\"]",
            "does not belong into this list",
        ),
        (
            "access.denied_servers",
            "[\"@a:b\"]",
            "does not belong into this list",
        ),
        ("portal.command_prefix", "\"/v\"", "must be one word"),
        ("portal.membership", "1", "1 is neither true nor false"),
        ("relay.concurrency", "1.5", "1.5 is not a whole number"),
        ("log.level", "\"inof\"", "is not a log filter"),
        ("log.format", "\"xml\"", "write \"human\" or \"json\""),
        (
            "metrics.listen",
            "\"0.0.0.0:29350\"",
            "is the address of appservice.listen",
        ),
    ] {
        let (section, name) = key.split_once('.').unwrap();
        let lines: Vec<_> = minimal("").lines().map(str::to_owned).collect();
        let header = format!("[{section}]");
        let mut toml = String::new();
        let mut current = String::new();
        for line in lines {
            if line.starts_with('[') {
                current.clone_from(&line);
            }
            if current == header && line.starts_with(&format!("{name} =")) {
                continue;
            }
            toml += &format!("{line}\n");
            if line == header {
                toml += &format!("{name} = {value}\n");
            }
        }
        if !toml.contains(&header) {
            toml += &format!("{header}\n{name} = {value}\n");
        }
        let found = problems(&toml, &[]).join("\n");
        assert!(found.contains(what), "{key} = {value}: {found}");
        assert!(found.contains(section), "{key} = {value}: {found}");
        assert!(!found.contains("verysecret"), "{found}");
    }
}

#[test]
fn all_problems_are_reported_at_once_and_each_once() {
    let found = problems(
        "[homeserver]\nurl = 3\n[portal]\nmax_miror = 2\nmembership = 0\n[metrics]\nlisten = \"127.0.0.1:29350\"\n",
        &[],
    );
    let mut keys: Vec<_> = found
        .iter()
        .filter_map(|line| line.split(": ").next())
        .collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "appservice.as_token",
            "appservice.hs_token",
            "database.url",
            "homeserver.server_name",
            "homeserver.url",
            "metrics.listen",
            "portal.max_miror",
            "portal.membership",
            "secrets.master_key_file",
        ],
        "{found:#?}"
    );
}

#[test]
fn broken_files_are_explained_without_quoting_them() {
    let secret = "secret-secret-secret-secret-secret-secret";
    let dir = dir(&format!(
        "[appservice]\n\nas_token = \"{secret}\nlisten = 3"
    ));
    let error = load(dir.path(), &[]).unwrap_err().to_string();
    assert!(error.contains("vizard.toml, line 3: "), "{error}");
    assert!(!error.contains(secret), "{error}");
    let error = Config::load(&dir.path().join("none.toml"), &Environment::new()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read "), "{error}");
}

#[test]
fn a_token_is_set_in_one_place_only() {
    let toml = minimal("").replace(
        "[appservice]",
        &format!("[appservice]\nas_token = \"{AS}\""),
    );
    let found = problems(&toml, &[]).join("\n");
    assert!(
        found.contains("both set | keep appservice.as_token_file alone"),
        "{found}"
    );
}
