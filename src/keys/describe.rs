//! Keys as an admin reads them: what the bot's `keys` and `vizard keys` print. Plain lines, for type of fixed width; nothing in
//! them is secret.

use std::fmt::Write as _;

use super::{PinnedPeer, places::is_signed_by};
use crate::{
    clock::{UnixMillis, day, minute},
    pseudonym::ServerKeyId,
    sealed::{KeyDocument, fingerprint},
};

/// This Vizard's own keys, as its document lists them.
#[must_use]
pub fn own(document: &KeyDocument, now: UnixMillis) -> String {
    let mut text = format!("{}, {}\n", document.server(), state(document, now));
    for key in document.verify_keys() {
        let _ = writeln!(text, "server key   {}", key.name());
        let _ = writeln!(text, "  key          {}", key.to_base64());
        let _ = writeln!(text, "  fingerprint  {}", fingerprint(key.as_bytes()));
    }
    let in_use = document.verify_keys().len();
    for key in document.mapping_keys().iter().skip(in_use) {
        let _ = writeln!(
            text,
            "former       {}, vouches for pseudonyms of its time",
            key.name()
        );
    }
    let newest = document.sealing_key(now);
    for listed in document.hpke_keys() {
        let what = if newest == Some(listed.key) {
            "to seal to  "
        } else {
            "still listed"
        };
        let until = day(listed.expires_ts);
        let _ = writeln!(text, "{what} {}, until {until}", listed.key.name());
        let _ = writeln!(
            text,
            "  fingerprint  {}",
            fingerprint(listed.key.as_bytes())
        );
    }
    text
}

/// What is pinned of another Vizard. `by_hand`: the key that the configuration names for it.
#[must_use]
pub fn pinned(peer: &PinnedPeer, by_hand: Option<ServerKeyId>, now: UnixMillis) -> String {
    let Some(document) = peer.document() else {
        return format!("{}, cannot be read\n", peer.server);
    };
    let mut text = format!("{}, {}\n", peer.server, state(&document, now));
    for key in document.verify_keys() {
        let _ = writeln!(text, "  {}  {}", key.name(), fingerprint(key.as_bytes()));
    }
    let rests = match (by_hand, peer.only, peer.anchored) {
        (Some(key), ..) if !is_signed_by(&document, by_hand) => format!(
            "DOES NOT COUNT: not signed by the key in the configuration ({})",
            key.name()
        ),
        (Some(key), ..) => format!("pinned by hand ({})", key.name()),
        (None, Some(place), _) => {
            format!("accepted as it is {place}; the other place does not count")
        }
        (None, None, true) => "seen at the server itself, over TLS".to_owned(),
        (None, None, false) => "NOT ANCHORED: your own homeserver's word alone".to_owned(),
    };
    let _ = writeln!(
        text,
        "  {rests}; since {}, last fetched {}",
        day(peer.since),
        minute(peer.fetched)
    );
    text
}

/// The server keys of a document, by name and fingerprint, in a line each.
#[must_use]
pub fn fingerprints(document: &KeyDocument) -> String {
    let mut text = String::new();
    for key in document.verify_keys() {
        let _ = writeln!(text, "{}  {}", key.name(), fingerprint(key.as_bytes()));
    }
    text
}

fn state(document: &KeyDocument, now: UnixMillis) -> String {
    let (number, until) = (document.sequence(), document.valid_until_ts());
    if until > now {
        format!("document {number}, good until {}", minute(until))
    } else {
        format!("document {number}, OUT OF DATE since {}", minute(until))
    }
}
