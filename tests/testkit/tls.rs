//! Certificates for federation: a throw-away authority per machine, a certificate per server.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::python::{Python, home, lock};

const SCRIPT: &str = include_str!("tls.py");

/// The authority that all test servers trust, made once beside the Python environment.
pub fn authority(python: &Python) -> Result<PathBuf> {
    let directory = home()?.join("tls");
    let stamp = directory.join("complete");
    if !stamp.exists() {
        let _lock = lock(&home()?.join("tls.lock"), "a certificate authority")?;
        if !stamp.exists() {
            std::fs::create_dir_all(&directory)?;
            python.run(SCRIPT, &["ca", &text(&directory)])?;
            std::fs::File::create(&stamp)?;
        }
    }
    Ok(directory.join("ca.pem"))
}

/// Writes `tls.pem` and `tls.key` for a server at `address` into `out`.
pub fn certificate(python: &Python, address: IpAddr, out: &Path) -> Result<()> {
    let authority = authority(python)?;
    let directory = authority.parent().unwrap_or(&authority);
    leaf(python, "leaf", directory, address, out)
}

/// The same, expired.
pub fn expired_certificate(python: &Python, address: IpAddr, out: &Path) -> Result<()> {
    let authority = authority(python)?;
    let directory = authority.parent().unwrap_or(&authority);
    leaf(python, "old", directory, address, out)
}

/// The same, signed by an authority that nobody trusts, which is made in `out` too.
pub fn foreign_certificate(python: &Python, address: IpAddr, out: &Path) -> Result<()> {
    python.run(SCRIPT, &["ca", &text(out)])?;
    leaf(python, "leaf", out, address, out)
}

fn leaf(python: &Python, what: &str, authority: &Path, address: IpAddr, out: &Path) -> Result<()> {
    python.run(
        SCRIPT,
        &[what, &text(authority), &text(out), &address.to_string()],
    )?;
    Ok(())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
