//! What encrypts and reads the conversations of a town, where they are encrypted.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{event, ledger::Sealed, stub::Stub};

/// The keys of a town's people.
#[async_trait(?Send)]
pub trait Seal: Debug {
    /// The content of an encrypted event: what `sender` says in `room`.
    async fn seal(
        &mut self,
        stub: &Stub,
        room: &str,
        sender: &str,
        content: &str,
    ) -> anyhow::Result<String>;

    /// A message's content as somebody reads it for whom it is. The error says why they cannot.
    async fn open(&mut self, stub: &Stub, sealed: &Sealed) -> anyhow::Result<String>;
}

#[derive(Deserialize)]
struct Plain<'a> {
    room_id: &'a str,
    sender: &'a str,
    event_id: &'a str,
    origin_server_ts: u64,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// The same event, encrypted if the town has keys.
pub async fn seal(
    keys: &mut Option<Box<dyn Seal>>,
    stub: &Stub,
    json: String,
) -> anyhow::Result<String> {
    let Some(keys) = keys else {
        return Ok(json);
    };
    let plain: Plain<'_> = serde_json::from_str(&json)?;
    let (room, sender) = (plain.room_id, plain.sender);
    let content = keys.seal(stub, room, sender, plain.content.get()).await?;
    let ts = plain.origin_server_ts;
    Ok(event::encrypted(room, sender, plain.event_id, ts, &content))
}
