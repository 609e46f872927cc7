//! What the user does with the client.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{super::content, E2eeClient, Report};

/// The public keys of a user, as `/keys/query` gives them to the asker.
#[derive(Clone, Debug, Default)]
pub struct UserKeys {
    pub devices: Vec<DeviceKeys>,
    pub master: Option<String>,
    pub self_signing: Option<String>,
    /// Given to the user alone.
    pub user_signing: Option<String>,
}

/// The public keys of a device.
#[derive(Clone, Debug)]
pub struct DeviceKeys {
    pub device_id: String,
    pub curve25519: String,
    pub ed25519: String,
    /// The name that the server tells of it.
    pub display_name: Option<String>,
    /// Everything, as the server gave it.
    pub raw: Value,
}

/// What the client thinks of a user.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct UserStatus {
    /// The user was verified, or is the own one and signed.
    pub verified: bool,
    pub cross_signing_verified: bool,
    /// The identity changed since it was first seen.
    pub needs_approval: bool,
}

impl E2eeClient {
    /// Makes a new cross-signing identity, which signs this device.
    pub async fn bootstrap_cross_signing(&self) -> Result<()> {
        self.call("bootstrap", json!({})).await.map(drop)
    }

    /// Throws the cross-signing identity away for a new one, which signs this device.
    pub async fn renew_identity(&self) -> Result<()> {
        self.call("bootstrap", json!({"anew": true}))
            .await
            .map(drop)
    }

    /// Signs another device of this user. This client must have made the identity.
    pub async fn sign_device(&self, device: &str) -> Result<()> {
        self.call("sign_device", json!({"device": device}))
            .await
            .map(drop)
    }

    /// Verifies all devices of a user by hand (matrix-nio); how many there are.
    pub async fn verify(&self, user: &str) -> Result<usize> {
        let devices = self.call("verify", json!({"user": user})).await?;
        Ok(devices.as_array().map_or(0, Vec::len))
    }

    /// Whether devices that their owners did not sign are excluded, both ways ("exclude insecure devices").
    pub async fn only_signed_devices(&self, only: bool) -> Result<()> {
        self.call("isolation", json!({"only_signed": only}))
            .await
            .map(drop)
    }

    // Rooms.

    /// Creates a room from the body of `/createRoom`; returns its id.
    pub async fn create_room(&self, body: Value) -> Result<String> {
        text(&self.call("create_room", json!({"options": body})).await?)
    }

    /// Creates an encrypted private room and invites somebody; returns its id.
    pub async fn create_encrypted_room(&self, invite: &[&str]) -> Result<String> {
        self.create_room(json!({
            "preset": "private_chat", "invite": invite,
            "initial_state": [{
                "type": "m.room.encryption", "state_key": "",
                "content": {"algorithm": "m.megolm.v1.aes-sha2"},
            }],
        }))
        .await
    }

    /// Joins a room by id or alias and waits until the client knows it.
    pub async fn join(&self, room: &str, via: &[&str]) -> Result<String> {
        text(&self.call("join", json!({"room": room, "via": via})).await?)
    }

    /// Waits for an invite to any room and joins it; returns the room's id.
    pub async fn accept_invite(&self, limit: Duration) -> Result<String> {
        let mut told = self.wire.told();
        let find = async {
            loop {
                let invited = |(room, membership): (&String, &String)| {
                    (membership == "invite").then(|| room.clone())
                };
                let room = self.wire.state().memberships.iter().find_map(invited);
                if let Some(room) = room {
                    return Ok(room);
                }
                told.changed().await.context("the client ended")?;
            }
        };
        let room: Result<String> = tokio::time::timeout(limit, find)
            .await
            .with_context(|| format!("{} waited {limit:?} for an invite", self.id()))?;
        self.join(&room?, &[]).await
    }

    /// Whether an invite to any room waits.
    pub fn is_invited(&self) -> bool {
        let state = self.wire.state();
        state.memberships.values().any(|one| one == "invite")
    }

    /// Leaves a room.
    pub async fn leave(&self, room: &str) -> Result<()> {
        self.call("leave", json!({"room": room})).await.map(drop)
    }

    pub async fn invite(&self, room: &str, user: &str) -> Result<()> {
        self.call("invite", json!({"room": room, "user": user}))
            .await
            .map(drop)
    }

    /// Switches encryption on; `content` is that of `m.room.encryption`.
    pub async fn enable_encryption(&self, room: &str, content: Value) -> Result<()> {
        self.call(
            "enable_encryption",
            json!({"room": room, "content": content}),
        )
        .await
        .map(drop)
    }

    /// Waits until the client knows that a room is encrypted. What is sent before that goes out in clear.
    pub async fn await_encryption(&self, room: &str) -> Result<()> {
        self.call("await_encryption", json!({"room": room}))
            .await
            .map(drop)
    }

