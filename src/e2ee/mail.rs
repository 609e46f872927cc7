//! Messages from device to device that are not about encryption: what Vizards say to each other. A device's sync takes them out of
//! what its machine sees, and whoever is interested gets them here.
//!
//! In memory only: what is lost in a crash is said again by whoever waits for an answer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use matrix_sdk_crypto::{CryptoStoreError, store::CryptoStore as _};
use ruma::{OwnedUserId, events::AnyToDeviceEvent, serde::Raw};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::{E2ee, E2eeError, Inner};
use crate::{
    clock::{Clock, UnixMillis},
    homeserver::Actor,
    sealed::{MAX_MESSAGE, RESPONSE_TYPE},
};

/// Messages of these types are taken out.
const OURS: &str = "org.vizard.";
/// Messages of either kind that wait to be read; what comes beyond them is dropped.
const WAITING: usize = 256;

/// A message to a device of ours.
#[derive(Clone)]
pub struct Mail {
    /// To whom.
    pub to: OwnedUserId,
    /// From whom: the homeserver vouches for the server, and that server for the user.
    pub sender: OwnedUserId,
    /// Its type.
    pub kind: String,
    /// Its content: any JSON.
    pub content: Box<RawValue>,
    /// When it came.
    pub received: UnixMillis,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mail(…)")
    }
}

/// The mail of all devices. Answers wait by themselves: whoever floods this server with questions keeps no answer away.
pub struct Letters {
    /// Answers to what was asked from here.
    pub answers: mpsc::Receiver<Mail>,
    /// Everything else.
    pub requests: mpsc::Receiver<Mail>,
}

/// Where mail waits to be read.
pub(super) struct Letterbox {
    answers: mpsc::Sender<Mail>,
    requests: mpsc::Sender<Mail>,
    letters: Mutex<Option<Letters>>,
    clock: Clock,
    /// Where the next sync begins of those who have no machine.
    since: AsyncMutex<HashMap<OwnedUserId, String>>,
}

#[derive(Deserialize)]
struct Message {
    sender: OwnedUserId,
    #[serde(rename = "type")]
    kind: String,
    content: Box<RawValue>,
}

impl Letterbox {
    pub(super) fn new(clock: Clock) -> Self {
        let (to_answers, answers) = mpsc::channel(WAITING);
        let (to_requests, requests) = mpsc::channel(WAITING);
        Self {
            answers: to_answers,
            requests: to_requests,
            letters: Mutex::new(Some(Letters { answers, requests })),
            clock,
            since: AsyncMutex::default(),
        }
    }

    /// Takes out what is not about encryption.
    pub(super) fn take(&self, to: &Actor, messages: &mut Vec<Raw<AnyToDeviceEvent>>) {
        messages.retain(|message| {
            let json = message.json().get();
            // Most messages are encrypted and long.
            if !json.contains(OURS) {
                return true;
            }
            let Ok(message) = serde_json::from_str::<Message>(json) else {
                return true;
            };
            if !message.kind.starts_with(OURS) {
                return true;
            }
            // Nothing that Vizards say is longer.
            if message.content.get().len() > MAX_MESSAGE {
                dropped();
                return false;
            }
            let waiting = match message.kind.as_str() {
                RESPONSE_TYPE => &self.answers,
                _ => &self.requests,
            };
            let mail = Mail {
                to: to.user.clone(),
                sender: message.sender,
                kind: message.kind,
                content: message.content,
                received: self.clock.now(),
            };
            if waiting.try_send(mail).is_err() {
                dropped();
            }
            false
        });
    }
}

fn dropped() {
    metrics::counter!("vizard_failures_total", "class" => "mail_dropped").increment(1);
}

