//! Reading and checking a key document.

use std::collections::BTreeSet;

use ruma::{ServerName, UserId};
use serde_json::{Map, Value};

use super::{
    HpkePublicKey, KeyDocument, ListedKey, MAX_DOCUMENT, SUITE, ShapeFault,
    document::TYPE,
    fields::{self, Fields},
};
use crate::pseudonym::{ServerKeyId, SignatureFault, signed};

const FIELDS: [&str; 10] = [
    "type",
    "server_name",
    "bot",
    "prefix",
    "sequence",
    "valid_until_ts",
    "verify_keys",
    "old_verify_keys",
    "hpke_keys",
    "signatures",
];

/// A document may be valid for so long from now.
const MAX_VALID_MS: u64 = 30 * 24 * 60 * 60 * 1000;
const MAX_PREFIX: usize = 100;

/// Why a key document is not to be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is no key document.
    #[error("{0}")]
    Shape(#[from] ShapeFault),
    /// It is another server's.
    #[error("it is the key document of another server")]
    OtherServer,
    /// The bot or the prefix is not one of the server's.
    #[error("{0}: not of this server")]
    NotOfServer(&'static str),
    /// There are too few or too many keys of a kind.
    #[error("{0}: too few or too many")]
    Count(&'static str),
    /// A key's name does not follow from the key, or two keys have one name.
    #[error("{0}: a key has a name that is not its own")]
    Name(&'static str),
    /// Somebody signed who must not.
    #[error("signatures: by somebody else than its own server keys")]
    Signers,
    /// A signature does not hold.
    #[error("signature by {key}: {fault}")]
    Signature {
        /// The key's name.
        key: String,
        /// What is wrong with the signature.
        fault: SignatureFault,
    },
    /// It was valid until before now.
    #[error(
        "it has expired: that server's Vizard has not published for days, or this clock is wrong"
    )]
    Expired,
    /// It claims to be valid for longer than documents are.
    #[error("it is valid for more than 30 days: that server's clock or this one is wrong")]
    TooLong,
    /// None of its HPKE keys can be sealed to any more.
    #[error("all its HPKE keys have expired")]
    NoSealingKey,
}

impl KeyDocument {
    /// Reads the key document of `server` and checks all that can be checked of it alone.
    pub fn parse(json: &[u8], server: &ServerName, now: u64) -> Result<Self, DocumentError> {
        Self::parse_of_any_time(json, server)?.at(now)
    }

    /// The same, whether or not it is valid now: to check what was signed when it was.
    pub fn parse_of_any_time(json: &[u8], server: &ServerName) -> Result<Self, DocumentError> {
        Self::of(fields::read(json, MAX_DOCUMENT)?, server)
    }

    /// Whether it is valid at a time; documents are kept and get old.
    pub fn at(self, now: u64) -> Result<Self, DocumentError> {
        if self.valid_until_ts <= now {
            return Err(DocumentError::Expired);
        }
        if self.valid_until_ts > now.saturating_add(MAX_VALID_MS) {
            return Err(DocumentError::TooLong);
        }
        if self.sealing_key(now).is_none() {
            return Err(DocumentError::NoSealingKey);
        }
        Ok(self)
    }

    pub(super) fn of(value: Value, server: &ServerName) -> Result<Self, DocumentError> {
        let fields = Fields::new(&value, &FIELDS)?;
        fields.require("type", TYPE)?;
        if fields.text("server_name")? != server.as_str() {
            return Err(DocumentError::OtherServer);
        }
        let bot = fields.parsed("bot", |text| UserId::parse(text).ok())?;
        if bot.server_name() != server {
            return Err(DocumentError::NotOfServer("bot"));
        }
        let prefix = fields.text("prefix")?.to_owned();
        check_prefix(&prefix, server)?;
        let sequence = fields.number("sequence")?;
        if sequence == 0 {
            return Err(ShapeFault::malformed("sequence").into());
        }
        let verify_keys = server_keys(fields, "verify_keys", 1..=4, &["key"])?;
        let old = server_keys(fields, "old_verify_keys", 0..=8, &["key", "expired_ts"])?;
        let names: BTreeSet<_> = verify_keys
            .iter()
            .chain(&old)
            .map(ServerKeyId::name)
            .collect();
        if names.len() < verify_keys.len() + old.len() {
            return Err(DocumentError::Name("old_verify_keys"));
        }
        let hpke_keys = hpke_keys(fields)?;
        let message = fields.signed_bytes()?;
        let signers = signers(fields, server, &verify_keys, &old, &message)?;
        Ok(Self {
            server: server.to_owned(),
            bot,
            prefix,
            sequence,
            valid_until_ts: fields.number("valid_until_ts")?,
            verify_keys,
            old_verify_keys: old,
            hpke_keys,
            signers,
            digest: Self::digest_of(&message),
            value,
        })
    }
}

fn check_prefix(prefix: &str, server: &ServerName) -> Result<(), DocumentError> {
    let ghost = UserId::parse(format!("@{prefix}{:a<52}:{server}", ""));
    let whole = ghost.is_ok_and(|ghost| ghost.localpart().len() == prefix.len() + 52);
    if prefix.is_empty() || prefix.len() > MAX_PREFIX || !whole {
        return Err(DocumentError::NotOfServer("prefix"));
    }
    Ok(())
}

/// The entries of an object of keys.
fn entries<'a>(
    fields: Fields<'a>,
    field: &'static str,
    count: std::ops::RangeInclusive<usize>,
) -> Result<&'a Map<String, Value>, DocumentError> {
    let keys = fields.object(field)?;
    if !count.contains(&keys.len()) {
        return Err(DocumentError::Count(field));
    }
    Ok(keys)
}

