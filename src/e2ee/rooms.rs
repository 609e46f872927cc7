//! What is known of encrypted rooms: the settings of their encryption, and who is in them.
//!
//! What is fetched is remembered, and forgotten by the event that changes it; but events may be missed, so it is also fetched
//! anew after a while. That a room was encrypted once is written down: it does not end, whatever its state says later.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lru::LruCache;
use matrix_sdk_crypto::{CollectStrategy, EncryptionSettings};
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::room::{encryption::RoomEncryptionEventContent, history_visibility::HistoryVisibility},
};

use super::{E2ee, E2eeError};
use crate::{clock::UnixMillis, homeserver::Actor, pseudonym::Role};

/// Encrypted rooms that are remembered, each with who is in it.
const REMEMBERED: usize = 4096;
/// Other rooms that are remembered, of which little is known: each portal has two, and is asked about with every message.
const REMEMBERED_CLEAR: usize = 65_536;
/// For how long it is believed that a room is not encrypted, and for how long that it is and who is in it, in milliseconds.
/// Whoever hears of a change fetches anew at once; this is for changes of which nobody hears.
const CLEAR: u64 = 60_000;
const ENCRYPTED: u64 = 600_000;

/// How a room encrypts, and who is in it.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) settings: EncryptionSettings,
    pub(super) members: Vec<OwnedUserId>,
}

/// What was learnt of rooms.
pub(super) struct Rooms(Mutex<Known>);

struct Known {
    /// Encrypted rooms.
    rooms: LruCache<OwnedRoomId, Fetched>,
    /// Rooms that are not, and when that was found.
    clear: LruCache<OwnedRoomId, UnixMillis>,
    /// Rises with every change, so that what was fetched meanwhile is not kept.
    changes: u64,
}

/// What was found, and when.
struct Fetched {
    at: UnixMillis,
    room: Arc<Room>,
}

impl Default for Rooms {
    fn default() -> Self {
        Self(Mutex::new(Known {
            rooms: LruCache::unbounded(),
            clear: LruCache::unbounded(),
            changes: 0,
        }))
    }
}

impl Known {
    fn forget(&mut self, room: &RoomId) {
        self.changes += 1;
        self.rooms.pop(room);
        self.clear.pop(room);
    }

    /// What is remembered and still believed. An error: nothing is, after so many changes.
    fn fresh(&mut self, room: &RoomId, now: UnixMillis) -> Result<Option<Arc<Room>>, u64> {
        let is_fresh = |at: UnixMillis, life: u64| now.saturating_sub(at) < life;
        let encrypted = self.rooms.get(room);
        let clear = self.clear.get(room);
        match (encrypted, clear) {
            (Some(found), _) if is_fresh(found.at, ENCRYPTED) => Ok(Some(found.room.clone())),
            (None, Some(at)) if is_fresh(*at, CLEAR) => Ok(None),
            _ => Err(self.changes),
        }
    }

    fn keep(&mut self, room: &RoomId, at: UnixMillis, found: Option<Arc<Room>>) {
        self.rooms.pop(room);
        self.clear.pop(room);
        if let Some(room_now) = found {
            let fetched = Fetched { at, room: room_now };
            self.rooms.put(room.to_owned(), fetched);
            if self.rooms.len() > REMEMBERED {
                self.rooms.pop_lru();
            }
        } else {
            self.clear.put(room.to_owned(), at);
            if self.clear.len() > REMEMBERED_CLEAR {
                self.clear.pop_lru();
            }
        }
    }
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody is in a room, by what is remembered of it, however old that is.
    pub(super) fn has_member(&self, room: &RoomId, user: &UserId) -> bool {
        let known = self.lock();
        let found = known.rooms.peek(room);
        found.is_some_and(|found| found.room.members.iter().any(|member| member == user))
    }
}

impl E2ee {
    /// Whether a room is encrypted, as `actor`, who is in it, sees it. An error: it was, and its homeserver says that it is not
    /// any more.
    pub async fn is_encrypted(&self, actor: &Actor, room: &RoomId) -> Result<bool, E2eeError> {
        Ok(self.room(actor, room).await?.is_some())
    }

    /// Takes notice of a state event and its key: whatever changes who is in a room, or how it is encrypted, is fetched anew; and
    /// whoever comes may have other devices than when they left.
    pub fn hears(&self, room: &RoomId, kind: &str, key: &str) {
        let mut known = self.0.rooms.lock();
        let matters = match kind {
            "m.room.encryption" => true,
            "m.room.member" | "m.room.history_visibility" => {
                // Who is in a room that is not encrypted does not matter.
                !known.clear.contains(room)
            }
            _ => false,
        };
        if matters {
            known.forget(room);
        }
        drop(known);
        if matters && kind == "m.room.member" {
            let role = |user: &UserId| self.0.namespace.role(user);
            let other = UserId::parse(key).ok();
            // What is said in portals is for none of ours.
            let other = other.filter(|user| role(user).is_none_or(|role| role == Role::Ghost));
            self.lists_changed(other);
        }
    }

