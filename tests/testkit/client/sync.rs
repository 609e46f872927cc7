//! What a user receives, in the order received, and waiting for it.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::Value;

use super::Client;

/// How long quiet may keep somebody waiting.
const SETTLED: Duration = Duration::from_mins(2);

/// One thing that reached the user.
#[derive(Clone, Debug)]
pub struct Received {
    pub room: String,
    pub source: Source,
    pub event: Value,
}

/// By which way it reached the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a room's timeline.
    Timeline,
    /// As state that came with a room.
    State,
    /// As stripped state of an invite.
    Invite,
    /// Receipts, typing.
    Ephemeral,
    /// As somebody's presence, in no room.
    Presence,
    /// In the timeline of a room that was left.
    Left,
    /// As a message to the device.
    Device,
}

impl Received {
    /// The event's type.
    pub fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap_or_default()
    }

    pub fn sender(&self) -> &str {
        self.event["sender"].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.event["event_id"].as_str().unwrap_or_default()
    }

    /// The text; of an edit, the new one.
    pub fn body(&self) -> &str {
        let content = &self.event["content"];
        content["m.new_content"]["body"]
            .as_str()
            .or_else(|| content["body"].as_str())
            .unwrap_or_default()
    }

    /// Whether this is a message in a timeline (edits included).
    pub fn is_message(&self) -> bool {
        self.source == Source::Timeline && self.kind() == "m.room.message"
    }

    /// The event this one relates to.
    pub fn relates_to(&self) -> &str {
        self.event["content"]["m.relates_to"]["event_id"]
            .as_str()
            .unwrap_or_default()
    }
}

/// Where the user's `/sync` stands and everything it brought.
#[derive(Debug, Default)]
pub(super) struct State {
    since: Option<String>,
    seen: Vec<Received>,
    /// Event ids of timelines, so that a gap that is filled ends where it should.
    known: HashSet<String>,
    /// Rooms whose timeline has begun.
    timelines: HashSet<String>,
}

/// How much one `/sync` may bring; more is fetched from the history.
const FILTER: &str = r#"{"room":{"timeline":{"limit":2000}}}"#;

impl Client {
    /// Waits until something fits that was received at any time since this client began; returns the first.
    /// The error of a time-out says `what` was awaited and what came instead.
    pub async fn wait_for(
        &self,
        what: &str,
        fits: impl Fn(&Received) -> bool,
        limit: Duration,
    ) -> Result<Received> {
        self.wait_after(0, what, fits, limit).await
    }

    /// The same among what is received after a [`Client::mark`].
    pub async fn wait_after(
        &self,
        mark: usize,
        what: &str,
        fits: impl Fn(&Received) -> bool,
        limit: Duration,
    ) -> Result<Received> {
        let since = Instant::now();
        let mut looked = mark;
        loop {
            // Locked only between polls: another task's poll may bring what is awaited here.
            {
                let state = self.sync.lock().await;
                if let Some(found) = state.seen.iter().skip(looked).find(|seen| fits(seen)) {
                    return Ok(found.clone());
                }
                looked = state.seen.len().max(looked);
            }
            let Some(left) = limit.checked_sub(since.elapsed()) else {
                bail!("{}", self.timed_out(what, limit, mark).await);
            };
            self.poll(left.min(Duration::from_secs(2))).await?;
        }
    }

    /// A place in what was received, for [`Client::wait_after`].
    pub async fn mark(&self) -> usize {
        self.sync.lock().await.seen.len()
    }

    /// Polls until nothing new came for `quiet`; an error if there is no end of it.
    pub async fn settle(&self, quiet: Duration) -> Result<()> {
        let since = Instant::now();
        let first = self.mark().await;
        loop {
            let before = self.mark().await;
            self.poll(quiet).await?;
            if self.mark().await == before {
                return Ok(());
            }
            if since.elapsed() > SETTLED {
                bail!("{}", self.timed_out("quiet", SETTLED, first).await);
            }
        }
    }

    /// Everything received so far, in order.
    pub async fn received(&self) -> Vec<Received> {
        self.sync.lock().await.seen.clone()
    }

    /// The timeline of a room in the order this user received it.
    pub async fn timeline(&self, room: &str) -> Vec<Received> {
        let state = self.sync.lock().await;
        let in_room = |seen: &&Received| seen.room == room && seen.source == Source::Timeline;
        state.seen.iter().filter(in_room).cloned().collect()
    }

    /// The texts of the messages in a room, in order, edits left out.
    pub async fn texts(&self, room: &str) -> Vec<String> {
        let is_text = |seen: &Received| {
            seen.is_message() && seen.event["content"]["m.relates_to"]["rel_type"] != "m.replace"
        };
        let timeline = self.timeline(room).await;
        timeline
            .iter()
            .filter(|seen| is_text(seen))
            .map(|seen| seen.body().to_owned())
            .collect()
    }

