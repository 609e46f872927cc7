//! The key of a ghost that was offered and not accepted yet: it follows from the request, so that nothing has to be
//! kept, and so that a request that is repeated gets the same answer.

use hkdf::Hkdf;
use ruma::RoomId;
use sha2::Sha256;

use super::{InviterKey, PAYLOAD};
use crate::{crypto::Secret, pseudonym::SenderKey, rng::Rng};

const LABEL: &[u8] = b"org.vizard.invite_ghost.v1";

/// From which the keys of invited ghosts are derived. Never rotated: a ghost that was offered must stay the same.
#[derive(Clone, Debug)]
pub struct InviteSecret(Secret<[u8; 32]>);

impl InviteSecret {
    /// A fresh secret.
    #[must_use]
    pub fn generate(rng: &Rng) -> Self {
        Self(Secret::new(rng.bytes()))
    }

    /// A stored secret.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The secret, for the store.
    #[must_use]
    pub fn bytes(&self) -> &Secret<[u8; 32]> {
        &self.0
    }

    /// The key of the ghost that is offered for this sealed payload in this room to this inviter. The same for the same,
    /// another for anything else; and for a decoy derived in the same way.
    #[must_use]
    pub fn ghost(&self, payload: &[u8; PAYLOAD], room: &RoomId, inviter: &InviterKey) -> SenderKey {
        let room = room.as_bytes();
        let info = [
            LABEL,
            &length(payload.len()),
            payload,
            &length(room.len()),
            room,
            inviter.as_bytes(),
        ]
        .concat();
        let mut seed = Secret::new([0; 32]);
        Hkdf::<Sha256>::new(None, self.0.expose())
            .expand(&info, seed.expose_mut())
            .unwrap_or_else(|_| unreachable!("32 bytes are within HKDF-SHA256's output"));
        SenderKey::from_seed(seed.expose())
    }
}

/// Room ids have at most 255 bytes and the payload 334, so this is never cut.
fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}
