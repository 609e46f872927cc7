//! An ordinary user with an ordinary client: everything goes through the client-server API with the
//! user's own token.

mod events;
mod media;
mod sync;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

pub use media::picture;
pub use sync::{Received, Source};

use super::synapse::{Account, Synapse};

/// One user on one device.
#[derive(Debug)]
pub struct Client {
    pub account: Account,
    http: reqwest::Client,
    transaction: AtomicU64,
    sync: Mutex<sync::State>,
}

impl Client {
    /// Registers a user on a homeserver; the password is the localpart's.
    pub async fn register(server: &Synapse, localpart: &str) -> Result<Self> {
        let account = server
            .register(localpart, &format!("password of {localpart}"))
            .await?;
        Ok(Self::new(account))
    }

    /// Acts with a token that is there already.
    pub fn new(account: Account) -> Self {
        Self {
            account,
            http: super::http(),
            transaction: AtomicU64::new(0),
            sync: Mutex::default(),
        }
    }

    /// Logs in with a password: a new device.
    pub async fn login(url: &str, user: &str, password: &str) -> Result<Self> {
        let mut client = Self::new(Account {
            user_id: user.to_owned(),
            password: password.to_owned(),
            access_token: String::new(),
            device_id: String::new(),
            url: url.to_owned(),
        });
        let body = json!({
            "type": "m.login.password", "password": password,
            "identifier": {"type": "m.id.user", "user": user},
        });
        let answer = client
            .call(Method::POST, &["v3", "login"], Some(body))
            .await?;
        client.account.user_id = text(&answer, "user_id")?;
        client.account.access_token = text(&answer, "access_token")?;
        client.account.device_id = text(&answer, "device_id")?;
        Ok(client)
    }

    /// The user's Matrix ID.
    pub fn id(&self) -> &str {
        &self.account.user_id
    }

    /// The part of the Matrix ID before the colon, without the sigil.
    pub fn localpart(&self) -> &str {
        self.id()
            .trim_start_matches('@')
            .split(':')
            .next()
            .unwrap_or_default()
    }

    /// A call to `/_matrix/client/…`; each part of the path is percent-encoded. An answer other than 2xx
    /// is an error that quotes it.
    pub async fn call(&self, method: Method, path: &[&str], body: Option<Value>) -> Result<Value> {
        self.call_with(method, path, &[], body).await
    }

