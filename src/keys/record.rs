//! The record of own keys, and what becomes of it as time goes by. Pure but for the randomness that is handed in.

use serde::{Deserialize, Serialize};

use super::Settings;
use crate::{
    clock::UnixMillis,
    crypto::Seed,
    pseudonym::ServerKey,
    rng::Rng,
    sealed::{DocumentDraft, DocumentError, HpkeKey, HpkeKeys, KeyDocument, ListedKey, OldKey},
    store::Note,
};

/// The key of the one note.
pub(super) const OWN: &[u8] = b"own";

const DAY: UnixMillis = 24 * 60 * 60 * 1000;
/// A server key is in use for so long.
const SERVER_KEY_DAYS: UnixMillis = 365;
/// A document is good for so long, and signed anew when half of it is over.
const VALID: UnixMillis = 7 * DAY;
/// What was sealed to a key can be opened for so long after the key is no longer published.
const KEEP: UnixMillis = 400 * DAY;
/// Former server keys that are listed, and go on vouching for their successors.
const FORMER: usize = 8;
/// Keys to seal to that a document lists.
const LISTED: usize = 8;

/// What is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotate {
    /// What is due.
    WhatIsDue,
    /// The key to seal to.
    Hpke,
    /// The server key.
    Server,
    /// The server key and the key to seal to.
    All,
}

/// The keys of this Vizard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Own {
    sequence: u64,
    server: Seed,
    server_since: UnixMillis,
    #[serde(default)]
    former: Vec<Former>,
    /// Newest last.
    hpke: Vec<Sealing>,
    /// The signed document, as JSON.
    document: String,
}