    /// Fetches a room anew when it is next needed: its state may have changed while nobody heard of it.
    pub fn forget_room(&self, room: &RoomId) {
        self.0.rooms.lock().forget(room);
    }

    /// Forgets a room that was taken for one that is not encrypted. `false`: it is remembered as encrypted.
    pub(super) fn correct(&self, room: &RoomId) -> bool {
        let mut known = self.0.rooms.lock();
        if known.clear.contains(room) {
            known.forget(room);
        }
        !known.rooms.contains(room)
    }

    pub(super) async fn room(
        &self,
        actor: &Actor,
        room: &RoomId,
    ) -> Result<Option<Arc<Room>>, E2eeError> {
        let now = self.0.clock.now();
        let remembered = self.0.rooms.lock().fresh(room, now);
        let changes = match remembered {
            Ok(found) => return Ok(found),
            Err(changes) => changes,
        };
        let found = self.fetch(actor, room).await?.map(Arc::new);
        if found.is_some() {
            self.note_encrypted(room).await?;
        } else if self.was_encrypted(room).await? {
            metrics::counter!("vizard_failures_total", "class" => "downgrade").increment(1);
            return Err(E2eeError::Downgraded);
        }
        let mut known = self.0.rooms.lock();
        if known.changes == changes {
            known.keep(room, now, found.clone());
        }
        Ok(found)
    }

    async fn fetch(&self, actor: &Actor, room: &RoomId) -> Result<Option<Room>, E2eeError> {
        let homeserver = &self.0.homeserver;
        let Some(encryption) = homeserver
            .state_event(actor, room, "m.room.encryption", "")
            .await?
        else {
            return Ok(None);
        };
        let history = homeserver
            .state_event(actor, room, "m.room.history_visibility", "")
            .await?
            .and_then(|content| {
                let content: serde_json::Value = serde_json::from_str(content.get()).ok()?;
                Some(HistoryVisibility::from(
                    content["history_visibility"].as_str()?,
                ))
            })
            .unwrap_or(HistoryVisibility::Shared);
        let invited = !matches!(history, HistoryVisibility::Joined);
        let members = homeserver.members_in(actor, room, invited).await?;
        Ok(Some(Room {
            settings: self.settings(actor, encryption.get(), history),
            members,
        }))
    }

