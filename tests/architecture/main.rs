//! The house rules, read from the source: imports go downward, SQL and clocks stay where they belong.

mod attacks;
mod code;
mod dependencies;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Rank and module. A module may import from lower ranks, and from its own rank only where `together` says so.
const RANKS: &[(u8, &str)] = &[
    (7, "main"),
    (7, "cli"),
    (7, "app"),
    (6, "http"),
    (6, "worker"),
    (5, "bot"),
    (4, "relay"),
    (4, "invite"),
    (3, "portal"),
    (3, "e2ee"),
    (3, "keys"),
    (2, "store"),
    (2, "homeserver"),
    (2, "peer"),
    (1, "pseudonym"),
    (1, "sealed"),
    (1, "rewrite"),
    (1, "media"),
    (1, "event"),
    (1, "spool"),
    (0, "config"),
    (0, "telemetry"),
    (0, "crypto"),
    (0, "clock"),
    (0, "rng"),
    (0, "trap"),
];

/// Imports within one rank that are meant: the command line starts the application; the listener hands transactions to the
/// intake; sealed invites are signed by pseudonyms; configuration reads the key file; keys are drawn from the generator.
const TOGETHER: &[(&str, &str)] = &[
    ("main", "cli"),
    ("cli", "app"),
    ("http", "worker"),
    ("portal", "e2ee"),
    ("portal", "keys"),
    ("rewrite", "media"),
    ("sealed", "pseudonym"),
    ("config", "crypto"),
    ("config", "telemetry"),
    ("config", "rng"),
    ("telemetry", "config"),
    ("crypto", "rng"),
];

fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("src is readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(&root).expect("below src");
            let module = relative
                .components()
                .next()
                .expect("a name")
                .as_os_str()
                .to_string_lossy();
            let module = module.trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).expect("readable");
            (module, relative.to_owned(), text)
        })
        .collect()
}

/// The modules that a source's code names as `crate::module`, in `use` groups too.
fn imports(text: &str) -> Vec<String> {
    let code = code::code(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(group_heads(group));
        } else {
            found.push(
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect(),
            );
        }
    }
    found
}

/// The first path segment of each item of a `{…}` group, whose opening brace was taken off.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut head, mut heads) = (0, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(std::mem::take(&mut head)),
            _ if depth == 0 => head.push(c),
            _ => {}
        }
    }
    heads.push(head);
    heads
        .into_iter()
        .map(|head| {
            head.trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect::<String>()
        })
        .filter(|head| !head.is_empty())
        .collect()
}

fn violations(module: &str, text: &str) -> Vec<String> {
    let ranks: BTreeMap<_, _> = RANKS.iter().map(|(rank, name)| (*name, *rank)).collect();
    let Some(own) = ranks.get(module) else {
        return vec![format!("module {module} has no rank")];
    };
    imports(text)
        .into_iter()
        .filter(|import| import != module)
        .filter(|import| match ranks.get(import.as_str()) {
            None => false,
            Some(rank) if rank < own => false,
            Some(rank) if rank == own => !TOGETHER.contains(&(module, import)),
            Some(_) => true,
        })
        .map(|import| format!("{module} imports {import}"))
        .collect()
}

#[test]
fn imports_go_downward() {
    let mut found = Vec::new();
    for (module, path, text) in sources() {
        if module == "lib" {
            continue;
        }
        found.extend(
            violations(&module, &text)
                .into_iter()
                .map(|violation| format!("{}: {violation}", path.display())),
        );
    }
    assert!(found.is_empty(), "upward imports:\n{}", found.join("\n"));
}

#[test]
fn an_upward_import_is_found() {
    assert_eq!(
        violations("store", "use crate::relay::Relay;"),
        ["store imports relay"]
    );
    assert_eq!(
        violations("store", "use crate::{clock::Clock, bot::{self, x}};"),
        ["store imports bot"]
    );
    assert_eq!(
        violations("store", "// use crate::relay::Relay;"),
        Vec::<String>::new()
    );
    assert_eq!(
        violations("store", "use crate::homeserver::Error;"),
        ["store imports homeserver"]
    );
    assert_eq!(
        violations("relay", "use crate::store::Link;"),
        Vec::<String>::new()
    );
    assert_eq!(violations("nowhere", "").len(), 1);
    assert_eq!(
        violations("store", "#[cfg(test)]\nmod tests;\nuse crate::bot::Call;"),
        ["store imports bot"]
    );
}

