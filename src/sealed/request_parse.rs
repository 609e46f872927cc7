//! Being asked: reading and checking a request, in this order: shape, sender, server, expiry, signature.

use data_encoding::BASE64URL_NOPAD;
use ruma::{OwnedRoomId, RoomId, ServerName, UserId};
use serde_json::Value;

use super::{
    Inviter, InviterKey, KeyDocument, MAX_MESSAGE, MAX_REQUEST_AHEAD_MS, REQUEST_TYPE,
    SealedAddress, ShapeFault,
    fields::{self, Fields},
    request::{self, REQUEST_ID},
};
use crate::pseudonym::{
    ServerKeyId, SignatureFault, SignersFault,
    signed::{self, SENDER_KEY_NAME},
};

const FIELDS: [&str; 8] = [
    "type",
    "request_id",
    "to",
    "sealed",
    "room_id",
    "expires_ts",
    "inviter",
    "signatures",
];

/// What is wrong with a request. For the admin's counters: the peer gets one error for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// It is no request.
    #[error("{0}")]
    Shape(#[from] ShapeFault),
    /// Its inviter is not who sent it.
    #[error("sent by somebody else than its inviter")]
    OtherSender,
    /// It is for another server.
    #[error("for another server")]
    OtherServer,
    /// It has expired.
    #[error("expired")]
    Expired,
    /// It expires later than requests do.
    #[error("expires too far ahead")]
    TooLong,
    /// The inviter is neither a ghost nor the bot of a known Vizard.
    #[error("its inviter is no ghost and not the bot of a Vizard whose keys are known")]
    UnknownInviter,
    /// Others than the inviter signed it.
    #[error("signatures: {0}")]
    Signers(SignersFault),
    /// The signature does not hold.
    #[error("signature: {0}")]
    Signature(SignatureFault),
    /// The sealed address cannot be opened.
    #[error("{0}")]
    Open(#[from] super::OpenError),
}

impl RequestFault {
    /// A short name, for counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shape(_) => "shape",
            Self::OtherSender => "other_sender",
            Self::OtherServer => "other_server",
            Self::Expired => "expired",
            Self::TooLong => "too_long",
            Self::UnknownInviter => "unknown_inviter",
            Self::Signers(_) | Self::Signature(_) => "signature",
            Self::Open(_) => "unopenable",
        }
    }
}

/// To what an answer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    pub(super) request_id: String,
    pub(super) request_hash: String,
}

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// What is wrong with it.
    pub fault: RequestFault,
    /// To what the error answers; nothing when the request had no id, and so gets no answer.
    pub reply_to: Option<ReplyTo>,
}

/// A request of the right shape, for this server, in time, from its inviter; not yet known to be signed.
#[derive(Clone, Debug)]
pub struct UnverifiedRequest {
    content: Value,
    message: Vec<u8>,
    reply_to: ReplyTo,
    sealed: SealedAddress,
    room: OwnedRoomId,
    expires_ts: u64,
    inviter: Inviter,
}

impl UnverifiedRequest {
    /// Reads the content of a to-device message that `sender` sent to the bot of `server`.
    pub fn parse(
        content: &[u8],
        sender: &UserId,
        server: &ServerName,
        now: u64,
    ) -> Result<Self, Rejected> {
        let bare = |fault: ShapeFault| Rejected {
            fault: fault.into(),
            reply_to: None,
        };
        let content = fields::read(content, MAX_MESSAGE).map_err(bare)?;
        let object = Fields::new(&content, &FIELDS).map_err(bare)?;
        let message = object.signed_bytes().map_err(bare)?;
        let request_id = object.parsed("request_id", request_id).map_err(bare)?;
        let reply_to = ReplyTo {
            request_id,
            request_hash: request::hash(&message),
        };
        match Self::check(object, sender, server, now) {
            Ok((sealed, room, expires_ts, inviter)) => Ok(Self {
                content,
                message,
                reply_to,
                sealed,
                room,
                expires_ts,
                inviter,
            }),
            Err(fault) => Err(Rejected {
                fault,
                reply_to: Some(reply_to),
            }),
        }
    }

