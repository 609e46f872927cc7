//! Somebody on a homeserver without Vizard who speaks its protocol by hand: a peer that may be hostile.

use anyhow::{Context as _, Result, ensure};
use ruma::{OwnedRoomId, RoomId, UserId};
use serde_json::Value;
use vizard::{
    pseudonym::{Namespace, SenderKey},
    rng::Rng,
    sealed::{REQUEST_TYPE, RESPONSE_TYPE, RequestDraft, SealedAddress, SignedRequest},
};

use crate::{
    invites::now,
    testkit::{
        client::{Client, Received, Source},
        synapse::Synapse,
    },
    world::PATIENCE,
};

/// A user whose Matrix ID is a key, as that of a ghost, and who has the key.
pub struct Stranger {
    pub client: Client,
    pub key: SenderKey,
    pub id: ruma::OwnedUserId,
}

impl Stranger {
    pub async fn register(server: &Synapse) -> Result<Self> {
        let key = SenderKey::generate(&Rng::os());
        let name = <&ruma::ServerName>::try_from(server.server_name())?;
        let namespace = Namespace::new(name, "stranger_", "vizard").context("a namespace")?;
        let id = namespace.ghost(&key.id());
        let client = Client::register(server, id.localpart()).await?;
        ensure!(client.id() == id, "registered as {}", client.id());
        Ok(Self { client, key, id })
    }

    /// A room of the stranger's own.
    pub async fn room(&self) -> Result<OwnedRoomId> {
        let body = serde_json::json!({"preset": "private_chat", "name": "Cellar"});
        Ok(RoomId::parse(self.client.create_room(body).await?)?)
    }

    /// A request as it should be.
    pub fn request(&self, sealed: &SealedAddress, room: &RoomId) -> SignedRequest {
        self.request_until(sealed, room, now() + 3_600_000)
    }

    pub fn request_until(
        &self,
        sealed: &SealedAddress,
        room: &RoomId,
        expires_ts: u64,
    ) -> SignedRequest {
        let draft = RequestDraft {
            sealed,
            room,
            expires_ts,
        };
        draft.sign_as_ghost(&Rng::os(), &self.id, &self.key)
    }

    pub async fn send(&self, bot: &str, content: &Value) -> Result<()> {
        self.client
            .send_to_devices(bot, REQUEST_TYPE, content)
            .await
    }

    /// The content of the answer to a request.
    pub async fn answer(&self, request: &str, mark: usize) -> Result<Value> {
        let fits = |one: &Received| is_answer(one, request);
        let found = self
            .client
            .wait_after(mark, "an answer", fits, PATIENCE)
            .await?;
        Ok(found.event["content"].clone())
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&self, bot: &str, content: &Value) -> Result<Value> {
        let id = content["request_id"].as_str().context("no request id")?;
        let mark = self.client.mark().await;
        self.send(bot, content).await?;
        self.answer(id, mark).await
    }

    /// Invites whom an answer names.
    pub async fn invite(&self, room: &RoomId, answer: &Value) -> Result<String> {
        let ghost = answer["ghost"].as_str().context("no ghost")?;
        self.client.invite(room.as_str(), ghost).await?;
        Ok(ghost.to_owned())
    }
}

/// Whether this is the answer to a request.
pub fn is_answer(one: &Received, request: &str) -> bool {
    one.source == Source::Device
        && one.kind() == RESPONSE_TYPE
        && one.event["content"]["request_id"] == request
}

/// A user's Matrix ID, sealed for whoever gets it.
pub fn contact(document: &vizard::sealed::KeyDocument, user: &UserId) -> Result<SealedAddress> {
    let text = crate::invites::seal_contact(document, user.as_str())?;
    Ok(SealedAddress::parse(&text)?)
}
