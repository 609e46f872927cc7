//! The Matrix users that belong to Vizard, and what each is for.

use data_encoding::BASE32_NOPAD;
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};

use super::SenderKeyId;
use crate::rng::Rng;

/// What a user of the namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The bot.
    Bot,
    /// A ghost: acts in a room.
    Ghost,
    /// A host: owns a portal.
    Host,
    /// A mirror: stands for a member in a portal.
    Mirror,
    /// In the namespace, but none of the above.
    Other,
}

/// The application service's namespace on its homeserver.
#[derive(Clone, Debug)]
pub struct Namespace {
    server: OwnedServerName,
    prefix: String,
    bot: OwnedUserId,
}

impl Namespace {
    /// The namespace of localparts that begin with `prefix`, and the bot's localpart. `None` when they do
    /// not make valid Matrix IDs.
    #[must_use]
    pub fn new(server: &ServerName, prefix: &str, bot: &str) -> Option<Self> {
        let bot = UserId::parse(format!("@{bot}:{server}")).ok()?;
        UserId::parse(format!("@{prefix}:{server}")).ok()?;
        Some(Self {
            server: server.to_owned(),
            prefix: prefix.to_owned(),
            bot,
        })
    }

    /// The homeserver.
    #[must_use]
    pub fn server(&self) -> &ServerName {
        &self.server
    }

    /// The bot.
    #[must_use]
    pub fn bot(&self) -> &UserId {
        &self.bot
    }

    /// The ghost of a sender key.
    #[must_use]
    pub fn ghost(&self, key: &SenderKeyId) -> OwnedUserId {
        self.user(&key.to_localpart())
    }

    /// A host with a random id.
    #[must_use]
    pub fn host(&self, rng: &Rng) -> OwnedUserId {
        self.user(&format!("p_{}", base32(&rng.bytes::<16>())))
    }

    /// A mirror, from 16 bytes that only the portal can derive (so that the mirror of a member is the same
    /// after a crash, and tells nobody who the member is).
    #[must_use]
    pub fn mirror(&self, derived: &[u8; 16]) -> OwnedUserId {
        self.user(&format!("m_{}", base32(derived)))
    }

    /// What `user` is, if it is one of ours.
    #[must_use]
    pub fn role(&self, user: &UserId) -> Option<Role> {
        if user == self.bot {
            return Some(Role::Bot);
        }
        let rest = user.localpart().strip_prefix(self.prefix.as_str())?;
        if user.server_name() != self.server {
            return None;
        }
        Some(match rest {
            _ if rest.starts_with("p_") => Role::Host,
            _ if rest.starts_with("m_") => Role::Mirror,
            _ if SenderKeyId::from_localpart(rest).is_some() => Role::Ghost,
            _ => Role::Other,
        })
    }

    /// The sender key of a ghost on any server that uses the same prefix.
    #[must_use]
    pub fn sender_key(&self, ghost: &UserId) -> Option<SenderKeyId> {
        SenderKeyId::from_localpart(ghost.localpart().strip_prefix(self.prefix.as_str())?)
    }

    fn user(&self, rest: &str) -> OwnedUserId {
        UserId::parse(format!("@{}{rest}:{}", self.prefix, self.server))
            .unwrap_or_else(|_| unreachable!("the constructor checked the prefix and the server"))
    }
}

fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pseudonym::SenderKey;

    #[test]
    fn roles_are_told_apart() {
        let rng = Rng::seeded(7);
        let namespace =
            Namespace::new(ruma::server_name!("a.example"), "_vizard_", "vizard").expect("valid");
        let key = SenderKey::generate(&rng).id();
        let ghost = namespace.ghost(&key);
        assert_eq!(namespace.role(&ghost), Some(Role::Ghost));
        assert_eq!(namespace.sender_key(&ghost), Some(key));
        assert_eq!(namespace.role(&namespace.host(&rng)), Some(Role::Host));
        assert_eq!(
            namespace.role(&namespace.mirror(&[3; 16])),
            Some(Role::Mirror)
        );
        assert_eq!(
            namespace.role(ruma::user_id!("@vizard:a.example")),
            Some(Role::Bot)
        );
        assert_eq!(namespace.role(ruma::user_id!("@vizard:b.example")), None);
        assert_eq!(
            namespace.role(ruma::user_id!("@_vizard_x:a.example")),
            Some(Role::Other)
        );
        assert_eq!(namespace.role(ruma::user_id!("@alice:a.example")), None);
    }
}
