//! `vizard verify`: checks a statement that somebody made with `prove`, offline.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    failure::{Exit, Failure},
    print,
};
use crate::pseudonym::verify_proof;

pub(super) fn verify(file: Option<&PathBuf>) -> Result<Exit, Failure> {
    let text = match file.map(PathBuf::as_path) {
        Some(path) if path != Path::new("-") => std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display())),
        _ => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map(|_| text)
                .map_err(|error| format!("cannot read standard input: {error}"))
        }
    }
    .map_err(|error| {
        Failure::usage(
            error,
            "give the file with the statement, or - for standard input",
        )
    })?;
    let Ok(statement) = serde_json::from_str::<Value>(text.trim()) else {
        return Err(Failure::usage(
            "that is not JSON",
            "give the whole statement, from `{` to `}`, as the bot printed it",
        ));
    };
    if let Err(error) = verify_proof(&statement) {
        print(&format!("✗ this statement does not hold: {error}\n"));
        return Ok(Exit::Check);
    }
    let field = |name: &str| statement[name].as_str().unwrap_or_default().to_owned();
    print(&format!(
        "✓ {} says, as a member of {}:\n  {}\n",
        field("ghost"),
        field("room_id"),
        field("text")
    ));
    Ok(Exit::Success)
}
