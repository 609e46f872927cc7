//! What others say of a device or of somebody's devices: never believed, but a reason to ask sooner.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use matrix_sdk_crypto::CryptoStoreError;
use ruma::OwnedUserId;

use super::{E2ee, E2eeError};
use crate::{clock::UnixMillis, homeserver::Actor};

/// Users whose change is remembered.
const REMEMBERED: usize = 4096;

/// What came of a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nudged {
    /// The device synced.
    Synced,
    /// It had synced since the hint came.
    Recent,
    /// It has no keys here: it is none of ours, or needs none.
    Unknown,
}

/// When whose devices were said to have changed.
pub(super) struct Changes(Mutex<Known>);

struct Known {
    users: LruCache<OwnedUserId, UnixMillis>,
    newest: UnixMillis,
}

impl Default for Changes {
    fn default() -> Self {
        Self(Mutex::new(Known {
            users: LruCache::unbounded(),
            newest: 0,
        }))
    }
}

impl Changes {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the devices of any of these were said to have changed, at this time or later.
    pub(super) fn since(&self, users: &[OwnedUserId], time: UnixMillis) -> bool {
        let known = self.lock();
        known.newest >= time
            && users
                .iter()
                .any(|user| known.users.peek(user).is_some_and(|at| *at >= time))
    }
}

impl E2ee {
    /// Lets a device that has keys here fetch what waits for it, unless it did so after `came`. Makes no keys, and takes
    /// no machine's place in memory for a device that has none.
    pub async fn nudge(&self, actor: &Actor, came: UnixMillis) -> Result<Nudged, E2eeError> {
        if self.unavailable().is_some() || !self.has_keys(actor).await? {
            return Ok(Nudged::Unknown);
        }
        let slot = self.0.slots.of(&actor.user);
        let mut held = slot.lock().await;
        // Once more, with nobody else at it: the keys may have been destroyed meanwhile.
        if !self.has_keys(actor).await? {
            return Ok(Nudged::Unknown);
        }
        self.use_held(&mut held, actor, async |machine| {
            if machine.synced.is_some_and(|began| began > came) {
                return Ok(Nudged::Recent);
            }
            machine.sync().await?;
            Ok(Nudged::Synced)
        })
        .await
    }

    /// Takes note that the devices of these users may have changed: whoever encrypts for them looks first.
    pub fn lists_changed(&self, users: impl IntoIterator<Item = OwnedUserId>) {
        let now = self.0.clock.now();
        let mut known = self.0.changes.lock();
        for user in users {
            known.newest = now;
            known.users.put(user, now);
            if known.users.len() > REMEMBERED {
                known.users.pop_lru();
            }
        }
    }

    async fn has_keys(&self, actor: &Actor) -> Result<bool, E2eeError> {
        let Some(device) = &actor.device else {
            return Ok(false);
        };
        let store = self.0.store.crypto(&actor.user, device);
        Ok(store.has_account().await.map_err(CryptoStoreError::from)?)
    }
}

#[cfg(test)]
mod tests {
    use ruma::room_id;

    use super::{super::rooms::tests::e2ee, *};

    fn user(number: usize) -> OwnedUserId {
        OwnedUserId::try_from(format!("@u{number}:x")).unwrap()
    }

    #[test]
    fn a_change_concerns_those_who_share_with_its_user() {
        let changes = Changes::default();
        assert!(!changes.since(&[user(1)], 0));
        {
            let mut known = changes.lock();
            known.newest = 20;
            known.users.put(user(1), 10);
            known.users.put(user(2), 20);
        }
        for (who, time, changed) in [(1, 10, true), (1, 11, false), (2, 20, true), (3, 0, false)] {
            assert_eq!(changes.since(&[user(who)], time), changed, "{who} {time}");
        }
        assert!(changes.since(&[user(3), user(2)], 11));
    }

    #[tokio::test]
    async fn who_comes_may_have_other_devices() {
        let (_dir, e2ee) = e2ee(false).await;
        let (room, clear) = (room_id!("!a:x"), room_id!("!b:x"));
        e2ee.knows(clear, false);
        for (room, user, matters) in [
            (room, "@bob:y", true),
            (clear, "@carol:y", false),
            (room, "@_vizard_m_abc:x", false),
        ] {
            e2ee.hears(room, "m.room.member", user);
            let user = [OwnedUserId::try_from(user).unwrap()];
            assert_eq!(e2ee.0.changes.since(&user, 0), matters, "{user:?}");
        }
    }

    #[tokio::test]
    async fn a_hint_for_a_device_that_has_no_keys_makes_none() {
        let (_dir, e2ee) = e2ee(false).await;
        for n in 0..50 {
            let actor = Actor {
                user: OwnedUserId::try_from(format!("@_vizard_{n}:x")).unwrap(),
                device: (n % 2 == 0).then(|| "DEVICE".into()),
            };
            assert_eq!(e2ee.nudge(&actor, 0).await.unwrap(), Nudged::Unknown);
        }
        assert_eq!(e2ee.0.store.crypto_machines().await.unwrap(), 0);
        assert_eq!(e2ee.0.slots.len(), 0, "no machine lost its place");
    }
}
