//! Who invites: a pseudonym, whose key is in its Matrix ID, or a Vizard's bot for somebody who is none.

use ruma::{OwnedUserId, UserId};

use crate::pseudonym::{SenderKeyId, ServerKeyId};

/// The key that signs an invite request, and to which a bound address is bound: the sender key of the inviting ghost,
/// or the server key of the inviter's Vizard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InviterKey([u8; 32]);

impl InviterKey {
    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads what a person types for an inviter: a ghost's Matrix ID, or a key in unpadded base64.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(user) = UserId::parse(text) {
            return SenderKeyId::of_ghost(&user).map(Self::from);
        }
        SenderKeyId::from_base64(text).map(Self::from)
    }
}

impl From<SenderKeyId> for InviterKey {
    fn from(key: SenderKeyId) -> Self {
        Self(*key.as_bytes())
    }
}

impl From<ServerKeyId> for InviterKey {
    fn from(key: ServerKeyId) -> Self {
        Self(*key.as_bytes())
    }
}

/// Who sent an invite request.
#[derive(Clone, PartialEq, Eq)]
pub enum Inviter {
    /// A ghost; its key follows from its Matrix ID.
    Ghost(OwnedUserId, SenderKeyId),
    /// Somebody else, who must be the bot of a Vizard.
    Bot(OwnedUserId),
}

impl std::fmt::Debug for Inviter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ghost(..) => "Ghost(…)",
            Self::Bot(_) => "Bot(…)",
        })
    }
}

impl Inviter {
    pub(super) fn of(user: OwnedUserId) -> Self {
        match SenderKeyId::of_ghost(&user) {
            Some(key) => Self::Ghost(user, key),
            None => Self::Bot(user),
        }
    }

    /// The Matrix ID from which the request came and to which the answer goes.
    #[must_use]
    pub fn user(&self) -> &UserId {
        match self {
            Self::Ghost(user, _) | Self::Bot(user) => user,
        }
    }
}
