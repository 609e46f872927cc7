//! What is inside a sealed address: one size, whatever the name.

use ruma::{OwnedUserId, ServerName, UserId};
use zeroize::Zeroizing;

use super::fields::MAX_NUMBER;

/// The bytes of the plaintext.
pub const PLAIN: usize = 280;
/// The room for a name.
const NAME: usize = 254;
/// The bytes of a contact address's id.
pub const CONTACT_ID: usize = 16;

const LOCALPART: u8 = 0x00;
const CONTACT: u8 = 0x01;

/// Whom a sealed address names.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// A user of the server.
    User(OwnedUserId),
    /// A contact address that a user of the server made.
    Contact([u8; CONTACT_ID]),
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::User(_) => "User(…)",
            Self::Contact(_) => "Contact(…)",
        })
    }
}

/// Writes a plaintext; `None` when the name does not fit.
pub(super) fn encode(
    target: &Target,
    expires_ts: u64,
    nonce: &[u8; 16],
) -> Option<Zeroizing<[u8; PLAIN]>> {
    let (what, name) = match target {
        Target::User(user) => (LOCALPART, user.localpart().as_bytes()),
        Target::Contact(id) => (CONTACT, &id[..]),
    };
    if name.is_empty() || name.len() > NAME || expires_ts > MAX_NUMBER {
        return None;
    }
    let mut plain = Zeroizing::new([0; PLAIN]);
    plain[0] = what;
    plain[1] = u8::try_from(name.len()).ok()?;
    plain[2..2 + name.len()].copy_from_slice(name);
    plain[2 + NAME..2 + NAME + 8].copy_from_slice(&expires_ts.to_be_bytes());
    plain[2 + NAME + 8..].copy_from_slice(nonce);
    Some(plain)
}

/// Reads a plaintext, for users of `server`; gives the target and when it expires. Whoever seals can put anything there.
#[must_use]
pub fn decode(plain: &[u8; PLAIN], server: &ServerName) -> Option<(Target, u64)> {
    let len = usize::from(plain[1]);
    let (name, padding) = plain[2..2 + NAME].split_at_checked(len)?;
    let padded = padding.iter().fold(0, |all, byte| all | byte) == 0;
    let expires_ts = u64::from_be_bytes(plain[2 + NAME..2 + NAME + 8].try_into().ok()?);
    if !padded || len == 0 || expires_ts > MAX_NUMBER {
        return None;
    }
    let target = match plain[0] {
        LOCALPART => {
            let localpart = std::str::from_utf8(name).ok()?;
            // A colon would end the localpart early and make part of it a server.
            let user = UserId::parse(format!("@{localpart}:{server}")).ok()?;
            (user.localpart() == localpart).then_some(Target::User(user))?
        }
        CONTACT => Target::Contact(name.try_into().ok()?),
        _ => return None,
    };
    Some((target, expires_ts))
}
