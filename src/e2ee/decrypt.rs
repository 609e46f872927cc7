//! Before an event is rewritten: opening it, and saying what is known of the device that sent it.

use matrix_sdk_common::deserialized_responses::{VerificationLevel, VerificationState};
use matrix_sdk_crypto::{MegolmError, UserIdentity, vodozemac::megolm::DecryptionError};
use ruma::{EventId, RoomId, UserId, serde::Raw};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    E2ee, E2eeError,
    machine::{Machine, SETTINGS},
};
use crate::{
    event::{Event, HIDDEN, Trust, may_be_secret},
    homeserver::{Actor, Class},
};

/// A sync this recent, in milliseconds, is not repeated for another event without a key.
const JUST_NOW: u64 = 250;

/// An event as the machine reads it.
#[derive(Serialize)]
struct Read<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    event_id: &'a EventId,
    sender: &'a UserId,
    room_id: &'a RoomId,
    origin_server_ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Plain {
    #[serde(rename = "type")]
    kind: String,
    content: Box<RawValue>,
}

impl E2ee {
    /// What the sender of an `m.room.encrypted` event wrote, as `actor`'s device reads it; or the event as it is, with the
    /// reason ([`Event::trust`]). Before that is [`Trust::NoKey`], the device has synced, unless its homeserver refuses that.
    pub async fn decrypt(&self, actor: &Actor, event: &Event) -> Result<Event, E2eeError> {
        self.decrypt_late(actor, event, JUST_NOW).await
    }

    /// The same for an event that has waited for its key: the device need not have synced within the last `recent`
    /// milliseconds only.
    pub async fn decrypt_late(
        &self,
        actor: &Actor,
        event: &Event,
        recent: u64,
    ) -> Result<Event, E2eeError> {
        if self.unavailable().is_some() {
            return Ok(as_it_is(event, Trust::Broken));
        }
        self.with(actor, async |machine| machine.decrypt(event, recent).await)
            .await
    }

    /// The actor's user was told that somebody has another identity: from now on it is the one that is known. Until then each
    /// event of theirs is [`Trust::ChangedIdentity`], however often it is opened.
    pub async fn has_told_of_identity(
        &self,
        actor: &Actor,
        sender: &UserId,
    ) -> Result<(), E2eeError> {
        if self.unavailable().is_some() {
            return Ok(());
        }
        self.with(actor, async |machine| machine.know_identity(sender).await)
            .await
    }
}

impl Machine {
    async fn decrypt(&mut self, event: &Event, recent: u64) -> Result<Event, E2eeError> {
        if !self.rooms.contains(&event.room_id) {
            self.rooms.insert(event.room_id.clone());
        }
        let mut opened = self.trusted(event, recent).await?;
        if opened.trust == Trust::Signed && self.has_changed(&event.sender).await? {
            opened.trust = Trust::ChangedIdentity;
        }
        Ok(opened)
    }

    /// Whether a member has another identity than the one that was seen first, or that was told of last.
    pub(super) async fn has_changed(&mut self, sender: &UserId) -> Result<bool, E2eeError> {
        if self.identities.get(sender) == Some(&self.devices) {
            return Ok(false);
        }
        let identity = self.olm.get_identity(sender, None).await?;
        let changed = match identity {
            Some(UserIdentity::Other(identity)) => identity.identity_needs_user_approval(),
            _ => false,
        };
        if !changed {
            self.identities.insert(sender.to_owned(), self.devices);
        }
        Ok(changed)
    }

    async fn know_identity(&mut self, sender: &UserId) -> Result<(), E2eeError> {
        if let Some(UserIdentity::Other(identity)) = self.olm.get_identity(sender, None).await?
            && identity.identity_needs_user_approval()
        {
            identity.pin_current_master_key().await?;
        }
        Ok(())
    }