impl Note for Own {
    const KIND: i64 = 1;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Former {
    seed: Seed,
    expired_ts: UnixMillis,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sealing {
    seed: Seed,
    made: UnixMillis,
    expires_ts: UnixMillis,
}

impl Sealing {
    fn generate(rng: &Rng, settings: &Settings, now: UnixMillis) -> Self {
        let days = UnixMillis::from(settings.rotate_days) + UnixMillis::from(settings.overlap_days);
        Self {
            seed: Seed::from(*HpkeKey::generate(rng).seed().expose()),
            made: now,
            expires_ts: now + days * DAY,
        }
    }

    fn key(&self) -> HpkeKey {
        HpkeKey::from_seed(&self.seed)
    }
}

impl Own {
    /// The first keys. `server` is the key with which mappings were signed before there was a record.
    pub(super) fn first(
        rng: &Rng,
        server: &ServerKey,
        settings: &Settings,
        now: UnixMillis,
    ) -> Result<Self, DocumentError> {
        Self {
            sequence: 0,
            server: Seed::from(server.seed()),
            server_since: now,
            former: Vec::new(),
            hpke: vec![Sealing::generate(rng, settings, now)],
            document: String::new(),
        }
        .signed(settings, now)
    }

    /// The record as it has to be now, if that is another one.
    pub(super) fn at(
        mut self,
        rng: &Rng,
        settings: &Settings,
        now: UnixMillis,
        what: Rotate,
    ) -> Result<Option<Self>, DocumentError> {
        let newest = self.hpke.last().map_or(0, |key| key.made);
        let hpke = matches!(what, Rotate::Hpke | Rotate::All)
            || now >= newest + UnixMillis::from(settings.rotate_days) * DAY;
        let server = matches!(what, Rotate::Server | Rotate::All)
            || now >= self.server_since + SERVER_KEY_DAYS * DAY;
        if hpke {
            self.hpke.push(Sealing::generate(rng, settings, now));
        }
        if server {
            let next = Seed::from(ServerKey::generate(rng).seed());
            let seed = std::mem::replace(&mut self.server, next);
            self.server_since = now;
            self.former.push(Former {
                seed,
                expired_ts: now,
            });
            let surplus = self.former.len().saturating_sub(FORMER);
            self.former.drain(..surplus);
        }
        self.hpke.retain(|key| now < key.expires_ts + KEEP);
        if hpke || server || self.is_stale(settings, now) {
            return self.signed(settings, now).map(Some);
        }
        Ok(None)
    }

    /// Whether the document has to be signed anew: it grows old, lists an expired key, or says what is no longer so.
    fn is_stale(&self, settings: &Settings, now: UnixMillis) -> bool {
        let Ok(document) = self.document(&settings.server) else {
            return true;
        };
        document.valid_until_ts() < now + VALID / 2
            || document.bot() != settings.bot
            || document.prefix() != settings.prefix
            || document.hpke_keys().iter().any(|key| key.expires_ts <= now)
    }

    fn signed(mut self, settings: &Settings, now: UnixMillis) -> Result<Self, DocumentError> {
        self.sequence += 1;
        let former: Vec<OldKey> = self
            .former
            .iter()
            .map(|former| {
                let key = ServerKey::from_seed(&former.seed);
                OldKey {
                    key: key.public(),
                    expired_ts: former.expired_ts,
                    signs: Some(key),
                }
            })
            .collect();
        let mut listed: Vec<ListedKey> = self
            .hpke
            .iter()
            .filter(|key| key.expires_ts > now)
            .map(|key| ListedKey {
                key: key.key().public(),
                expires_ts: key.expires_ts,
            })
            .collect();
        let surplus = listed.len().saturating_sub(LISTED);
        listed.drain(..surplus);
        let document = DocumentDraft {
            server: &settings.server,
            bot: &settings.bot,
            prefix: &settings.prefix,
            sequence: self.sequence,
            valid_until_ts: now + VALID,
            verify_keys: &[self.server_key()],
            old_verify_keys: &former,
            hpke_keys: &listed,
        }
        .sign(now)?;
        self.document = document.json().to_string();
        Ok(self)
    }

    pub(super) fn server_key(&self) -> ServerKey {
        ServerKey::from_seed(&self.server)
    }

    pub(super) fn hpke(&self) -> HpkeKeys {
        HpkeKeys::new(self.hpke.iter().map(Sealing::key).collect())
    }

    pub(super) fn document(&self, server: &ruma::ServerName) -> Result<KeyDocument, DocumentError> {
        KeyDocument::parse_of_any_time(self.document.as_bytes(), server)
    }
}

#[cfg(test)]
mod tests {
    use ruma::{server_name, user_id};

    use super::*;
    use crate::sealed::{Anchor, Found, Pin, Refusal, Trust, accept};

    fn settings() -> Settings {
        Settings {
            server: server_name!("b.example").to_owned(),
            bot: user_id!("@vizard:b.example").to_owned(),
            prefix: "_vizard_".to_owned(),
            rotate_days: 30,
            overlap_days: 14,
        }
    }

    fn first(now: UnixMillis) -> (Rng, Own) {
        let rng = Rng::seeded(1);
        let server = ServerKey::generate(&rng);
        let own = Own::first(&rng, &server, &settings(), now).unwrap();
        assert_eq!(own.server_key().seed(), server.seed());
        (rng, own)
    }

    /// Someone who looks once a day for four years accepts each document, and can always seal.
    #[test]
    fn who_looks_now_and_then_never_loses_touch() {
        let start = 1_000 * DAY;
        let (rng, mut own) = first(start);
        let server = settings().server;
        let mut pin: Option<Pin> = None;
        let (mut keys, mut servers) = (Vec::new(), Vec::new());
        for day in 0..4 * 365 {
            let now = start + day * DAY;
            if let Some(next) = own
                .clone()
                .at(&rng, &settings(), now, Rotate::WhatIsDue)
                .unwrap()
            {
                assert_eq!(next.sequence, own.sequence + 1);
                own = next;
            }
            assert_eq!(
                own.clone()
                    .at(&rng, &settings(), now, Rotate::WhatIsDue)
                    .unwrap(),
                None
            );
            if day % 3 != 0 {
                continue;
            }
            let document = KeyDocument::parse(own.document.as_bytes(), &server, now).unwrap();
            let key = document.sealing_key(now).unwrap();
            if !keys.contains(&key.id()) {
                keys.push(key.id());
            }
            assert!(document.hpke_keys().len() <= 2);
            let trust = Trust {
                only: None,
                anchor: Anchor::Tls,
                by_hand: None,
                pin: pin.as_ref(),
            };
            let found = Found {
                tls: Some(Ok(document)),
                federation: None,
            };
            let accepted = accept(trust, found).unwrap();
            pin = Some(Pin::of(&accepted.document));
            let name = accepted.document.verify_keys()[0].name();
            if !servers.contains(&name) {
                servers.push(name);
            }
        }
        assert_eq!((keys.len(), servers.len()), (49, 4));
        // A key is kept for as long as what is sealed to it may be used.
        assert!(
            own.hpke.len() > 13 && own.hpke.len() < 17,
            "{}",
            own.hpke.len()
        );
    }

    #[test]
    fn an_admin_replaces_both_and_pins_hold() {
        let (rng, own) = first(DAY);
        let server = settings().server;
        let pin = Pin::of(&own.document(&server).unwrap());
        let next = own
            .clone()
            .at(&rng, &settings(), 2 * DAY, Rotate::All)
            .unwrap()
            .unwrap();
        assert_ne!(next.server_key().seed(), own.server_key().seed());
        assert_eq!(next.hpke.len(), 2);
        let document = next.document(&server).unwrap();
        let trust = Trust {
            only: None,
            anchor: Anchor::Tls,
            by_hand: None,
            pin: Some(&pin),
        };
        let tls = |document| Found {
            tls: Some(Ok(document)),
            federation: None,
        };
        assert!(accept(trust, tls(document.clone())).is_ok());
        let pin = Pin::of(&document);
        let trust = Trust {
            only: None,
            anchor: Anchor::Tls,
            by_hand: None,
            pin: Some(&pin),
        };
        let old = own.document(&server).unwrap();
        assert!(matches!(
            accept(trust, tls(old)),
            Err(Refusal::RolledBack { .. })
        ));
    }

    #[test]
    fn other_settings_make_another_document() {
        let (rng, own) = first(DAY);
        let mut settings = settings();
        settings.prefix = "_mask_".to_owned();
        let next = own
            .at(&rng, &settings, DAY, Rotate::WhatIsDue)
            .unwrap()
            .unwrap();
        assert_eq!(next.document(&settings.server).unwrap().prefix(), "_mask_");
    }

    #[test]
    fn nothing_private_is_printed() {
        let (_, own) = first(DAY);
        let seed = format!("{:?}", *own.server);
        assert!(!format!("{own:?}").contains(&seed));
    }
}
