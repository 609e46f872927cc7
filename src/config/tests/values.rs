//! Every kind of bad key and value.

use super::*;

/// The minimal file with a key set to this, instead of what it was.
fn with(section: &str, name: &str, value: &str) -> String {
    let header = format!("[{section}]");
    let mut lines = Vec::new();
    let mut inside = false;
    for line in minimal("").lines() {
        if line.starts_with('[') {
            inside = line == header;
        }
        if !(inside && line.starts_with(&format!("{name} ="))) {
            lines.push(line.to_owned());
        }
    }
    let at = lines.iter().position(|line| *line == header);
    let at = at.unwrap_or_else(|| {
        lines.push(header);
        lines.len() - 1
    });
    lines.insert(at + 1, format!("{name} = {value}"));
    lines.join("\n")
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
#[expect(clippy::too_many_lines, reason = "a table")]
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
            "access.denied_users",
            "[\"eve\"]",
            "does not belong into this list",
        ),
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
        ("encryption.enabled", "\"yes\"", "is neither true nor false"),
        (
            "encryption.portal",
            "\"sometimes\"",
            "write \"always\", \"match\" or \"never\"",
        ),
        ("encryption.share", "\"some\"", "\"signed\""),
        ("encryption.machines", "0", "write a whole number from 1"),
        ("log.level", "\"inof\"", "is not a log filter"),
        ("log.format", "\"xml\"", "write \"human\" or \"json\""),
        (
            "metrics.listen",
            "\"0.0.0.0:29350\"",
            "is the address of appservice.listen",
        ),
    ] {
        let (section, name) = key.split_once('.').unwrap();
        let toml = with(section, name, value);
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

#[test]
fn encryption_is_on_unless_it_is_switched_off() {
    let encryption = |toml: &str| {
        let dir = dir(&minimal(toml));
        load(dir.path(), &[]).unwrap().config.encryption
    };
    let all = encryption("");
    assert!(all.enabled);
    assert_eq!(all.portal, EncryptPortals::Always);
    assert_eq!(all.share, ShareKeys::All);
    for (name, portal) in [
        ("always", EncryptPortals::Always),
        ("match", EncryptPortals::Match),
        ("never", EncryptPortals::Never),
    ] {
        let toml = format!("[encryption]\nportal = \"{name}\"\nshare = \"signed\"\nmachines = 1");
        let chosen = encryption(&toml);
        assert_eq!(chosen.portal, portal);
        assert_eq!(chosen.share, ShareKeys::Signed);
        assert_eq!(chosen.machines, 1);
    }
    assert!(!encryption("[encryption]\nenabled = false").enabled);
}

#[test]
fn peers_are_checked_like_the_rest() {
    let key = "A".repeat(43);
    let good = minimal(&format!(
        "[peers.\"b.example:8448\"]\nserver_key = \"{key}\"\nurl = \"https://b.example\"\n"
    ));
    let dir = dir(&good);
    let config = load(dir.path(), &[]).unwrap().config;
    assert_eq!(config.peers.len(), 1);
    let found = problems(
        &minimal("[peers.\"b example\"]\n[peers.\"c.example\"]\nserver_key = \"short\"\nkey = 1\n"),
        &[],
    );
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(
        problems(
            &minimal("").replacen("[homeserver]", "peers = 1\n[homeserver]", 1),
            &[]
        )
        .len(),
        1
    );
}

#[test]
fn the_database_url_may_stand_in_a_file_of_its_own() {
    let url = "postgres://vizard:secret-secret@127.0.0.1/vizard";
    let toml = minimal("").replace("url = \"sqlite:vizard.db\"", "url_file = \"url\"");
    let home = dir(&toml);
    std::fs::write(home.path().join("url"), format!("{url}\n")).unwrap();
    let loaded = load(home.path(), &[]).unwrap();
    assert_eq!(loaded.config.database_url(), url);
    assert!(!format!("{:?}", loaded.config).contains("secret-secret"));
    std::fs::write(home.path().join("url"), "sqlite:other.db").unwrap();
    let path = load(home.path(), &[]).unwrap().config.database_path();
    assert_eq!(path, Some(home.path().join("other.db")));

    std::fs::write(home.path().join("url"), "mysql://u:secret-secret@x/y").unwrap();
    let error = load(home.path(), &[]).unwrap_err();
    let ConfigError::Invalid {
        problems: found, ..
    } = error
    else {
        panic!("{error}");
    };
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(
        matches!(&found[..], [one] if one.contains("url_file") && one.contains("is neither")),
        "{found:?}"
    );
    assert!(!found[0].contains("secret-secret"), "{found:?}");
    let both = minimal("").replace("[database]", "[database]\nurl_file = \"url\"");
    let found = problems(&both, &[]).join("\n");
    assert!(found.contains("are both set"), "{found}");
    let found = problems(&toml, &[]).join("\n");
    assert!(found.contains("cannot read"), "{found}");
}
