//! Whether a fetched key document is to be relied on: what was found at the two places, compared with each other and
//! with what was pinned before.

use serde::{Deserialize, Serialize};

use super::{DocumentError, KeyDocument};
use crate::pseudonym::ServerKeyId;

/// Where a document was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// At the server itself, over TLS.
    Tls,
    /// In the bot's profile, over federation.
    Federation,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tls => "at the server itself",
            Self::Federation => "in the bot's profile",
        })
    }
}

/// What was found at the two places: nothing, something that is no valid document, or a document.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Over TLS.
    pub tls: Option<Result<KeyDocument, DocumentError>>,
    /// Over federation.
    pub federation: Option<Result<KeyDocument, DocumentError>>,
}

/// What a first sight is anchored in (`keys.anchor`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// TLS to the server itself.
    Tls,
    /// Either place: one's own homeserver is trusted not to have put in its own keys.
    Federation,
}

/// What is kept of an accepted document, to compare the next one with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Its sequence.
    pub sequence: u64,
    /// SHA-256 of what is signed.
    pub digest: [u8; 32],
    /// Its server keys in use.
    pub verify_keys: Vec<ServerKeyId>,
}

impl Pin {
    /// The pin of a document.
    #[must_use]
    pub fn of(document: &KeyDocument) -> Self {
        Self {
            sequence: document.sequence(),
            digest: *document.digest(),
            verify_keys: document.verify_keys().to_vec(),
        }
    }
}

/// What is trusted for one server.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// What a first sight is anchored in.
    pub anchor: Anchor,
    /// The server key that the admin wrote into the configuration.
    pub by_hand: Option<ServerKeyId>,
    /// The one place that counts, because an admin said so when the two differed.
    pub only: Option<Place>,
    /// What was accepted before, unless an admin removed it.
    pub pin: Option<&'a Pin>,
}

/// Why no document is accepted. None of these goes away by itself while both sides stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none.
    #[error(
        "that server publishes no key document, so it has no Vizard, or one that cannot be reached; its admin can tell"
    )]
    NotFound,
    /// What is there is no valid one.
    #[error(
        "the key document {place} is not valid: {error}; its admin has to mend that, or yours can say `keys accept SERVER tls` or \
         `keys accept SERVER profile`, whichever place is right, after comparing fingerprints"
    )]
    Invalid {
        /// Where.
        place: Place,
        /// What is wrong with it.
        error: DocumentError,
    },
    /// It came through the homeserver alone.
    #[error(
        "no key document was found at that server itself (https://SERVER/.well-known/matrix/vizard), and what homeservers \
         relay does not count here; its admin can publish it there, or yours can pin its key in the configuration \
         (`[peers.\"SERVER\"] server_key`) after comparing fingerprints"
    )]
    NotAnchored,
    /// It is not signed by the key that the admin wrote into the configuration.
    #[error(
        "the key document is not signed by the key that is pinned in the configuration (`[peers.\"SERVER\"] server_key`); \
         if that server has a new key, compare fingerprints with its admin and change the configuration"
    )]
    NotByHand,
    /// The two places say different things.
    #[error(
        "that server and its homeserver publish different keys; one of them may have been tampered with; if it does not \
         end within the hour, ask its admin; then yours can say `keys accept SERVER tls` or `keys accept SERVER profile`, whichever \
         place is right"
    )]
    PlacesDiffer,
    /// It is older than the one that was accepted before.
    #[error(
        "that server publishes older keys than before (number {found}, after {pinned}): it was restored from an old copy, or \
         somebody replays; once its admin has confirmed it, yours can say `keys accept SERVER`"
    )]
    RolledBack {
        /// The sequence that is pinned.
        pinned: u64,
        /// The sequence that was found.
        found: u64,
    },
    /// It says something else than before under the same number.
    #[error(
        "that server publishes other keys than before under the same number ({sequence}); once its admin has confirmed them, \
         yours can say `keys accept SERVER`"
    )]
    Changed {
        /// The number.
        sequence: u64,
    },
    /// None of the keys that are pinned signed it.
    #[error(
        "that server has new keys for which the old ones do not vouch; compare fingerprints with its admin; then yours can \
         say `keys accept SERVER`"
    )]
    KeyChanged,
}

impl Refusal {
    /// A short name, for counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Invalid { .. } => "invalid",
            Self::NotAnchored => "not_anchored",
            Self::NotByHand => "not_by_hand",
            Self::PlacesDiffer => "places_differ",
            Self::RolledBack { .. } => "rolled_back",
            Self::Changed { .. } => "changed",
            Self::KeyChanged => "key_changed",
        }
    }

    /// Whether `keys accept` (removing the pin, or saying which place counts) is what an admin can do about it.
    #[must_use]
    pub fn can_be_accepted(&self) -> bool {
        self.is_about_the_places()
            || matches!(
                self,
                Self::RolledBack { .. } | Self::Changed { .. } | Self::KeyChanged
            )
    }

    /// Whether it ends when an admin says which of the two places counts.
    #[must_use]
    pub fn is_about_the_places(&self) -> bool {
        matches!(self, Self::PlacesDiffer | Self::Invalid { .. })
    }
}

