//! Asking: the to-device message from an inviting ghost, or an inviter's bot, to the bot of the invitee's server.

use data_encoding::BASE64URL_NOPAD;
use ruma::{OwnedRoomId, OwnedServerName, RoomId, UserId};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::SealedAddress;
use crate::{
    pseudonym::{
        SenderKey, ServerKey,
        signed::{self, SENDER_KEY_NAME},
    },
    rng::Rng,
};

/// The event type of a request.
pub const REQUEST_TYPE: &str = "org.vizard.invite_request";
/// The longest content of a request or an answer.
pub const MAX_MESSAGE: usize = 8 * 1024;
/// A request may expire so long from now.
pub const MAX_REQUEST_AHEAD_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// The random bytes of a request id.
pub(super) const REQUEST_ID: usize = 16;

/// A request to be signed.
#[derive(Clone, Debug)]
pub struct RequestDraft<'a> {
    /// Whom it is for, and so whom to ask.
    pub sealed: &'a SealedAddress,
    /// Into which room.
    pub room: &'a RoomId,
    /// Until when the invite can be accepted, in milliseconds since 1970; at most [`MAX_REQUEST_AHEAD_MS`] ahead.
    pub expires_ts: u64,
}

/// A request to be sent: the content of a to-device message to device `*` of the other Vizard's bot.
#[derive(Clone, Debug)]
pub struct SignedRequest {
    /// The content.
    pub content: Value,
    /// What to recognise the answer by.
    pub asked: Asked,
}

/// What is kept of a request until its answer comes.
#[derive(Clone, PartialEq, Eq)]
pub struct Asked {
    /// The request's id.
    pub request_id: String,
    /// Its hash.
    pub request_hash: String,
    /// Whose Vizard was asked.
    pub server: OwnedServerName,
    /// Into which room.
    pub room: OwnedRoomId,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked(…)")
    }
}

impl RequestDraft<'_> {
    /// Signs it with the sender key of the inviting ghost.
    #[must_use]
    pub fn sign_as_ghost(&self, rng: &Rng, ghost: &UserId, key: &SenderKey) -> SignedRequest {
        self.sign_as_ghost_with(&rng.bytes(), ghost, key)
    }

    /// The same with a given id.
    pub(super) fn sign_as_ghost_with(
        &self,
        id: &[u8; REQUEST_ID],
        ghost: &UserId,
        key: &SenderKey,
    ) -> SignedRequest {
        self.sign(id, ghost, &key.id().to_base64(), SENDER_KEY_NAME, |m| {
            key.sign(m)
        })
    }

    /// Signs it with the server key, sent by the bot for an inviter who is no pseudonym.
    #[must_use]
    pub fn sign_as_bot(&self, rng: &Rng, bot: &UserId, key: &ServerKey) -> SignedRequest {
        self.sign_as_bot_with(&rng.bytes(), bot, key)
    }

    /// The same with a given id.
    pub(super) fn sign_as_bot_with(
        &self,
        id: &[u8; REQUEST_ID],
        bot: &UserId,
        key: &ServerKey,
    ) -> SignedRequest {
        self.sign(id, bot, bot.server_name().as_str(), &key.id(), |m| {
            key.sign(m)
        })
    }

    fn sign(
        &self,
        id: &[u8; REQUEST_ID],
        inviter: &UserId,
        signer: &str,
        key_name: &str,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> SignedRequest {
        let request_id = BASE64URL_NOPAD.encode(id);
        let server = self.sealed.server().to_owned();
        let mut content = Map::from_iter([
            ("type".to_owned(), REQUEST_TYPE.into()),
            ("request_id".to_owned(), request_id.clone().into()),
            ("to".to_owned(), server.as_str().into()),
            ("sealed".to_owned(), self.sealed.to_string().into()),
            ("room_id".to_owned(), self.room.as_str().into()),
            ("expires_ts".to_owned(), self.expires_ts.into()),
            ("inviter".to_owned(), inviter.as_str().into()),
        ]);
        let message = signed::bytes_of(&content).unwrap_or_default();
        let signature = signed::encode(&sign(&message));
        content.insert(
            "signatures".to_owned(),
            json!({ signer: { key_name: signature } }),
        );
        SignedRequest {
            content: Value::Object(content),
            asked: Asked {
                request_id,
                request_hash: hash(&message),
                server,
                room: self.room.to_owned(),
            },
        }
    }
}

/// How an answer names the request it answers: SHA-256 of what is signed, in unpadded URL-safe base64.
pub(super) fn hash(signed_bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(signed_bytes))
}