    /// The same with a query.
    pub async fn call_with(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Value> {
        let mut request = self
            .http
            .request(method.clone(), self.address("client", path)?)
            .query(query);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = self.authorized(request).send().await?;
        let status = response.status();
        let answer = response.text().await?;
        if !status.is_success() {
            bail!(
                "{} ({method} {}): {status} {answer}",
                self.id(),
                path.join("/")
            );
        }
        serde_json::from_str(&answer).with_context(|| format!("not JSON: {answer}"))
    }

    fn address(&self, api: &str, path: &[&str]) -> Result<url::Url> {
        let mut address: url::Url = self.account.url.parse()?;
        address
            .path_segments_mut()
            .ok()
            .context("a homeserver URL has a path")?
            .clear()
            .extend(["_matrix", api])
            .extend(path);
        Ok(address)
    }

    fn authorized(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        if self.account.access_token.is_empty() {
            request
        } else {
            request.bearer_auth(&self.account.access_token)
        }
    }

    fn next_transaction(&self) -> String {
        format!("t{}", self.transaction.fetch_add(1, Ordering::Relaxed))
    }

    // Rooms.

    /// Creates a room from the body of `/createRoom`; returns its id.
    pub async fn create_room(&self, body: Value) -> Result<String> {
        let answer = self
            .call(Method::POST, &["v3", "createRoom"], Some(body))
            .await?;
        text(&answer, "room_id")
    }

    /// Creates a room that anyone may join; returns its id and alias.
    pub async fn create_public_room(&self, alias: &str, name: &str) -> Result<(String, String)> {
        let body = json!({"preset": "public_chat", "visibility": "public", "room_alias_name": alias, "name": name});
        let room = self.create_room(body).await?;
        let server = self.id().split_once(':').map_or("", |(_, server)| server);
        Ok((room, format!("#{alias}:{server}")))
    }

    /// A direct chat with somebody, invited.
    pub async fn direct_chat(&self, with: &str) -> Result<String> {
        let body = json!({"preset": "trusted_private_chat", "is_direct": true, "invite": [with]});
        let room = self.create_room(body).await?;
        let direct = json!({with: [room]});
        self.call(
            Method::PUT,
            &["v3", "user", self.id(), "account_data", "m.direct"],
            Some(direct),
        )
        .await?;
        Ok(room)
    }

    /// Joins a room by id or alias; `via` names servers that know it.
    pub async fn join(&self, room: &str, via: &[&str]) -> Result<String> {
        let query: Vec<(&str, &str)> = via
            .iter()
            .flat_map(|server| [("via", *server), ("server_name", *server)])
            .collect();
        let answer = self
            .call_with(Method::POST, &["v3", "join", room], &query, Some(json!({})))
            .await?;
        text(&answer, "room_id")
    }

    /// Leaves a room, or refuses an invite.
    pub async fn leave(&self, room: &str) -> Result<()> {
        self.call(
            Method::POST,
            &["v3", "rooms", room, "leave"],
            Some(json!({})),
        )
        .await
        .map(drop)
    }

    /// Forgets a room that was left.
    pub async fn forget(&self, room: &str) -> Result<()> {
        self.call(
            Method::POST,
            &["v3", "rooms", room, "forget"],
            Some(json!({})),
        )
        .await
        .map(drop)
    }

    pub async fn invite(&self, room: &str, user: &str) -> Result<()> {
        let body = json!({"user_id": user});
        self.call(Method::POST, &["v3", "rooms", room, "invite"], Some(body))
            .await
            .map(drop)
    }

    pub async fn kick(&self, room: &str, user: &str, reason: &str) -> Result<()> {
        let body = json!({"user_id": user, "reason": reason});
        self.call(Method::POST, &["v3", "rooms", room, "kick"], Some(body))
            .await
            .map(drop)
    }

    pub async fn ban(&self, room: &str, user: &str, reason: &str) -> Result<()> {
        let body = json!({"user_id": user, "reason": reason});
        self.call(Method::POST, &["v3", "rooms", room, "ban"], Some(body))
            .await
            .map(drop)
    }

    pub async fn joined_rooms(&self) -> Result<Vec<String>> {
        let answer = self
            .call(Method::GET, &["v3", "joined_rooms"], None)
            .await?;
        Ok(serde_json::from_value(answer["joined_rooms"].clone())?)
    }

    /// The member events of a room.
    pub async fn members(&self, room: &str) -> Result<Vec<Value>> {
        let mut answer = self
            .call(Method::GET, &["v3", "rooms", room, "members"], None)
            .await?;
        Ok(serde_json::from_value(answer["chunk"].take())?)
    }

    /// The Matrix IDs of those who are joined.
    pub async fn joined_members(&self, room: &str) -> Result<Vec<String>> {
        let answer = self
            .call(Method::GET, &["v3", "rooms", room, "joined_members"], None)
            .await?;
        Ok(answer["joined"]
            .as_object()
            .map(|all| all.keys().cloned().collect())
            .unwrap_or_default())
    }

    /// The content of a state event; `None` if there is none.
    pub async fn state(&self, room: &str, kind: &str, key: &str) -> Result<Option<Value>> {
        match self
            .call(
                Method::GET,
                &["v3", "rooms", room, "state", kind, key],
                None,
            )
            .await
        {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.to_string().contains("M_NOT_FOUND") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All state of a room.
    pub async fn full_state(&self, room: &str) -> Result<Vec<Value>> {
        let answer = self
            .call(Method::GET, &["v3", "rooms", room, "state"], None)
            .await?;
        Ok(serde_json::from_value(answer)?)
    }

    /// Marks an event as read.
    pub async fn read(&self, room: &str, event: &str) -> Result<()> {
        let path = ["v3", "rooms", room, "receipt", "m.read", event];
        self.call(Method::POST, &path, Some(json!({})))
            .await
            .map(drop)
    }

    pub async fn typing(&self, room: &str, on: bool) -> Result<()> {
        let body = json!({"typing": on, "timeout": 10_000});
        self.call(
            Method::PUT,
            &["v3", "rooms", room, "typing", self.id()],
            Some(body),
        )
        .await
        .map(drop)
    }

    /// The whole history that this user may see, oldest first.
    pub async fn history(&self, room: &str) -> Result<Vec<Value>> {
        let mut from = String::new();
        let mut events: Vec<Value> = Vec::new();
        loop {
            let mut query = vec![("dir", "f"), ("limit", "500")];
            if !from.is_empty() {
                query.push(("from", &from));
            }
            let mut page = self
                .call_with(
                    Method::GET,
                    &["v3", "rooms", room, "messages"],
                    &query,
                    None,
                )
                .await?;
            events.extend(serde_json::from_value::<Vec<Value>>(page["chunk"].take())?);
            match page["end"].as_str() {
                Some(end) => end.clone_into(&mut from),
                None => return Ok(events),
            }
        }
    }

    /// Waits for an invite to a room, any that was not accepted yet and that `fits` (given the room's
    /// stripped state), and joins. Returns the room's id.
    pub async fn accept_invite(
        &self,
        what: &str,
        fits: impl Fn(&Received) -> bool,
        limit: Duration,
    ) -> Result<String> {
        let is_mine = |seen: &Received| {
            seen.source == Source::Invite
                && seen.kind() == "m.room.member"
                && seen.event["state_key"] == self.id()
                && fits(seen)
        };
        let room = self
            .wait_for(&format!("an invite: {what}"), is_mine, limit)
            .await?
            .room;
        self.join(&room, &[]).await
    }
}

fn text(answer: &Value, field: &str) -> Result<String> {
    answer[field]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("no {field} in {answer}"))
}
