//! Sealed addresses: an invitee's name, encrypted so that only the invitee's own Vizard can read it.

use data_encoding::BASE64URL_NOPAD;
use hpke::rand_core::CryptoRng;
use ruma::{OwnedServerName, RoomId, ServerName, UserId};

use super::{
    HpkePublicKey, InviterKey,
    hpke_key::name_of,
    plain::{self, CONTACT_ID, PLAIN, Target},
    suite::{self, Draw, KEY, TAG},
};
use crate::rng::Rng;

/// The longest text of a sealed address.
pub const MAX_ADDRESS: usize = 800;
/// The bytes of the payload: kind, key id, encapsulated key, ciphertext. Always as many.
pub const PAYLOAD: usize = HEAD + KEY + PLAIN + TAG;
/// Kind and key id.
const HEAD: usize = 1 + 5;

const PREFIX: &str = "vz1:";
const LABEL: &[u8] = b"org.vizard.sealed_address.v1";

/// What a sealed address can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For one room and one inviter.
    Bound,
    /// For any.
    Contact,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Bound => 0x01,
            Self::Contact => 0x02,
        }
    }
}

/// Why a text is not a sealed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It does not begin as one.
    #[error("a sealed address begins with `vz1:`")]
    NotSealed,
    /// It names no server.
    #[error("the server that it names is not a server name")]
    NoServer,
    /// The rest is not of the only form and length that there is.
    #[error("it is damaged: copy the whole address, to its last character")]
    Damaged,
    /// It is of a kind that this version does not know.
    #[error("it is of a kind that this version does not know")]
    UnknownKind,
}

/// Why nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The name is longer than any that fits, or the time is none.
    #[error("this name or time cannot be sealed")]
    DoesNotFit,
    /// The room id is longer than any.
    #[error("this room id is too long")]
    Room,
    /// Nothing can be sealed to this key.
    #[error("the key is of no use")]
    Key,
}

/// A sealed address. Two sealings of one invitee have nothing in common but the server and the key.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedAddress {
    server: OwnedServerName,
    kind: Kind,
    payload: Box<[u8; PAYLOAD]>,
}

impl std::fmt::Debug for SealedAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealedAddress(…)")
    }
}

/// The text form: `vz1:`, the server, `:`, the payload in unpadded URL-safe base64.
impl std::fmt::Display for SealedAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let payload = BASE64URL_NOPAD.encode(&self.payload[..]);
        write!(f, "{PREFIX}{}:{payload}", self.server)
    }
}

impl SealedAddress {
    /// Reads the text form; each address has exactly one.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix(PREFIX).ok_or(AddressError::NotSealed)?;
        if text.len() > MAX_ADDRESS {
            return Err(AddressError::Damaged);
        }
        // From the right: a server name may contain colons.
        let (server, payload) = rest.rsplit_once(':').ok_or(AddressError::Damaged)?;
        let server = ServerName::parse(server).map_err(|_| AddressError::NoServer)?;
        let payload: Box<[u8; PAYLOAD]> = BASE64URL_NOPAD
            .decode(payload.as_bytes())
            .ok()
            .and_then(|bytes| bytes.into_boxed_slice().try_into().ok())
            .ok_or(AddressError::Damaged)?;
        let kind = [Kind::Bound, Kind::Contact]
            .into_iter()
            .find(|kind| kind.byte() == payload[0])
            .ok_or(AddressError::UnknownKind)?;
        Ok(Self {
            server,
            kind,
            payload,
        })
    }

    /// Whose Vizard can open it.
    #[must_use]
    pub fn server(&self) -> &ServerName {
        &self.server
    }

    /// What it can be used for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name of the key to which it is sealed.
    #[must_use]
    pub fn key_name(&self) -> String {
        name_of(self.key_id())
    }

    /// The payload's bytes: what tells that an address was used before (kept as a hash).
    #[must_use]
    pub fn payload(&self) -> &[u8; PAYLOAD] {
        &self.payload
    }

    pub(super) fn key_id(&self) -> [u8; 5] {
        let p = &self.payload;
        [p[1], p[2], p[3], p[4], p[5]]
    }

    /// Encapsulated key, ciphertext and tag.
    pub(super) fn parts(&self) -> Option<([u8; KEY], [u8; PLAIN], [u8; TAG])> {
        let (enc, rest) = self.payload[HEAD..].split_first_chunk()?;
        let (text, tag) = rest.split_first_chunk()?;
        Some((*enc, *text, tag.try_into().ok()?))
    }

    /// What the ciphertext is bound to: kind and key, and for a bound address room and inviter.
    pub(super) fn aad(&self, room: &RoomId, inviter: &InviterKey) -> Option<Vec<u8>> {
        let bound = (self.kind == Kind::Bound).then_some((room, inviter));
        aad(&self.payload[..HEAD], bound)
    }
}

