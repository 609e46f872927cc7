//! Whether everything arrived: what a run says, and what must stand in each room afterwards.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use reqwest::Method;
use serde_json::Value;

use crate::testkit::client::Client;

/// What a run's messages have in common.
pub fn label() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("run{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A message. It holds nothing that Vizard's guard could take for a name.
pub fn text(label: &str, lane: usize, number: usize) -> String {
    format!("{label} lane{lane} number {number}: some words of the usual length for a chat")
}

/// What is wrong with the messages of one lane in the room where they must be.
pub async fn judge(
    reader: &Client,
    room: &str,
    sender: &str,
    label: &str,
    lane: usize,
    each: usize,
) -> Result<Vec<String>> {
    let start = format!("{label} lane{lane} ");
    let found: Vec<Value> = recent(reader, room, each + 50)
        .await?
        .into_iter()
        .filter(|event| body(event).starts_with(&start))
        .collect();
    let expected: Vec<String> = (0..each).map(|number| text(label, lane, number)).collect();
    let bodies: Vec<&str> = found.iter().map(body).collect();
    let mut faults = Vec::new();
    for text in &expected {
        match bodies.iter().filter(|body| *body == text).count() {
            0 => faults.push(format!("lost: {text}")),
            1 => {}
            times => faults.push(format!("{times} times: {text}")),
        }
    }
    if faults.is_empty() && bodies != expected {
        faults.push(format!("out of order: {start}"));
    }
    faults.extend(
        found
            .iter()
            .filter(|event| event["sender"] != sender)
            .map(|event| format!("from a wrong sender: {}", body(event))),
    );
    Ok(faults)
}

fn body(event: &Value) -> &str {
    event["content"]["body"].as_str().unwrap_or_default()
}

/// The last events of a room, oldest first.
async fn recent(reader: &Client, room: &str, limit: usize) -> Result<Vec<Value>> {
    let mut events: Vec<Value> = Vec::new();
    let mut from = String::new();
    while events.len() < limit {
        let mut query = vec![("dir", "b"), ("limit", "500")];
        if !from.is_empty() {
            query.push(("from", &from));
        }
        let path = ["v3", "rooms", room, "messages"];
        let mut page = reader.call_with(Method::GET, &path, &query, None).await?;
        events.extend(serde_json::from_value::<Vec<Value>>(page["chunk"].take())?);
        match page["end"].as_str() {
            Some(end) => end.clone_into(&mut from),
            None => break,
        }
    }
    events.reverse();
    Ok(events)
}