/// What, where it may stand (a module, or one file of it), why.
const PLACES: &[(&str, &[&str], &str)] = &[
    ("sqlx::", &["store"], "all SQL is in store"),
    (
        "reqwest::",
        &["homeserver", "peer"],
        "all Matrix HTTP is in homeserver, and other Vizards are asked by peer",
    ),
    ("SystemTime::now", &["clock"], "time comes from clock"),
    ("Instant::now", &["clock"], "time comes from clock"),
    ("tokio::time", WITH_TIMEOUTS, "time comes from clock"),
    ("rand::", &["rng"], "randomness comes from rng"),
    ("axum::", &["http", "app", "cli"], "the listener is in http"),
    (
        "portal_state(",
        &["portal", "rewrite"],
        "what stands in a portal's state names the room and the ghost: only portal writes it",
    ),
];

/// Where something may be given up by the machine's clock. How long a socket may be silent, and how long somebody waits for
/// another task, is of real time: a clock that runs fast in tests would cut off what is merely not that fast, and one that
/// stands would never. Nothing but `timeout` is meant; who waits for a time waits by `Clock::sleep`.
const WITH_TIMEOUTS: &[&str] = &[
    "clock",
    // Between two pieces of a download.
    "homeserver/body.rs",
    // A look-up over federation, which homeservers try for long.
    "keys/places.rs",
    // For one of few places to fetch, and for who fetches the same already.
    "keys/effort.rs",
    "keys/peers/counting.rs",
    // For what came beside the answer that was waited for.
    "invite/exchange.rs",
    // Diagnosis for an admin who sits there, without a service.
    "cli/doctor/mod.rs",
    "cli/doctor/hints.rs",
    "cli/doctor/probes.rs",
];

/// What stands in the code of a module's file and should not.
fn misplaced(module: &str, path: &str, text: &str) -> Vec<String> {
    let code = code::code(text);
    let mut found: Vec<_> = PLACES
        .iter()
        .filter(|(what, homes, _)| {
            code.contains(what) && !homes.contains(&module) && !homes.contains(&path)
        })
        .map(|(what, _, why)| format!("{what} ({why})"))
        .collect();
    if module != "clock" {
        let others = code
            .match_indices("tokio::time")
            .map(|(at, what)| &code[at + what.len()..])
            .filter(|rest| !rest.starts_with("::timeout("));
        found.extend(others.map(|_| "of tokio::time, timeout alone".to_owned()));
    }
    found
}

#[test]
fn each_thing_stays_in_its_place() {
    let (mut found, mut seen) = (Vec::new(), Vec::new());
    for (module, path, text) in sources() {
        let tests_only =
            path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        if !tests_only {
            let path = path.to_string_lossy();
            let misplaced = misplaced(&module, &path, &text).into_iter();
            found.extend(misplaced.map(|what| format!("{path}: {what}")));
            if code::code(&text).contains("tokio::time") {
                seen.extend([path.into_owned(), module]);
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let idle = WITH_TIMEOUTS
        .iter()
        .filter(|home| !seen.iter().any(|seen| seen == *home));
    assert_eq!(idle.count(), 0, "an exception that nobody needs any more");
}

#[test]
fn what_is_misplaced_is_found() {
    let count = |module, text| misplaced(module, &format!("{module}/some.rs"), text).len();
    assert_eq!(count("relay", r#"let a = sqlx::query("SELECT 1");"#), 1);
    assert_eq!(count("store", r#"let a = sqlx::query("SELECT 1");"#), 0);
    assert_eq!(
        count("relay", r#"let a = "sqlx::query"; // sqlx::query"#),
        0
    );
    let after_tests = "#[cfg(test)]\nmod tests;\nuse axum::Router;";
    assert_eq!(count("portal", after_tests), 1);
    let in_tests = "use a::B;\n#[cfg(test)]\nmod tests {\n use axum::Router;\n}";
    assert_eq!(count("portal", in_tests), 0);

    assert_eq!(count("relay", "Scrubbed::portal_state(event)"), 1);
    assert_eq!(count("relay", "let a = std::time::Instant::now();"), 1);
    assert_eq!(count("clock", "use std::time::Instant; Instant::now()"), 0);
    let (wait, sleep) = ("tokio::time::timeout(a, b).await", "tokio::time::sleep(a)");
    for (module, path, text, wrong) in [
        ("keys", "keys/effort.rs", wait, 0),
        ("keys", "keys/effort.rs", sleep, 1),
        ("keys", "keys/mod.rs", wait, 1),
        ("keys", "keys/mod.rs", sleep, 2),
        ("keys", "keys/effort.rs", "use tokio::time::timeout;", 1),
        ("clock", "clock.rs", sleep, 0),
    ] {
        assert_eq!(misplaced(module, path, text).len(), wrong, "{path}: {text}");
    }
}

/// Tables of tests may be long.
fn path_is_code(path: &Path) -> bool {
    !path.ends_with("tests.rs")
}

#[test]
fn files_stay_small() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(_, path, text)| text.lines().count() > 400 && path_is_code(path))
        .map(|(_, path, text)| format!("{} has {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(
        long.is_empty(),
        "a file past 400 lines wants to be two:\n{}",
        long.join("\n")
    );
}
