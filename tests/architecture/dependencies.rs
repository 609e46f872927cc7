//! No dependency stands in a manifest without use. What may come in at all is `deny.toml`'s to say.

use std::{collections::BTreeSet, fs, path::Path};

use toml::Table;

fn read(name: &str) -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path)
        .expect("readable")
        .parse()
        .expect("TOML")
}

/// The dependencies of `manifest` that no line of `code` names, and that are none for their features' sake alone.
fn unused(manifest: &Table, code: &str) -> Vec<String> {
    let words: BTreeSet<&str> = code
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    let meant: Vec<_> = manifest
        .get("package")
        .and_then(|package| {
            package
                .get("metadata")?
                .get("cargo-machete")?
                .get("ignored")?
                .as_array()
        })
        .into_iter()
        .flatten()
        .filter_map(toml::Value::as_str)
        .collect();
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .into_iter()
        .filter_map(|section| manifest.get(section)?.as_table())
        .flat_map(Table::keys)
        .filter(|name| {
            !words.contains(name.replace('-', "_").as_str()) && !meant.contains(&name.as_str())
        })
        .cloned()
        .collect()
}

fn code(folders: &[&str]) -> String {
    fn walk(path: &Path, code: &mut String) {
        if path.is_dir() {
            for entry in fs::read_dir(path).expect("readable") {
                walk(&entry.expect("an entry").path(), code);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            code.push_str(&fs::read_to_string(path).expect("readable"));
        }
    }
    let mut code = String::new();
    for folder in folders {
        walk(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
            &mut code,
        );
    }
    code
}

#[test]
fn each_dependency_is_used() {
    let own = code(&["src", "tests", "benches", "examples"]);
    assert_eq!(unused(&read("Cargo.toml"), &own), [""; 0]);
    assert_eq!(unused(&read("fuzz/Cargo.toml"), &code(&["fuzz"])), [""; 0]);
}

#[test]
fn one_without_use_is_found() {
    let manifest: Table =
        "[dependencies]\nat-work = \"1\"\nidle = \"1\"\n[dev-dependencies]\nasleep = \"1\""
            .parse()
            .expect("TOML");
    let found = unused(&manifest, "use at_work::Work; // idleness");
    assert_eq!(found, ["idle", "asleep"]);
}
