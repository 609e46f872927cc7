//! What may come into the build, by the lists of `deny.toml`, and that nothing does for which there is no use.
//!
//! `cargo deny check` does more, advisories among it; but to build it takes longer than these tests' share of CI.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::Command,
};

use serde_json::Value;
use toml::Table;

/// Where all but the workspace's own crates come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// One crate of the build, as `cargo metadata` names it.
struct Crate {
    name: String,
    version: String,
    /// SPDX; none where there is but a file.
    license: Option<String>,
    /// None is of this workspace.
    source: Option<String>,
}

fn read(name: &str) -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path)
        .expect("readable")
        .parse()
        .expect("TOML")
}

/// What Vizard is built from and tested with, on this machine's platform.
fn built() -> Vec<Crate> {
    let output = |program: &str, arguments: &[&str]| {
        let program = env::var_os(program.to_uppercase()).unwrap_or_else(|| program.into());
        let output = Command::new(program)
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("it starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let version = output("rustc", &["-vV"]);
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("a host");
    let metadata = output(
        "cargo",
        &[
            "metadata",
            "--format-version=1",
            "--locked",
            "--offline",
            "--filter-platform",
            host,
        ],
    );
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let packages = list(&metadata["packages"]);
    let edges: BTreeMap<_, _> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let to = list(&node["dependencies"])
                .iter()
                .filter_map(text)
                .collect();
            (text(&node["id"]).expect("an id"), to)
        })
        .collect();
    let root = packages
        .iter()
        .find(|package| package["name"] == "vizard")
        .and_then(|package| text(&package["id"]))
        .expect("Vizard");
    let reached = reach(root, &edges);
    packages
        .iter()
        .filter(|package| reached.contains(package["id"].as_str().expect("an id")))
        .map(|package| Crate {
            name: text(&package["name"]).expect("a name"),
            version: text(&package["version"]).expect("a version"),
            license: text(&package["license"]),
            source: text(&package["source"]),
        })
        .collect()
}

fn reach(root: String, edges: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![root]);
    while let Some(one) = open.pop() {
        if reached.insert(one.clone()) {
            open.extend(edges.get(&one).cloned().unwrap_or_default());
        }
    }
    reached
}

/// Why this crate may not be here.
fn refused(one: &Crate, rules: &Table) -> Option<String> {
    let names = |value: &toml::Value| -> Vec<String> {
        let one = |value: &toml::Value| {
            value
                .get("name")
                .unwrap_or(value)
                .as_str()
                .map(ToOwned::to_owned)
        };
        value
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(one)
            .collect()
    };
    let whose = format!("{} {}", one.name, one.version);
    if names(&rules["bans"]["deny"]).contains(&one.name) {
        return Some(format!("{whose} is banned"));
    }
    if one
        .source
        .as_deref()
        .is_some_and(|source| source != REGISTRY)
    {
        return Some(format!("{whose} comes from {:?}", one.source));
    }
    let allowed: Vec<_> = names(&rules["licenses"]["allow"])
        .iter()
        .map(|license| spdx::Licensee::parse(license).expect("SPDX"))
        .collect();
    let Some(license) = &one.license else {
        return Some(format!("{whose} names no licence"));
    };
    // Some write `MIT/Apache-2.0`, as was the custom once.
    let accepted =
        spdx::Expression::parse_mode(license, spdx::ParseMode::LAX).is_ok_and(|license| {
            license.evaluate(|wanted| allowed.iter().any(|one| one.satisfies(wanted)))
        });
    (!accepted).then(|| format!("{whose} is under {license}"))
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
fn licences_sources_and_bans_are_kept() {
    let (rules, built) = (read("deny.toml"), built());
    assert!(built.len() > 100, "only {} crates", built.len());
    let refused: Vec<_> = built
        .iter()
        .filter_map(|one| refused(one, &rules))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn what_may_not_come_in_is_found() {
    let rules = read("deny.toml");
    let one = |name: &str, license: Option<&str>, source: &str| Crate {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        license: license.map(ToOwned::to_owned),
        source: Some(source.to_owned()),
    };
    assert_eq!(
        refused(&one("a", Some("MIT/Apache-2.0"), REGISTRY), &rules),
        None
    );
    assert_eq!(
        refused(&one("a", Some("GPL-3.0-only OR MIT"), REGISTRY), &rules),
        None
    );
    for (bad, why) in [
        (one("a", Some("GPL-3.0-only"), REGISTRY), "is under GPL"),
        (
            one("a", Some("MIT AND GPL-3.0-only"), REGISTRY),
            "is under MIT AND",
        ),
        (one("a", None, REGISTRY), "names no licence"),
        (one("openssl-sys", Some("MIT"), REGISTRY), "is banned"),
        (
            one("a", Some("MIT"), "git+https://example.org/a"),
            "comes from",
        ),
    ] {
        let said = refused(&bad, &rules).expect("refused");
        assert!(said.contains(why), "{said}");
    }
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