fn server_keys(
    fields: Fields<'_>,
    field: &'static str,
    count: std::ops::RangeInclusive<usize>,
    known: &[&str],
) -> Result<Vec<ServerKeyId>, DocumentError> {
    let read = |(name, entry): (&String, &Value)| {
        let entry = Fields::new(entry, known)?;
        let key = entry.parsed("key", ServerKeyId::from_base64)?;
        if known.contains(&"expired_ts") {
            entry.number("expired_ts")?;
        }
        if *name != key.name() {
            return Err(DocumentError::Name(field));
        }
        Ok(key)
    };
    entries(fields, field, count)?.iter().map(read).collect()
}

fn hpke_keys(fields: Fields<'_>) -> Result<Vec<ListedKey>, DocumentError> {
    let read = |(name, entry): (&String, &Value)| {
        let entry = Fields::new(entry, &["suite", "key", "expires_ts"])?;
        entry.require("suite", SUITE)?;
        let key = entry.parsed("key", HpkePublicKey::from_base64)?;
        if *name != key.name() {
            return Err(DocumentError::Name("hpke_keys"));
        }
        let expires_ts = entry.number("expires_ts")?;
        Ok(ListedKey { key, expires_ts })
    };
    entries(fields, "hpke_keys", 1..=8)?
        .iter()
        .map(read)
        .collect()
}

/// Checks every signature; each key in use must have signed.
fn signers(
    fields: Fields<'_>,
    server: &ServerName,
    verify_keys: &[ServerKeyId],
    old: &[ServerKeyId],
    message: &[u8],
) -> Result<Vec<ServerKeyId>, DocumentError> {
    let signatures = fields.object("signatures")?;
    let by = signatures
        .get(server.as_str())
        .and_then(Value::as_object)
        .filter(|_| signatures.len() == 1)
        .ok_or(DocumentError::Signers)?;
    let mut signers = Vec::new();
    for (name, signature) in by {
        let key = verify_keys
            .iter()
            .chain(old)
            .find(|key| key.name() == *name)
            .ok_or(DocumentError::Signers)?;
        signed::check_one(signature, key.key(), message).map_err(|fault| {
            DocumentError::Signature {
                key: name.clone(),
                fault,
            }
        })?;
        signers.push(*key);
    }
    if let Some(missing) = verify_keys.iter().find(|key| !signers.contains(key)) {
        return Err(DocumentError::Signature {
            key: missing.name(),
            fault: SignatureFault::Missing,
        });
    }
    Ok(signers)
}