/// On what an acceptance rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchored {
    /// It continues what was pinned.
    Pin,
    /// The admin wrote its key into the configuration.
    ByHand,
    /// The admin said which place counts.
    Chosen,
    /// It was seen for the first time, over TLS from the server itself.
    Tls,
    /// It was seen for the first time, through one's own homeserver, which might have put in its own keys.
    Federation,
}

/// What is new about an accepted document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The server was never seen before, or an admin removed the pin.
    First,
    /// Nothing.
    None,
    /// It is newer; the server keys are the same.
    Newer,
    /// The server keys changed, and a former one vouches for it.
    NewKeys,
}

/// A document to rely on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The document.
    pub document: KeyDocument,
    /// Why.
    pub anchored: Anchored,
    /// What is new.
    pub change: Change,
}

/// Decides on what was found of one server. Documents must be of that server and valid now ([`KeyDocument::parse`]).
/// Whoever calls this pins an accepted document ([`Pin::of`]).
pub fn accept(trust: Trust<'_>, found: Found) -> Result<Accepted, Refusal> {
    let valid = |found: Option<Result<_, _>>, place| {
        found
            .transpose()
            .map_err(|error| Refusal::Invalid { place, error })
    };
    let found = chosen(&trust, found)?;
    // Something invalid at one place is not passed over for the other: it may be what somebody could not forge better.
    let tls = valid(found.tls, Place::Tls)?;
    let federation = valid(found.federation, Place::Federation)?;
    let over_tls = tls.is_some();
    let document = match (tls, federation) {
        (None, None) => return Err(Refusal::NotFound),
        (Some(document), None) | (None, Some(document)) => document,
        (Some(one), Some(other)) => newer(one, other)?,
    };
    let vouched = trust.by_hand.is_some() || trust.only.is_some();
    if !vouched && trust.anchor == Anchor::Tls && !over_tls {
        return Err(Refusal::NotAnchored);
    }
    let change = match trust.pin {
        None => Change::First,
        Some(pin) => follows(pin, &document)?,
    };
    let anchored = match (trust.by_hand, trust.only, change) {
        (Some(_), ..) => Anchored::ByHand,
        (None, Some(_), _) => Anchored::Chosen,
        (None, None, Change::First) if over_tls => Anchored::Tls,
        (None, None, Change::First) => Anchored::Federation,
        (None, None, _) => Anchored::Pin,
    };
    Ok(Accepted {
        document,
        anchored,
        change,
    })
}

/// What is left when the admin has spoken: of a key written by hand, the documents that it signed; of a place, what is there. What
/// somebody puts at the other place is no reason to refuse then.
fn chosen(trust: &Trust<'_>, found: Found) -> Result<Found, Refusal> {
    if let Some(key) = trust.by_hand {
        let signed = |found: &Option<Result<KeyDocument, _>>| matches!(found, Some(Ok(document)) if document.signers().contains(&key));
        let (tls, federation) = (signed(&found.tls), signed(&found.federation));
        let is_document = |found: &Option<Result<_, _>>| matches!(found, Some(Ok(_)));
        if !tls && !federation {
            // Of those that cannot be read it is said what is wrong with them.
            return if is_document(&found.tls) || is_document(&found.federation) {
                Err(Refusal::NotByHand)
            } else {
                Ok(found)
            };
        }
        return Ok(Found {
            tls: found.tls.filter(|_| tls),
            federation: found.federation.filter(|_| federation),
        });
    }
    Ok(match trust.only {
        None => found,
        Some(Place::Tls) => Found {
            federation: None,
            ..found
        },
        Some(Place::Federation) => Found { tls: None, ..found },
    })
}

/// The newer of two that belong together: one may lag behind, if its keys vouch for the other.
fn newer(one: KeyDocument, other: KeyDocument) -> Result<KeyDocument, Refusal> {
    let (older, newer) = if one.sequence() > other.sequence() {
        (other, one)
    } else {
        (one, other)
    };
    let belongs = if older.sequence() == newer.sequence() {
        older == newer
    } else {
        vouched(older.verify_keys(), &newer)
    };
    belongs.then_some(newer).ok_or(Refusal::PlacesDiffer)
}

/// Whether one of these keys signed the document. (Every key in use signs, so a key that stays in use counts too.)
fn vouched(keys: &[ServerKeyId], document: &KeyDocument) -> bool {
    keys.iter().any(|key| document.signers().contains(key))
}

fn follows(pin: &Pin, document: &KeyDocument) -> Result<Change, Refusal> {
    let found = document.sequence();
    if found < pin.sequence {
        return Err(Refusal::RolledBack {
            pinned: pin.sequence,
            found,
        });
    }
    if found == pin.sequence {
        return if *document.digest() == pin.digest {
            Ok(Change::None)
        } else {
            Err(Refusal::Changed { sequence: found })
        };
    }
    if !vouched(&pin.verify_keys, document) {
        return Err(Refusal::KeyChanged);
    }
    let same =
        |keys: &[ServerKeyId], others: &[ServerKeyId]| keys.iter().all(|key| others.contains(key));
    let (old, new) = (&pin.verify_keys[..], document.verify_keys());
    Ok(if same(old, new) && same(new, old) {
        Change::Newer
    } else {
        Change::NewKeys
    })
}