    /// What the admin chose is about rooms: in a portal and a direct chat every device of the user's reads.
    fn settings(
        &self,
        actor: &Actor,
        encryption: &str,
        history: HistoryVisibility,
    ) -> EncryptionSettings {
        let ghost = self.0.namespace.role(&actor.user) == Some(Role::Ghost);
        let strategy = if self.0.settings.only_signed && ghost {
            CollectStrategy::IdentityBasedStrategy
        } else {
            CollectStrategy::AllDevices
        };
        match serde_json::from_str::<RoomEncryptionEventContent>(encryption) {
            Ok(content) => {
                let mut settings = EncryptionSettings::new(content, history, strategy);
                // An hour at least: a room cannot make everybody share keys for each message.
                settings.rotation_period = settings.rotation_period.max(Duration::from_hours(1));
                settings.rotation_period_msgs = settings.rotation_period_msgs.clamp(1, 10_000);
                settings
            }
            // Broken settings do not make a room unencrypted.
            Err(_) => EncryptionSettings {
                history_visibility: history,
                sharing_strategy: strategy,
                ..EncryptionSettings::default()
            },
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use ruma::{owned_user_id, room_id, server_name};

    use super::*;
    use crate::{
        clock::Clock,
        crypto::{MasterKey, Secret},
        e2ee::Settings,
        homeserver::{self, Homeserver},
        pseudonym::{Namespace, SenderKey},
        rng::Rng,
        store::Store,
    };

    pub(in crate::e2ee) async fn e2ee(only_signed: bool) -> (tempfile::TempDir, E2ee) {
        let dir = tempfile::tempdir().unwrap();
        let (clock, rng) = (Clock::mock(0), Rng::seeded(1));
        let url = format!("sqlite://{}", dir.path().join("v.db").display());
        let master = MasterKey::generate(&rng);
        let store = Store::open(&url, &master, clock.clone(), rng.clone())
            .await
            .unwrap();
        let reached = homeserver::Settings {
            url: "http://127.0.0.1:1".parse().unwrap(),
            as_token: Secret::new(String::new()),
            timeout: Duration::from_secs(1),
            join_timeout: Duration::from_secs(1),
            tries: 1,
        };
        let homeserver = Homeserver::new(reached, clock.clone(), rng).unwrap();
        let namespace = Namespace::new(server_name!("x"), "_vizard_", "vizard").unwrap();
        let settings = Settings {
            enabled: true,
            only_signed,
            machines: 1,
        };
        let e2ee = E2ee::new(store, homeserver, clock, Arc::new(namespace), settings);
        (dir, e2ee)
    }

    impl E2ee {
        pub(in crate::e2ee) fn knows(&self, room: &RoomId, encrypted: bool) {
            let known = encrypted.then(|| Room {
                settings: EncryptionSettings::default(),
                members: vec![owned_user_id!("@bob:y")],
            });
            self.found(room, known);
        }

        pub(in crate::e2ee) fn found(&self, room: &RoomId, known: Option<Room>) {
            let known = known.map(Arc::new);
            let at = self.0.clock.now();
            self.0.rooms.lock().keep(room, at, known);
        }

        fn changes(&self) -> u64 {
            self.0.rooms.lock().changes
        }

        pub(in crate::e2ee) fn remembers(&self, room: &RoomId) -> bool {
            let known = self.0.rooms.lock();
            known.rooms.contains(room) || known.clear.contains(room)
        }
    }

    #[tokio::test]
    async fn a_change_is_forgotten_where_it_matters() {
        let (_dir, e2ee) = e2ee(false).await;
        let (room, other) = (room_id!("!a:x"), room_id!("!b:x"));
        for (kind, encrypted, forgotten) in [
            ("m.room.encryption", true, true),
            ("m.room.encryption", false, true),
            ("m.room.member", true, true),
            ("m.room.history_visibility", true, true),
            ("m.room.member", false, false),
            ("m.room.history_visibility", false, false),
            ("m.room.name", true, false),
            ("m.room.message", true, false),
        ] {
            e2ee.knows(room, encrypted);
            e2ee.knows(other, true);
            let before = e2ee.changes();
            e2ee.hears(room, kind, "@bob:y");
            assert_eq!(!e2ee.remembers(room), forgotten, "{kind} {encrypted}");
            assert_eq!(e2ee.changes() > before, forgotten, "{kind} {encrypted}");
            assert!(e2ee.remembers(other), "{kind}: of another room");
        }
        // Not known yet, and perhaps being fetched: what is fetched is old.
        let unknown = room_id!("!c:x");
        let before = e2ee.changes();
        e2ee.hears(unknown, "m.room.member", "@bob:y");
        assert!(e2ee.changes() > before);
    }

    #[tokio::test]
    async fn what_is_known_is_asked_again_after_a_while() {
        let (_dir, e2ee) = e2ee(false).await;
        let (room, ghost) = (room_id!("!a:x"), actor("@_vizard_a:x"));
        for (encrypted, life) in [(false, CLEAR), (true, ENCRYPTED)] {
            e2ee.knows(room, encrypted);
            e2ee.0.clock.advance(Duration::from_millis(life - 1));
            assert_eq!(e2ee.is_encrypted(&ghost, room).await.unwrap(), encrypted);
            e2ee.0.clock.advance(Duration::from_millis(1));
            // There is no homeserver to be asked.
            assert!(e2ee.is_encrypted(&ghost, room).await.is_err());
        }
    }

    fn actor(user: &str) -> Actor {
        Actor {
            user: OwnedUserId::try_from(user).unwrap(),
            device: None,
        }
    }

    #[tokio::test]
    async fn a_room_cannot_make_keys_rotate_all_the_time() {
        let (_dir, e2ee) = e2ee(true).await;
        let content = r#"{"algorithm":"m.megolm.v1.aes-sha2","rotation_period_ms":1,"rotation_period_msgs":0}"#;
        let key = SenderKey::generate(&Rng::seeded(2)).id();
        let ghost = actor(e2ee.0.namespace.ghost(&key).as_str());
        let settings = e2ee.settings(&ghost, content, HistoryVisibility::Shared);
        assert_eq!(settings.rotation_period, Duration::from_hours(1));
        assert_eq!(settings.rotation_period_msgs, 1);
        for content in [content, "{}", "3"] {
            let settings = e2ee.settings(&ghost, content, HistoryVisibility::Shared);
            assert_eq!(
                settings.sharing_strategy,
                CollectStrategy::IdentityBasedStrategy,
                "{content}"
            );
            // The user's own devices are no business of the room's strategy.
            for ours in ["@_vizard_p_abc:x", "@_vizard_m_abc:x", "@vizard:x"] {
                let settings = e2ee.settings(&actor(ours), content, HistoryVisibility::Shared);
                let strategy = settings.sharing_strategy;
                assert_eq!(strategy, CollectStrategy::AllDevices, "{ours} {content}");
            }
        }
    }
}
