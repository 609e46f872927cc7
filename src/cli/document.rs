//! Key documents in files.

use std::{fs::File, io::Read as _, path::Path};

use ruma::ServerName;

use super::failure::Failure;
use crate::sealed::{DocumentError, KeyDocument, MAX_DOCUMENT};

/// Reads the key document of a server; valid at `now`, or at any time.
pub(super) fn read(
    path: &Path,
    server: &ServerName,
    now: Option<u64>,
) -> Result<KeyDocument, Failure> {
    let place = path.display();
    let mut json = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut json))
        .map_err(|error| {
            Failure::usage(
                format!("cannot read {place}: {error}"),
                "name the file with the key document with --keys FILE",
            )
        })?;
    let document = match now {
        Some(now) => KeyDocument::parse(&json, server, now),
        None => KeyDocument::parse_of_any_time(&json, server),
    };
    document.map_err(|error| {
        let help = match error {
            DocumentError::OtherServer => format!("this has to be the one of {server}"),
            _ => format!("get a fresh one from https://{server}/.well-known/matrix/vizard"),
        };
        Failure::usage(
            format!("{place} is not a valid key document: {error}"),
            help,
        )
    })
}