    fn check(
        object: Fields<'_>,
        sender: &UserId,
        server: &ServerName,
        now: u64,
    ) -> Result<(SealedAddress, OwnedRoomId, u64, Inviter), RequestFault> {
        object.require("type", REQUEST_TYPE)?;
        let to = object.text("to")?;
        let sealed = object.parsed("sealed", |text| SealedAddress::parse(text).ok())?;
        let room = object.parsed("room_id", |text| RoomId::parse(text).ok())?;
        let expires_ts = object.number("expires_ts")?;
        let inviter = object.parsed("inviter", |text| UserId::parse(text).ok())?;
        object.object("signatures")?;
        if inviter != sender {
            return Err(RequestFault::OtherSender);
        }
        if to != server.as_str() || sealed.server() != server {
            return Err(RequestFault::OtherServer);
        }
        if expires_ts <= now {
            return Err(RequestFault::Expired);
        }
        if expires_ts > now.saturating_add(MAX_REQUEST_AHEAD_MS) {
            return Err(RequestFault::TooLong);
        }
        Ok((sealed, room, expires_ts, Inviter::of(inviter)))
    }

    /// Who claims to invite.
    #[must_use]
    pub fn inviter(&self) -> &Inviter {
        &self.inviter
    }

    /// Whose key document [`UnverifiedRequest::verify`] needs: none when the inviter is a ghost.
    #[must_use]
    pub fn needs_keys_of(&self) -> Option<&ServerName> {
        match &self.inviter {
            Inviter::Ghost(..) => None,
            Inviter::Bot(bot) => Some(bot.server_name()),
        }
    }

    /// Checks the signature. `document` is the accepted key document of the bot's server, if there is one.
    pub fn verify(self, document: Option<&KeyDocument>) -> Result<InviteRequest, Rejected> {
        match self.check_signature(document) {
            Ok(inviter_key) => Ok(InviteRequest {
                reply_to: self.reply_to,
                sealed: self.sealed,
                room: self.room,
                expires_ts: self.expires_ts,
                inviter: self.inviter,
                inviter_key,
            }),
            Err(fault) => Err(Rejected {
                fault,
                reply_to: Some(self.reply_to),
            }),
        }
    }

    fn check_signature(&self, document: Option<&KeyDocument>) -> Result<InviterKey, RequestFault> {
        let object = Fields::new(&self.content, &FIELDS)?;
        let signatures = signed::signers(object.map(), 1).map_err(RequestFault::Signers)?;
        match &self.inviter {
            Inviter::Ghost(_, key) => {
                let named = |name: &str| (name == SENDER_KEY_NAME).then_some(*key);
                signed::check(signatures, &key.to_base64(), named, &self.message)
                    .map_err(RequestFault::Signature)?;
                Ok((*key).into())
            }
            Inviter::Bot(bot) => {
                let document = document
                    .filter(|document| document.bot() == bot)
                    .ok_or(RequestFault::UnknownInviter)?;
                let mut by = None;
                let named = |name: &str| {
                    let keys = document.verify_keys();
                    by = keys.iter().find(|key| key.name() == name).copied();
                    by.map(ServerKeyId::key)
                };
                signed::check(signatures, bot.server_name().as_str(), named, &self.message)
                    .map_err(RequestFault::Signature)?;
                by.map(InviterKey::from)
                    .ok_or(RequestFault::Signature(SignatureFault::UnknownKey))
            }
        }
    }
}

fn request_id(text: &str) -> Option<String> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    (bytes.len() == REQUEST_ID).then(|| text.to_owned())
}

/// A request that its inviter signed.
#[derive(Clone, Debug)]
pub struct InviteRequest {
    /// To what an answer answers.
    pub reply_to: ReplyTo,
    /// Whom it is for.
    pub sealed: SealedAddress,
    /// Into which room.
    pub room: OwnedRoomId,
    /// Until when the invite can be accepted, in milliseconds since 1970.
    pub expires_ts: u64,
    /// Who invites.
    pub inviter: Inviter,
    /// The key that signed.
    pub inviter_key: InviterKey,
}

impl InviteRequest {
    /// The rejection of a request that turned out to be wrong after all.
    #[must_use]
    pub fn reject(self, fault: RequestFault) -> Rejected {
        Rejected {
            fault,
            reply_to: Some(self.reply_to),
        }
    }
}