    /// Opens an event; where its device is not trusted, after asking for the devices anew.
    async fn trusted(&mut self, event: &Event, recent: u64) -> Result<Event, E2eeError> {
        let opened = self.open(event).await?;
        // A device that is not known, or not signed, may be in the meantime.
        if !matches!(
            opened.trust,
            Trust::NoKey | Trust::Withheld(_) | Trust::UnknownDevice | Trust::UnsignedDevice
        ) {
            return Ok(opened);
        }
        match self.look_again(event, recent).await {
            // What is refused now is refused a moment later; the event is what it is, and somebody waits for it.
            Err(error) if error.class() == Class::GiveUp => {
                metrics::counter!("vizard_failures_total", "class" => "sync").increment(1);
            }
            looked => looked?,
        }
        self.open(event).await
    }

    /// Fetches what waits for the device, and asks for the devices of those who are tracked only now, or whose devices changed.
    async fn look_again(&mut self, event: &Event, recent: u64) -> Result<(), E2eeError> {
        self.olm
            .update_tracked_users([event.sender.as_ref()])
            .await?;
        self.sync_if_older(recent).await?;
        self.outgoing().await
    }

    async fn open(&mut self, event: &Event) -> Result<Event, E2eeError> {
        let unread = |trust| Ok(as_it_is(event, trust));
        let Some(raw) = raw(event) else {
            return unread(Trust::Broken);
        };
        let opened = match self
            .olm
            .decrypt_room_event(&raw, &event.room_id, &SETTINGS)
            .await
        {
            Ok(opened) => opened,
            Err(MegolmError::Store(error)) => return Err(error.into()),
            Err(
                MegolmError::MissingRoomKey(_)
                | MegolmError::Decryption(DecryptionError::UnknownMessageIndex(..)),
            ) => {
                let why = self.withheld(event).await?;
                return unread(why.map_or(Trust::NoKey, Trust::Withheld));
            }
            Err(MegolmError::MismatchedIdentityKeys(_)) => return unread(Trust::Forged),
            Err(_) => return unread(Trust::Broken),
        };
        let trust = match &opened.encryption_info.verification_state {
            VerificationState::Verified => Trust::Signed,
            VerificationState::Unverified(level) => match level {
                VerificationLevel::MismatchedSender => return unread(Trust::Forged),
                VerificationLevel::UnverifiedIdentity => Trust::Signed,
                VerificationLevel::VerificationViolation => Trust::ChangedIdentity,
                VerificationLevel::UnsignedDevice => Trust::UnsignedDevice,
                VerificationLevel::None(_) => Trust::UnknownDevice,
            },
        };
        if self.is_replay(event).await? {
            return unread(Trust::Replayed);
        }
        let Ok(plain) = serde_json::from_str::<Plain>(opened.event.json().get()) else {
            return unread(Trust::Broken);
        };
        let kind = plain.kind.as_str();
        let allowed = match event.state_key {
            Some(_) => HIDDEN.contains(&kind),
            None => may_be_secret(kind),
        };
        if !allowed {
            return unread(Trust::Broken);
        }
        let mut clear = event.clone();
        clear.kind = plain.kind;
        // `TYPE:STATE_KEY`. The crate has found both to be those of the encrypted part.
        clear.state_key = event.state_key.as_ref().map(|packed| {
            let (_, key) = packed.split_once(':').unwrap_or_default();
            key.to_owned()
        });
        clear.content = plain.content;
        clear.trust = trust;
        Ok(clear)
    }
}

fn as_it_is(event: &Event, trust: Trust) -> Event {
    let mut event = event.clone();
    event.trust = trust;
    event
}

/// The event as the machine reads it.
fn raw(
    event: &Event,
) -> Option<Raw<matrix_sdk_crypto::types::events::room::encrypted::EncryptedEvent>> {
    let read = Read {
        kind: &event.kind,
        event_id: &event.event_id,
        sender: &event.sender,
        room_id: &event.room_id,
        origin_server_ts: event.origin_server_ts,
        state_key: event.state_key.as_deref(),
        content: &event.content,
    };
    Raw::new(&read).ok().map(Raw::cast_unchecked)
}
