//! Answering: a ghost and its mapping, or one error for all that can be wrong with a request.

use ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value, json};

use super::{
    Asked, InviteRequest, InviteSecret, KeyDocument, MAX_MESSAGE, ReplyTo, ShapeFault,
    fields::{self, Fields},
};
use crate::pseudonym::{
    Mapping, MappingError, Namespace, SenderKey, ServerKey, ServerKeyId, SignatureFault,
    SignersFault, signed,
};

/// The event type of an answer.
pub const RESPONSE_TYPE: &str = "org.vizard.invite_response";
const REFUSED: &str = "org.vizard.refused";

const FIELDS: [&str; 6] = [
    "type",
    "request_id",
    "request_hash",
    "ghost",
    "mapping",
    "signatures",
];
const ERROR_FIELDS: [&str; 5] = ["type", "request_id", "request_hash", "error", "signatures"];

/// An answer to be sent, and what has to be known of it here.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The ghost's key.
    pub key: SenderKey,
    /// The ghost.
    pub ghost: OwnedUserId,
    /// The content of the to-device message to the inviter, device `*`.
    pub content: Value,
}

/// The answer to a request. It is a function of the request and the installation's secrets alone: whether it is real or
/// a decoy is not even known here.
#[must_use]
pub fn answer(
    request: &InviteRequest,
    secret: &InviteSecret,
    namespace: &Namespace,
    server_key: &ServerKey,
) -> Prepared {
    let key = secret.ghost(
        request.sealed.payload(),
        &request.room,
        &request.inviter_key,
    );
    let ghost = namespace.ghost(&key.id());
    let server = namespace.server();
    let mapping = Mapping::sign(&key, server, &request.room, server_key);
    let rest = [
        ("ghost".to_owned(), ghost.as_str().into()),
        ("mapping".to_owned(), mapping),
    ];
    let content = sign(&request.reply_to, rest, namespace, server_key);
    Prepared {
        key,
        ghost,
        content,
    }
}

/// The one error.
#[must_use]
pub fn refuse(reply_to: &ReplyTo, namespace: &Namespace, server_key: &ServerKey) -> Value {
    let rest = [("error".to_owned(), REFUSED.into())];
    sign(reply_to, rest, namespace, server_key)
}

fn sign<const N: usize>(
    reply_to: &ReplyTo,
    rest: [(String, Value); N],
    namespace: &Namespace,
    server_key: &ServerKey,
) -> Value {
    let mut content = Map::from_iter([
        ("type".to_owned(), RESPONSE_TYPE.into()),
        ("request_id".to_owned(), reply_to.request_id.clone().into()),
        (
            "request_hash".to_owned(),
            reply_to.request_hash.clone().into(),
        ),
    ]);
    content.extend(rest);
    let message = signed::bytes_of(&content).unwrap_or_default();
    let signature = signed::encode(&server_key.sign(&message));
    content.insert(
        "signatures".to_owned(),
        json!({ namespace.server().as_str(): { server_key.id(): signature } }),
    );
    Value::Object(content)
}

/// Why an answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseFault {
    /// It is no answer.
    #[error("{0}")]
    Shape(#[from] ShapeFault),
    /// It comes from somebody else than was asked.
    #[error("from somebody else than the Vizard that was asked")]
    OtherSender,
    /// It answers another request.
    #[error("to another request")]
    OtherRequest,
    /// Others than the Vizard that was asked signed it.
    #[error("signatures: {0}")]
    Signers(SignersFault),
    /// The signature does not hold.
    #[error("signature: {0}")]
    Signature(SignatureFault),
    /// The ghost is not of the server that was asked.
    #[error("its ghost is of another server")]
    OtherGhost,
    /// The mapping is unverified.
    #[error("mapping: {0}")]
    Mapping(MappingError),
}

impl ResponseFault {
    /// A short name, for counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shape(_) => "shape",
            Self::OtherSender => "other_sender",
            Self::OtherRequest => "other_request",
            Self::Signers(_) | Self::Signature(_) => "signature",
            Self::OtherGhost => "other_ghost",
            Self::Mapping(_) => "mapping",
        }
    }
}

/// A checked answer.
#[derive(Clone, PartialEq)]
pub enum Reply {
    /// Invite this ghost.
    Ghost {
        /// Its Matrix ID.
        ghost: OwnedUserId,
        /// Its mapping, verified for the room.
        mapping: Value,
    },
    /// The request was wrong.
    Refused,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ghost { .. } => "Ghost(…)",
            Self::Refused => "Refused",
        })
    }
}

impl Reply {
    /// Reads the content of a to-device message that `sender` sent. `asked` is the request with the id that the content
    /// names ([`Reply::request_id`]), `document` the accepted key document of the server that was asked.
    pub fn parse(
        content: &[u8],
        sender: &UserId,
        asked: &Asked,
        document: &KeyDocument,
    ) -> Result<Self, ResponseFault> {
        let content = fields::read(content, MAX_MESSAGE)?;
        if sender != document.bot() || document.server() != asked.server {
            return Err(ResponseFault::OtherSender);
        }
        let refused = content.get("error").is_some();
        let known = if refused { &ERROR_FIELDS[..] } else { &FIELDS };
        let object = Fields::new(&content, known)?;
        object.require("type", RESPONSE_TYPE)?;
        if object.text("request_id")? != asked.request_id
            || object.text("request_hash")? != asked.request_hash
        {
            return Err(ResponseFault::OtherRequest);
        }
        let signatures = signed::signers(object.map(), 1).map_err(ResponseFault::Signers)?;
        let named = |name: &str| {
            let keys = document.verify_keys();
            let key = keys.iter().find(|key| key.name() == name).copied();
            key.map(ServerKeyId::key)
        };
        let message = object.signed_bytes()?;
        signed::check(signatures, asked.server.as_str(), named, &message)
            .map_err(ResponseFault::Signature)?;
        if refused {
            object.require("error", REFUSED)?;
            return Ok(Self::Refused);
        }
        let ghost = object.parsed("ghost", |text| UserId::parse(text).ok())?;
        if ghost.server_name() != asked.server {
            return Err(ResponseFault::OtherGhost);
        }
        let mapping = object.value("mapping")?;
        let keys = document.verify_keys();
        Mapping::verify(mapping, &ghost, &asked.room, document.prefix(), keys)
            .map_err(ResponseFault::Mapping)?;
        Ok(Self::Ghost {
            ghost,
            mapping: mapping.clone(),
        })
    }

    /// Which request an answer claims to answer, to find the [`Asked`] that [`Reply::parse`] compares with.
    #[must_use]
    pub fn request_id(content: &[u8]) -> Option<String> {
        let content = fields::read(content, MAX_MESSAGE).ok()?;
        Some(content.get("request_id")?.as_str()?.to_owned())
    }
}
