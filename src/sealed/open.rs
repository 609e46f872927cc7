//! Opening sealed addresses. The only place at which an invitee's name comes to light.

use ruma::{RoomId, ServerName};
use zeroize::Zeroizing;

use super::{
    HpkeKeys, InviterKey, Kind, SealedAddress, Target, address,
    plain::{self, PLAIN},
    suite,
};

/// It cannot be opened. Why is not told: not sealed to this server, room, inviter or key, or changed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed address cannot be opened")]
pub struct OpenError;

/// An opened address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Whom it names.
    pub target: Target,
    /// What it can be used for.
    pub kind: Kind,
    /// When it stops to work, in milliseconds since 1970.
    pub expires_ts: u64,
}

impl Opened {
    /// Whether it works only once: everything but an address that its owner made to be used again.
    #[must_use]
    pub fn is_single_use(&self) -> bool {
        matches!(self.target, Target::User(_))
    }
}

/// Opens an address that came with a request for `room` by `inviter`, on `server`. Costs the same whatever is wrong with
/// it: an unknown key is stood in for by another.
pub fn open(
    address: &SealedAddress,
    server: &ServerName,
    keys: &HpkeKeys,
    room: &RoomId,
    inviter: &InviterKey,
) -> Result<Opened, OpenError> {
    let (key, known) = keys.find(address.key_id());
    let (enc, text, tag) = address.parts().ok_or(OpenError)?;
    let mut text: Zeroizing<[u8; PLAIN]> = Zeroizing::new(text);
    let aad = address.aad(room, inviter).ok_or(OpenError)?;
    let opened = suite::open(
        key.private(),
        &enc,
        &address::info(server),
        &aad,
        &mut text[..],
        &tag,
    );
    let decoded = plain::decode(&text, server);
    let ours = known && opened && address.server() == server;
    let (target, expires_ts) = decoded.filter(|_| ours).ok_or(OpenError)?;
    // Only a contact address names another contact address.
    if address.kind() == Kind::Bound && matches!(target, Target::Contact(_)) {
        return Err(OpenError);
    }
    Ok(Opened {
        target,
        kind: address.kind(),
        expires_ts,
    })
}