    /// One `/sync` that waits up to `wait` for news.
    pub async fn poll(&self, wait: Duration) -> Result<()> {
        let mut state = self.sync.lock().await;
        let wait = wait.as_millis().to_string();
        let mut query = vec![("filter", FILTER)];
        if let Some(since) = &state.since {
            query.extend([("since", since.as_str()), ("timeout", &wait)]);
        }
        let answer = self
            .call_with(Method::GET, &["v3", "sync"], &query, None)
            .await?;
        self.take(&mut state, &answer).await?;
        state.since = answer["next_batch"].as_str().map(str::to_owned);
        Ok(())
    }

    async fn take(&self, state: &mut State, answer: &Value) -> Result<()> {
        for (room, invite) in entries(&answer["rooms"]["invite"]) {
            state.push_all(room, Source::Invite, &invite["invite_state"]["events"]);
        }
        for (room, joined) in entries(&answer["rooms"]["join"]) {
            let timeline = &joined["timeline"];
            state.push_all(room, Source::State, &joined["state"]["events"]);
            if timeline["limited"] == true && state.timelines.contains(room) {
                for event in self.missed(state, room, &timeline["prev_batch"]).await? {
                    state.push(room, Source::Timeline, event);
                }
            }
            state.push_all(room, Source::Timeline, &timeline["events"]);
            state.push_all(room, Source::Ephemeral, &joined["ephemeral"]["events"]);
            state.timelines.insert(room.to_owned());
        }
        state.push_all("", Source::Presence, &answer["presence"]["events"]);
        state.push_all("", Source::Device, &answer["to_device"]["events"]);
        for (room, left) in entries(&answer["rooms"]["leave"]) {
            state.push_all(room, Source::Left, &left["timeline"]["events"]);
        }
        Ok(())
    }

    /// What a `/sync` left out of a timeline, oldest first.
    async fn missed(&self, state: &State, room: &str, from: &Value) -> Result<Vec<Value>> {
        let mut missed = Vec::new();
        let mut from = from.as_str().unwrap_or_default().to_owned();
        'pages: loop {
            let query = [("dir", "b"), ("limit", "200"), ("from", from.as_str())];
            let page = self
                .call_with(
                    Method::GET,
                    &["v3", "rooms", room, "messages"],
                    &query,
                    None,
                )
                .await?;
            for event in page["chunk"].as_array().into_iter().flatten() {
                if event["event_id"]
                    .as_str()
                    .is_some_and(|id| state.known.contains(id))
                {
                    break 'pages;
                }
                missed.push(event.clone());
            }
            match page["end"].as_str() {
                Some(end) => end.clone_into(&mut from),
                None => break,
            }
        }
        missed.reverse();
        Ok(missed)
    }

    async fn timed_out(&self, what: &str, limit: Duration, mark: usize) -> String {
        use std::fmt::Write as _;

        const SHOWN: usize = 25;
        let state = self.sync.lock().await;
        let seen = state.seen.get(mark..).unwrap_or_default();
        let mut message = format!(
            "{} waited {limit:?} for {what}. Received meanwhile:",
            self.id()
        );
        if seen.is_empty() {
            message.push_str(" nothing");
        }
        if seen.len() > SHOWN {
            let _ = write!(message, "\n  … {} more …", seen.len() - SHOWN);
        }
        for one in &seen[seen.len().saturating_sub(SHOWN)..] {
            let mut content = one.event["content"].to_string();
            if let Some((end, _)) = content.char_indices().nth(160) {
                content.truncate(end);
                content.push('…');
            }
            let _ = write!(
                message,
                "\n  {:?} {} from {} in {}: {content}",
                one.source,
                one.kind(),
                one.sender(),
                one.room
            );
        }
        message
    }
}

impl State {
    fn push_all(&mut self, room: &str, source: Source, events: &Value) {
        for event in events.as_array().into_iter().flatten() {
            self.push(room, source, event.clone());
        }
    }

    fn push(&mut self, room: &str, source: Source, event: Value) {
        if source == Source::Timeline
            && let Some(id) = event["event_id"].as_str()
            && !self.known.insert(id.to_owned())
        {
            return;
        }
        self.seen.push(Received {
            room: room.to_owned(),
            source,
            event,
        });
    }
}

fn entries(rooms: &Value) -> impl Iterator<Item = (&str, &Value)> {
    rooms
        .as_object()
        .into_iter()
        .flatten()
        .map(|(room, value)| (room.as_str(), value))
}
