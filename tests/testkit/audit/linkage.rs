//! What two pseudonyms have in common and nobody else has.
//!
//! Meant for ghosts of one user, which are never in the same room: whatever a database holds about both
//! and about no third is a thread from one to the other.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
};

use anyhow::Result;
use serde_json::Value;

use super::database;

/// Something that ties pseudonyms together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The value they share; for a row that names several of them, what the row is.
    pub value: String,
    pub ghosts: Vec<String>,
    /// Where it stands (`table.column`), for each ghost.
    pub places: Vec<String>,
}

/// Shorter ones (`join`, `true`, a colour) are shared by chance.
const SHORTEST: usize = 6;

/// Words of Synapse's own bookkeeping that it writes for some events only, such as the first join of a server.
const ITS_OWN: &[&str] = &["send_on_behalf_of"];

/// Ghost → where.
type Holders = BTreeMap<String, BTreeSet<String>>;

/// Reports values that stand in rows about two of `ghosts` and in no row about others, and rows that name
/// two of them at once.
///
/// A row is about a ghost if one of its cells names it. Values are whole cells, the strings (and keys)
/// inside JSON, and identifier-like pieces of other texts. Plain numbers are left out: times and
/// positions coincide.
pub async fn linkage(database: &Path, ghosts: &[&str]) -> Result<Vec<Link>> {
    let mut shared: BTreeMap<String, Holders> = BTreeMap::new();
    let mut general: HashSet<String> = HashSet::new();
    let mut links = Vec::new();
    database::rows(database, |table, number, row| {
        let about: Vec<&str> = ghosts
            .iter()
            .copied()
            .filter(|ghost| names(row, ghost))
            .collect();
        for (column, bytes) in row {
            for value in values(&String::from_utf8_lossy(bytes)) {
                if about.is_empty() {
                    general.insert(value);
                } else if !ghosts.iter().any(|ghost| value.contains(localpart(ghost))) {
                    let holders = shared.entry(value).or_default();
                    for ghost in &about {
                        holders
                            .entry((*ghost).to_owned())
                            .or_default()
                            .insert(format!("{table}.{column}"));
                    }
                }
            }
        }
        if about.len() > 1 {
            links.push(Link {
                value: format!("row {number} of {table}: {}", shown(row)),
                ghosts: about.iter().map(|ghost| (*ghost).to_owned()).collect(),
                places: vec![table.to_owned()],
            });
        }
    })
    .await?;
    for (value, holders) in shared {
        if holders.len() > 1 && !general.contains(&value) && !ITS_OWN.contains(&value.as_str()) {
            links.push(Link {
                value,
                places: holders
                    .values()
                    .flatten()
                    .cloned()
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect(),
                ghosts: holders.into_keys().collect(),
            });
        }
    }
    Ok(links)
}

fn localpart(ghost: &str) -> &str {
    ghost
        .trim_start_matches('@')
        .split(':')
        .next()
        .unwrap_or(ghost)
}

fn names(row: &[(String, Vec<u8>)], ghost: &str) -> bool {
    let wanted = localpart(ghost);
    row.iter()
        .any(|(_, bytes)| String::from_utf8_lossy(bytes).contains(wanted))
}

fn shown(row: &[(String, Vec<u8>)]) -> String {
    let text = row
        .iter()
        .map(|(column, bytes)| format!("{column}={}", String::from_utf8_lossy(bytes)));
    text.collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(300)
        .collect()
}

fn values(cell: &str) -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    if let Ok(json) = serde_json::from_str::<Value>(cell) {
        strings(&json, &mut values);
    } else {
        values.insert(cell.to_owned());
        let pieces = cell.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=_-~".contains(c)));
        // In running text only what is long enough to be an identifier.
        values.extend(pieces.filter(|piece| piece.len() >= 10).map(str::to_owned));
    }
    values.retain(|value| {
        value.chars().count() >= SHORTEST
            && !value
                .chars()
                .all(|c| c.is_ascii_digit() || ".-+".contains(c))
    });
    values
}

fn strings(json: &Value, into: &mut BTreeSet<String>) {
    match json {
        Value::String(text) => {
            into.insert(text.clone());
        }
        Value::Array(all) => all.iter().for_each(|one| strings(one, into)),
        Value::Object(all) => {
            for (key, value) in all {
                into.insert(key.clone());
                strings(value, into);
            }
        }
        _ => {}
    }
}
