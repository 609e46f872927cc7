//! What the tests run: the page's sources, with the packages with which it is built.

use anyhow::Result;

use crate::testkit::{
    node::{packages, write},
    scratch::Scratch,
};

/// The page's sources, as they are committed, without the bundle.
pub const PAGE: [(&str, &str); 6] = [
    (
        "package.json",
        include_str!("../../src/http/seal/package.json"),
    ),
    (
        "package-lock.json",
        include_str!("../../src/http/seal/package-lock.json"),
    ),
    (".npmrc", include_str!("../../src/http/seal/.npmrc")),
    ("build.mjs", include_str!("../../src/http/seal/build.mjs")),
    ("page.mjs", include_str!("../../src/http/seal/page.mjs")),
    (
        "sealing.mjs",
        include_str!("../../src/http/seal/sealing.mjs"),
    ),
];

/// A copy of the page's sources with what `npm ci` installs for them.
pub fn sources() -> Result<Scratch> {
    let packages = packages("page-build", &PAGE[..3], |_, _| Ok(()))?;
    let scratch = Scratch::new("page")?;
    write(scratch.path(), &PAGE)?;
    std::os::unix::fs::symlink(
        packages.join("node_modules"),
        scratch.path().join("node_modules"),
    )?;
    Ok(scratch)
}