    /// Waits until the client knows of somebody's membership, so that the next message is for them.
    pub async fn await_member(&self, room: &str, user: &str, membership: &str) -> Result<()> {
        let arguments = json!({"room": room, "user": user, "membership": membership});
        self.call("await_member", arguments).await.map(drop)
    }

    /// Waits until the client knows a device of somebody. It does not wait long for that by itself: what it sends before
    /// is not for that device.
    pub async fn await_device(&self, user: &str) -> Result<()> {
        self.call("await_device", json!({"user": user}))
            .await
            .map(drop)
    }

    // Messages; each returns the event's id. Encrypted where the room is.

    /// Sends any event.
    pub async fn send(&self, room: &str, kind: &str, content: Value) -> Result<String> {
        let arguments = json!({"room": room, "type": kind, "content": content});
        text(&self.call("send", arguments).await?)
    }

    /// Sends a state event.
    pub async fn send_state(
        &self,
        room: &str,
        kind: &str,
        key: &str,
        content: Value,
    ) -> Result<String> {
        let arguments = json!({"room": room, "type": kind, "state_key": key, "content": content});
        text(&self.call("send_state", arguments).await?)
    }

    /// Sends a text.
    pub async fn say(&self, room: &str, body: &str) -> Result<String> {
        let content = json!({"msgtype": "m.text", "body": body});
        self.send(room, "m.room.message", content).await
    }

    /// Answers a message.
    pub async fn reply(&self, room: &str, to: &str, body: &str) -> Result<String> {
        let content = json!({
            "msgtype": "m.text", "body": body,
            "m.relates_to": {"m.in_reply_to": {"event_id": to}},
        });
        self.send(room, "m.room.message", content).await
    }

    /// Edits an own message.
    pub async fn edit(&self, room: &str, event: &str, body: &str) -> Result<String> {
        self.send(room, "m.room.message", content::edit(event, body))
            .await
    }

    /// Reacts to a message. Stock clients send reactions in clear.
    pub async fn react(&self, room: &str, event: &str, key: &str) -> Result<String> {
        self.send(room, "m.reaction", content::reaction(event, key))
            .await
    }

    /// Redacts an event.
    pub async fn redact(&self, room: &str, event: &str) -> Result<String> {
        let arguments = json!({"room": room, "event_id": event});
        text(&self.call("redact", arguments).await?)
    }

    /// Encrypts a file with a key of its own and uploads it; returns the `EncryptedFile`.
    pub async fn upload_encrypted(&self, bytes: &[u8]) -> Result<Value> {
        let arguments = json!({"data": BASE64.encode(bytes)});
        self.call("upload_encrypted", arguments).await
    }

    /// Sends a file, encrypted. `content` names `msgtype`, `body`, `info`; the file is filled in.
    pub async fn send_file(&self, room: &str, mut content: Value, bytes: &[u8]) -> Result<String> {
        content["file"] = self.upload_encrypted(bytes).await?;
        self.send(room, "m.room.message", content).await
    }

    /// Downloads the file of a received message; its hash is checked and it is decrypted if it is encrypted.
    pub async fn file_of(&self, event: &str) -> Result<Vec<u8>> {
        self.download(event, false).await
    }

    /// The same with the thumbnail.
    pub async fn thumbnail_of(&self, event: &str) -> Result<Vec<u8>> {
        self.download(event, true).await
    }

    async fn download(&self, event: &str, thumbnail: bool) -> Result<Vec<u8>> {
        let arguments = json!({"event_id": event, "thumbnail": thumbnail});
        let data = text(&self.call("download", arguments).await?)?;
        Ok(BASE64.decode(data.as_bytes())?)
    }

    // Receiving.

    /// Waits until a report fits, of any event received since the client began, or of one whose decryption
    /// was tried again; returns the first. The error of a time-out says `what` was awaited and what came.
    pub async fn wait_for(
        &self,
        what: &str,
        fits: impl Fn(&Report) -> bool,
        limit: Duration,
    ) -> Result<Report> {
        let mut told = self.wire.told();
        let find = async {
            loop {
                let found = self
                    .wire
                    .state()
                    .reports
                    .iter()
                    .find(|one| fits(one))
                    .cloned();
                if found.is_some() || told.changed().await.is_err() {
                    return found;
                }
            }
        };
        match tokio::time::timeout(limit, find).await {
            Ok(Some(report)) => Ok(report),
            Ok(None) => bail!("{}'s client ended before {what}", self.id()),
            Err(_) => bail!("{}", self.timed_out(what, limit)),
        }
    }

    /// Waits for the event of this id until it is decrypted, or was not encrypted.
    pub async fn wait_readable(&self, event: &str, limit: Duration) -> Result<Report> {
        let readable = |one: &Report| one.event_id == event && one.failure.is_none();
        self.wait_for(&format!("{event}, readable"), readable, limit)
            .await
    }

    /// Waits for a message with this text from somebody in a room, decrypted.
    pub async fn wait_body(
        &self,
        room: &str,
        sender: &str,
        body: &str,
        limit: Duration,
    ) -> Result<Report> {
        let fits = |one: &Report| one.room == room && one.sender == sender && one.body() == body;
        self.wait_for(&format!("{body:?} from {sender} in {room}"), fits, limit)
            .await
    }