fn aad(head: &[u8], bound: Option<(&RoomId, &InviterKey)>) -> Option<Vec<u8>> {
    let mut aad = head.to_vec();
    if let Some((room, inviter)) = bound {
        let room = room.as_bytes();
        aad.extend(u16::try_from(room.len()).ok()?.to_be_bytes());
        aad.extend(room);
        aad.extend(inviter.as_bytes());
    }
    Some(aad)
}

/// HPKE's `info`: what the ciphertext is, and for which server.
pub(super) fn info(server: &ServerName) -> Vec<u8> {
    [LABEL, &[0], server.as_bytes()].concat()
}

/// What is to be sealed.
#[derive(Clone, Copy)]
pub enum Sealing<'a> {
    /// A user, for one room and one inviter; works once.
    Bound {
        /// The invitee.
        user: &'a UserId,
        /// The room.
        room: &'a RoomId,
        /// Who will invite.
        inviter: InviterKey,
    },
    /// A user, for whoever gets the address; works once.
    Contact {
        /// The invitee.
        user: &'a UserId,
    },
    /// A contact address that its owner made; works until it expires or is revoked.
    Address {
        /// The owner's server.
        server: &'a ServerName,
        /// Under which the owner's Vizard finds the address.
        id: [u8; CONTACT_ID],
    },
}

/// Seals to a key of the invitee's Vizard. `expires_ts` is when the address stops to work, in milliseconds since 1970.
pub fn seal(
    rng: &Rng,
    key: &HpkePublicKey,
    sealing: Sealing<'_>,
    expires_ts: u64,
) -> Result<SealedAddress, SealError> {
    seal_with(&rng.bytes(), &mut Draw(rng), key, sealing, expires_ts)
}

/// The same with given randomness.
pub(super) fn seal_with(
    nonce: &[u8; 16],
    rng: &mut impl CryptoRng,
    key: &HpkePublicKey,
    sealing: Sealing<'_>,
    expires_ts: u64,
) -> Result<SealedAddress, SealError> {
    let (server, kind, target, bound) = match sealing {
        Sealing::Bound {
            user,
            room,
            inviter,
        } => (
            user.server_name(),
            Kind::Bound,
            Target::User(user.to_owned()),
            Some((room, inviter)),
        ),
        Sealing::Contact { user } => (
            user.server_name(),
            Kind::Contact,
            Target::User(user.to_owned()),
            None,
        ),
        Sealing::Address { server, id } => (server, Kind::Contact, Target::Contact(id), None),
    };
    let mut text = plain::encode(&target, expires_ts, nonce).ok_or(SealError::DoesNotFit)?;
    let mut payload = Box::new([0; PAYLOAD]);
    payload[0] = kind.byte();
    payload[1..HEAD].copy_from_slice(&key.id());
    let bound = bound.as_ref().map(|(room, inviter)| (*room, inviter));
    let aad = aad(&payload[..HEAD], bound).ok_or(SealError::Room)?;
    let (enc, tag) = suite::seal(rng, key.as_bytes(), &info(server), &aad, &mut text[..])
        .ok_or(SealError::Key)?;
    payload[HEAD..HEAD + KEY].copy_from_slice(&enc);
    payload[HEAD + KEY..HEAD + KEY + PLAIN].copy_from_slice(&text[..]);
    payload[HEAD + KEY + PLAIN..].copy_from_slice(&tag);
    Ok(SealedAddress {
        server: server.to_owned(),
        kind,
        payload,
    })
}
