//! The key document: what a Vizard publishes of itself, signed by its server keys.

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{DocumentError, HpkePublicKey, SUITE};
use crate::pseudonym::{ServerKey, ServerKeyId, signed};

/// The longest key document.
pub const MAX_DOCUMENT: usize = 16 * 1024;

pub(super) const TYPE: &str = "server_keys";

/// A key document whose shape and signatures were checked. Not yet one to rely on: that is what [`super::accept`] says.
#[derive(Clone)]
pub struct KeyDocument {
    pub(super) value: Value,
    pub(super) server: OwnedServerName,
    pub(super) bot: OwnedUserId,
    pub(super) prefix: String,
    pub(super) sequence: u64,
    pub(super) valid_until_ts: u64,
    pub(super) verify_keys: Vec<ServerKeyId>,
    pub(super) old_verify_keys: Vec<ServerKeyId>,
    pub(super) hpke_keys: Vec<ListedKey>,
    pub(super) signers: Vec<ServerKeyId>,
    pub(super) digest: [u8; 32],
}

impl std::fmt::Debug for KeyDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyDocument({}, #{})", self.server, self.sequence)
    }
}

/// Two are equal when they say the same, whoever signed them.
impl PartialEq for KeyDocument {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for KeyDocument {}

/// An HPKE key as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// The key.
    pub key: HpkePublicKey,
    /// Until when to seal to it, in milliseconds since 1970.
    pub expires_ts: u64,
}

impl KeyDocument {
    /// Whose keys these are.
    #[must_use]
    pub fn server(&self) -> &ServerName {
        &self.server
    }

    /// To whom invite requests go.
    #[must_use]
    pub fn bot(&self) -> &UserId {
        &self.bot
    }

    /// What stands before the key in the localparts of this server's ghosts.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Rises with every publication that changes anything.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When the document stops to be valid, in milliseconds since 1970.
    #[must_use]
    pub fn valid_until_ts(&self) -> u64 {
        self.valid_until_ts
    }

    /// The server keys in use; at least one.
    #[must_use]
    pub fn verify_keys(&self) -> &[ServerKeyId] {
        &self.verify_keys
    }

    /// The server keys in use and former ones, which vouch for mappings that were made in their time. Requests and
    /// answers are signed by keys in use alone.
    #[must_use]
    pub fn mapping_keys(&self) -> Vec<ServerKeyId> {
        [&self.verify_keys[..], &self.old_verify_keys[..]].concat()
    }

    /// The HPKE keys that are listed.
    #[must_use]
    pub fn hpke_keys(&self) -> &[ListedKey] {
        &self.hpke_keys
    }

    /// The key to seal to: of those that have not expired, the one that is listed longest.
    #[must_use]
    pub fn sealing_key(&self, now: u64) -> Option<HpkePublicKey> {
        self.hpke_keys
            .iter()
            .filter(|listed| listed.expires_ts > now)
            .max_by_key(|listed| (listed.expires_ts, listed.key.id()))
            .map(|listed| listed.key)
    }

    /// Whose signatures it carries: all keys in use, and former ones that vouch for the change.
    #[must_use]
    pub fn signers(&self) -> &[ServerKeyId] {
        &self.signers
    }

    /// SHA-256 of what is signed.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The document.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.value
    }

    pub(super) fn digest_of(signed_bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(signed_bytes).into()
    }
}

/// A server key that was in use.
#[derive(Clone, Debug)]
pub struct OldKey {
    /// The key.
    pub key: ServerKeyId,
    /// When its use ended, in milliseconds since 1970.
    pub expired_ts: u64,
    /// Its private half, while it still vouches for its successor to those who pinned it.
    pub signs: Option<ServerKey>,
}

/// A key document to be signed.
#[derive(Clone, Debug)]
pub struct DocumentDraft<'a> {
    /// The homeserver's name.
    pub server: &'a ServerName,
    /// The bot.
    pub bot: &'a UserId,
    /// The prefix of ghosts.
    pub prefix: &'a str,
    /// One more than the last that said anything else.
    pub sequence: u64,
    /// Until when it holds, at most 30 days ahead.
    pub valid_until_ts: u64,
    /// The server keys in use, 1 to 4.
    pub verify_keys: &'a [ServerKey],
    /// Former ones, at most 8.
    pub old_verify_keys: &'a [OldKey],
    /// The HPKE keys, 1 to 8.
    pub hpke_keys: &'a [ListedKey],
}

impl DocumentDraft<'_> {
    /// Signs it. What others would refuse is refused here.
    pub fn sign(&self, now: u64) -> Result<KeyDocument, DocumentError> {
        let verify_keys: Map<_, _> = self
            .verify_keys
            .iter()
            .map(|key| (key.id(), json!({ "key": key.public().to_base64() })))
            .collect();
        let old_verify_keys: Map<_, _> = self
            .old_verify_keys
            .iter()
            .map(|old| {
                let listed = json!({ "key": old.key.to_base64(), "expired_ts": old.expired_ts });
                (old.key.name(), listed)
            })
            .collect();
        let hpke_keys: Map<_, _> = self
            .hpke_keys
            .iter()
            .map(|listed| {
                let ListedKey { key, expires_ts } = listed;
                let value = json!({
                    "suite": SUITE, "key": key.to_base64(), "expires_ts": expires_ts,
                });
                (key.name(), value)
            })
            .collect();
        let mut document = Map::from_iter([
            ("type".to_owned(), TYPE.into()),
            ("server_name".to_owned(), self.server.as_str().into()),
            ("bot".to_owned(), self.bot.as_str().into()),
            ("prefix".to_owned(), self.prefix.into()),
            ("sequence".to_owned(), self.sequence.into()),
            ("valid_until_ts".to_owned(), self.valid_until_ts.into()),
            ("verify_keys".to_owned(), verify_keys.into()),
            ("old_verify_keys".to_owned(), old_verify_keys.into()),
            ("hpke_keys".to_owned(), hpke_keys.into()),
        ]);
        let message = signed::bytes_of(&document).unwrap_or_default();
        let former = self
            .old_verify_keys
            .iter()
            .filter_map(|old| old.signs.as_ref());
        let signatures: Map<_, _> = self
            .verify_keys
            .iter()
            .chain(former)
            .map(|key| (key.id(), signed::encode(&key.sign(&message)).into()))
            .collect();
        document.insert(
            "signatures".to_owned(),
            json!({ self.server.as_str(): signatures }),
        );
        KeyDocument::of(Value::Object(document), self.server).and_then(|it| it.at(now))
    }
}
