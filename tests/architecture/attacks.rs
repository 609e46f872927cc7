//! The table of attacks in `docs/protocol.md` names tests: each is where it says.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A test that is named, and the files that are named before it: it is in one of them, or anywhere if there is none.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    files: Vec<String>,
    test: String,
}

/// What the second column of a table names. "fake:", "real:" and the like, and semicolons, begin anew.
fn named(cell: &str) -> Vec<Named> {
    let mut found = Vec::new();
    for part in cell.split(';') {
        let (mut files, mut complete) = (Vec::new(), false);
        for code in part.split('`').skip(1).step_by(2) {
            if Path::new(code).extension().is_some() {
                if std::mem::take(&mut complete) {
                    files.clear();
                }
                files.push(code.to_owned());
            } else {
                complete = true;
                let (files, test) = (files.clone(), code.to_owned());
                found.push(Named { files, test });
            }
        }
        // A file alone has tests of what it is about.
        if !complete {
            let tests = files.drain(..).map(|file| Named {
                files: vec![file],
                test: String::new(),
            });
            found.extend(tests);
        }
    }
    found
}

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<PathBuf> = ["src", "tests", "fuzz/fuzz_targets"]
        .map(|dir| root.join(dir))
        .to_vec();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("readable");
            waiting.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.display().to_string();
            found.push((name, fs::read_to_string(&path).expect("readable")));
        }
    }
    found
}

/// What is named and is not there.
fn missing(table: &str, sources: &[(String, String)]) -> Vec<Named> {
    let is_there = |named: &Named| {
        sources.iter().any(|(path, text)| {
            let here = |file: &String| path.ends_with(&format!("/{file}"));
            let test = format!("fn {}(", named.test);
            let target = format!("/fuzz_targets/{}.rs", named.test);
            let has_it = match named.test.as_str() {
                "" => text.contains("#[test]") || text.contains("#[tokio::test"),
                _ => text.contains(&test) || path.ends_with(&target),
            };
            (named.files.is_empty() || named.files.iter().any(here)) && has_it
        })
    };
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split(" | ").nth(1));
    cells
        .flat_map(named)
        .filter(|named| !is_there(named))
        .collect()
}

#[test]
fn the_table_of_attacks_names_tests_that_are_there() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    let text = fs::read_to_string(docs).expect("readable");
    let (_, table) = text
        .split_once("### How attacks are tested")
        .expect("the table");
    let table = table.split("\n#").next().unwrap_or_default();
    assert!(table.matches("\n| ").count() > 20, "the table is there");
    let missing = missing(table, &sources());
    assert!(missing.is_empty(), "named and not there: {missing:#?}");
}

#[test]
fn what_is_not_there_is_found() {
    let sources = [
        ("/r/tests/keys/peers.rs", "#[test]\nfn one_thing() {}"),
        ("/r/src/mail.rs", "fn mail() {}"),
        ("/r/fuzz/fuzz_targets/to_device.rs", ""),
    ];
    let sources = sources.map(|(path, text)| (path.to_owned(), text.to_owned()));
    for (cell, expected) in [
        ("pure: `keys/peers.rs` `one_thing`", 0),
        ("pure: `one_thing`, `other_thing`", 1),
        ("`src/mail.rs` `mail`, `keys/peers.rs` `mail`", 1),
        ("`src/mail.rs`, `keys/peers.rs`", 1),
        ("`mail.rs` and `keys/peers.rs` `one_thing`", 0),
        ("`keys/peers.rs` `one_thing`; `mail.rs` `one_thing`", 1),
        ("`nowhere.rs` `one_thing`", 1),
        ("fuzz target `to_device`", 0),
    ] {
        let row = format!("| an attack | {cell} |");
        assert_eq!(missing(&row, &sources).len(), expected, "{cell}");
    }
}