impl E2ee {
    /// The mail of all devices; for one reader, who asks once.
    #[must_use]
    pub fn mail(&self) -> Option<Letters> {
        let letters = self.0.mail.letters.lock();
        letters.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits, at most so long, until something comes for the actor's device, and takes it in. Whoever needs the device's keys
    /// meanwhile is not kept waiting. Whether anything came.
    pub async fn wait_for_mail(&self, actor: &Actor, longest: Duration) -> Result<bool, E2eeError> {
        if self.unavailable().is_some() {
            return self.0.wait_in_clear(actor, longest).await;
        }
        let device = actor.device.as_deref().ok_or(E2eeError::NoDevice)?;
        let store = self.0.store.crypto(&actor.user, device);
        let since = store.next_batch_token().await;
        let since = since.map_err(CryptoStoreError::from)?;
        let Some(since) = since else {
            self.sync(actor).await?;
            return Ok(true);
        };
        let began = self.0.clock.now();
        let waiting = self.0.homeserver.wait_for_device(actor, &since, longest);
        let answer = waiting.await?;
        if answer.next_batch == since {
            return Ok(false);
        }
        self.with(actor, async move |machine| {
            machine.take_in(began, since, answer).await
        })
        .await?;
        Ok(true)
    }
}

impl Inner {
    /// The same for a device that has no keys, and so no machine.
    async fn wait_in_clear(&self, actor: &Actor, longest: Duration) -> Result<bool, E2eeError> {
        let since = self.mail.since.lock().await.get(&actor.user).cloned();
        let mut answer = match &since {
            None => self.homeserver.sync_device(actor, None).await?,
            Some(since) => {
                let waiting = self.homeserver.wait_for_device(actor, since, longest);
                waiting.await?
            }
        };
        self.mail.take(actor, &mut answer.to_device.events);
        let came = since.as_ref() != Some(&answer.next_batch);
        let mut known = self.mail.since.lock().await;
        known.insert(actor.user.clone(), answer.next_batch);
        Ok(came)
    }

    /// Forgets where the next sync of a user begins who has no machine.
    pub(super) async fn forget_since(&self, user: &ruma::UserId) {
        self.mail.since.lock().await.remove(user);
    }
}

#[cfg(test)]
mod tests {
    use ruma::{device_id, user_id};

    use super::*;

    #[tokio::test]
    async fn only_what_vizards_say_is_taken_out() {
        let letterbox = Letterbox::new(Clock::system());
        let to = Actor {
            user: user_id!("@vizard:x").to_owned(),
            device: Some(device_id!("D").to_owned()),
        };
        let raw = |json: serde_json::Value| {
            Raw::<AnyToDeviceEvent>::from_json(serde_json::value::to_raw_value(&json).unwrap())
        };
        let message = |kind: &str, body: &str| {
            raw(serde_json::json!({"sender": "@a:y", "type": kind, "content": {"body": body}}))
        };
        let mut messages = vec![
            message("m.room.encrypted", "org.vizard."),
            message("org.vizard.invite_request", "1"),
            message("m.dummy", ""),
            message("org.vizard.invite_response", "2"),
            raw(serde_json::json!({"type": "org.vizard.x"})),
        ];
        letterbox.take(&to, &mut messages);
        assert_eq!(messages.len(), 3);
        let mut letters = letterbox.letters.lock().unwrap().take().unwrap();
        let first = letters.requests.try_recv().unwrap();
        assert_eq!(
            (first.to.as_str(), first.sender.as_str(), &*first.kind),
            ("@vizard:x", "@a:y", "org.vizard.invite_request")
        );
        let answer = letters.answers.try_recv().unwrap();
        assert_eq!(answer.content.get(), r#"{"body":"2"}"#);
        assert!(letters.requests.try_recv().is_err() && letters.answers.try_recv().is_err());
        let long = "x".repeat(MAX_MESSAGE);
        letterbox.take(&to, &mut vec![message("org.vizard.invite_request", &long)]);
        assert!(letters.requests.try_recv().is_err(), "it is too long");
        for n in 0..WAITING + 10 {
            letterbox.take(
                &to,
                &mut vec![message("org.vizard.invite_request", &n.to_string())],
            );
        }
        // An answer comes through a flood of questions.
        letterbox.take(&to, &mut vec![message("org.vizard.invite_response", "3")]);
        assert!(letters.answers.try_recv().is_ok());
        let kept = std::iter::from_fn(|| letters.requests.try_recv().ok()).count();
        assert_eq!(kept, WAITING, "a flood is dropped");
    }
}
