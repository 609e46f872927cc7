//! The committed bundle is what its sources make.

use std::{fs, path::Path};

use crate::install;

#[test]
fn the_bundle_is_what_its_sources_make() {
    let sources = install::sources().unwrap();
    let node = crate::testkit::node::Node::shared().unwrap();
    let output = node
        .npm()
        .args(["run", "build", "--silent"])
        .current_dir(sources.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let made = fs::read(sources.path().join("app.js")).unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/seal/app.js");
    assert!(
        made == fs::read(&committed).unwrap(),
        "src/http/seal/app.js is not what `npm ci && npm run build` makes of its sources (CONTRIBUTING.md)"
    );
}

/// Nothing of a registry or of the machine that built it stands in what is committed.
#[test]
fn lock_files_name_no_registry() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in [
        "src/http/seal/package-lock.json",
        "tests/testkit/browser/package-lock.json",
    ] {
        let lock: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(root.join(path)).unwrap()).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
            assert!(package.get("resolved").is_none(), "{path}: {name}");
            assert!(
                package["integrity"]
                    .as_str()
                    .unwrap()
                    .starts_with("sha512-"),
                "{path}: {name}"
            );
        }
    }
}