    /// Waits until the event of this id could not be decrypted.
    pub async fn wait_unreadable(&self, event: &str, limit: Duration) -> Result<Report> {
        let unreadable = |one: &Report| one.event_id == event && one.failure.is_some();
        self.wait_for(&format!("{event}, not decryptable"), unreadable, limit)
            .await
    }

    /// The latest report on each event received so far, in the order in which they came.
    pub fn received(&self) -> Vec<Report> {
        self.wire.state().reports.clone()
    }

    /// Those of one room.
    pub fn timeline(&self, room: &str) -> Vec<Report> {
        let state = self.wire.state();
        let in_room = state.reports.iter().filter(|one| one.room == room);
        in_room.cloned().collect()
    }

    /// Judges a received event again, by what the client knows now.
    pub async fn look(&self, event: &str) -> Result<Report> {
        let report = self.call("look", json!({"event_id": event})).await?;
        Ok(serde_json::from_value(report)?)
    }

    // Keys.

    /// A user's keys, asked of the server anew.
    pub async fn keys_of(&self, user: &str) -> Result<UserKeys> {
        let answer = self.call("keys_query", json!({"users": [user]})).await?;
        let cross_signing = |kind: &str| {
            let keys = answer[kind][user]["keys"].as_object();
            keys.and_then(|keys| keys.values().next()?.as_str().map(str::to_owned))
        };
        let mut found = UserKeys {
            master: cross_signing("master_keys"),
            self_signing: cross_signing("self_signing_keys"),
            user_signing: cross_signing("user_signing_keys"),
            ..UserKeys::default()
        };
        for (device, raw) in answer["device_keys"][user]
            .as_object()
            .into_iter()
            .flatten()
        {
            found.devices.push(DeviceKeys {
                device_id: device.clone(),
                curve25519: text(&raw["keys"][format!("curve25519:{device}")])?,
                ed25519: text(&raw["keys"][format!("ed25519:{device}")])?,
                display_name: text(&raw["unsigned"]["device_display_name"]).ok(),
                raw: raw.clone(),
            });
        }
        Ok(found)
    }

    /// What the client thinks of a user's identity.
    pub async fn user_status(&self, user: &str) -> Result<UserStatus> {
        let status = self.call("user_status", json!({"user": user})).await?;
        Ok(serde_json::from_value(status)?)
    }

    /// Makes the next message begin a new room key.
    pub async fn discard_session(&self, room: &str) -> Result<()> {
        self.call("discard_session", json!({"room": room}))
            .await
            .map(drop)
    }

    /// From now on room keys do not leave, though the client believes that they did.
    pub async fn hold_keys(&self) -> Result<()> {
        self.call("hold_keys", json!({})).await.map(drop)
    }

    /// Lets the room keys go that were held; returns how many requests these were.
    pub async fn release_keys(&self) -> Result<u64> {
        let count = self.call("release_keys", json!({})).await?;
        count.as_u64().context("no number")
    }

    /// Whether room keys are given only to devices of users whom this one has verified.
    pub async fn only_verified(&self, only: bool) -> Result<()> {
        self.call("only_verified", json!({"only": only}))
            .await
            .map(drop)
    }

    /// Waits for a message to this device.
    pub async fn wait_to_device(
        &self,
        what: &str,
        fits: impl Fn(&Value) -> bool,
        limit: Duration,
    ) -> Result<Value> {
        let mut told = self.wire.told();
        let find = async {
            loop {
                let found = self
                    .wire
                    .state()
                    .to_device
                    .iter()
                    .find(|one| fits(one))
                    .cloned();
                if found.is_some() || told.changed().await.is_err() {
                    return found;
                }
            }
        };
        let found = tokio::time::timeout(limit, find).await.ok().flatten();
        found.with_context(|| {
            let came = &self.wire.state().to_device;
            format!(
                "{} waited {limit:?} for {what}; there came {came:#?}",
                self.id()
            )
        })
    }

    fn timed_out(&self, what: &str, limit: Duration) -> String {
        use std::fmt::Write as _;

        let mut message = format!("{} waited {limit:?} for {what}. Received:", self.id());
        let state = self.wire.state();
        let skipped = state.reports.len().saturating_sub(25);
        for one in &state.reports[skipped..] {
            let content: String = one.content.to_string().chars().take(160).collect();
            let _ = write!(
                message,
                "\n  {} {} from {} in {} (encrypted: {}, failure: {:?}, shield: {:?}): {content}",
                one.event_id,
                one.kind,
                one.sender,
                one.room,
                one.encrypted,
                one.failure,
                one.shield
            );
        }
        let _ = write!(message, "\nThe client's log: {}", self.log().display());
        message
    }
}

fn text(answer: &Value) -> Result<String> {
    answer
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("not a text: {answer}"))
}
