//! What the demo prints: progress, and the conversation in two columns.

use std::collections::HashMap;

use anyhow::Result;

use crate::{
    script::{Story, redacts},
    testkit::client::{Client, Received},
};

const WIDTH: usize = 56;

/// A progress line: what is being done.
pub fn step(what: &str) {
    eprintln!("▸ {what}…");
}

/// A progress line: what has happened.
pub fn seen(what: &str) {
    eprintln!("▸ {what}");
}

/// The conversation as Alice sees it in her portal, and as Bob sees it in the room.
pub async fn conversation(alice: &Client, bob: &Client, story: &Story) -> Result<()> {
    let left = view(alice, &story.portal).await?;
    let right = view(bob, &story.room).await?;
    println!();
    row(
        "What Alice sees (her portal on A)",
        "What Bob sees (his room on B)",
    );
    let mask = format!("{} is {}", story.nick, shortened(&story.ghost));
    row(&format!("as {}", alice.id()), &mask);
    println!("{}─┼─{}", "─".repeat(WIDTH), "─".repeat(WIDTH));
    for line in 0..left.len().max(right.len()) {
        let cell = |lines: &[String]| lines.get(line).cloned().unwrap_or_default();
        row(&cell(&left), &cell(&right));
    }
    Ok(())
}

fn row(left: &str, right: &str) {
    println!(
        "{left}{} │ {right}",
        " ".repeat(WIDTH.saturating_sub(width(left)))
    );
}

/// The lines a client would show: edits, reactions and redactions applied.
async fn view(client: &Client, room: &str) -> Result<Vec<String>> {
    client.settle(std::time::Duration::from_millis(500)).await?;
    let names = names(client, room).await?;
    let timeline = client.timeline(room).await;
    let is_message = |one: &&Received| {
        one.is_message() && one.event["content"]["m.relates_to"]["rel_type"] != "m.replace"
    };
    let messages: Vec<&Received> = timeline.iter().filter(is_message).collect();
    let mut lines = Vec::new();
    for message in &messages {
        let says = |one: &Received| {
            let name = names.get(one.sender()).cloned();
            let name = name.unwrap_or_else(|| shortened(one.sender()));
            format!("{name}: {}", text(&timeline, one))
        };
        let answered =
            message.event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"].as_str();
        if let Some(first) = answered.and_then(|id| messages.iter().find(|one| one.id() == id)) {
            lines.push(fit(&format!("  ┌ {}", says(first))));
        }
        lines.extend(wrapped(&says(message)));
        for reaction in timeline
            .iter()
            .filter(|one| one.kind() == "m.reaction" && one.relates_to() == message.id())
        {
            let key = reaction.event["content"]["m.relates_to"]["key"]
                .as_str()
                .unwrap_or_default();
            lines.push(fit(&format!(
                "    {key} {}",
                says(reaction).split(':').next().unwrap_or_default()
            )));
        }
    }
    Ok(lines)
}

/// A message's text as it stands after edits and redactions.
fn text(timeline: &[Received], message: &Received) -> String {
    let is_edit = |one: &&Received| {
        one.relates_to() == message.id() && one.event["content"]["m.new_content"].is_object()
    };
    if timeline.iter().any(|one| redacts(one, message.id())) {
        return "(removed)".to_owned();
    }
    match timeline.iter().rev().find(is_edit) {
        Some(edit) => format!("{} (edited)", edit.body()),
        None => message.body().to_owned(),
    }
}

async fn names(client: &Client, room: &str) -> Result<HashMap<String, String>> {
    let members = client.members(room).await?;
    let pair = |event: &serde_json::Value| {
        Some((
            event["state_key"].as_str()?.to_owned(),
            event["content"]["displayname"].as_str()?.to_owned(),
        ))
    };
    Ok(members.iter().filter_map(pair).collect())
}

/// Breaks a text into lines of a column at spaces.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let count = lines.len();
        let line = &mut lines[count - 1];
        if !line.trim().is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("  {word}"));
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.iter().map(|line| fit(line)).collect()
}

/// How many columns a terminal gives a text: two for an emoji, one for anything else used here.
fn width(text: &str) -> usize {
    text.chars()
        .map(|c| if c >= '\u{1f000}' { 2 } else { 1 })
        .sum()
}

/// Cuts a line to the column.
fn fit(line: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    let mut cut: String = line.chars().take(WIDTH - 1).collect();
    cut.push('…');
    cut
}

fn shortened(id: &str) -> String {
    if id.chars().count() <= 34 {
        return id.to_owned();
    }
    let start: String = id.chars().take(16).collect();
    let end = id.split_once(':').map_or("", |(_, server)| server);
    format!("{start}…:{end}")
}
