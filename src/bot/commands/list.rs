//! `list`: the user's pseudonyms.

use crate::{
    bot::{
        call::{Call, link},
        command::{Command, Group, Needs, Place},
        reply::{Answer, Reply, tidy},
    },
    portal::PortalError,
    store::PortalState,
};

/// Pseudonyms in one notice, so that a long list stays within the size of an event.
const PER_NOTICE: usize = 40;

pub const COMMAND: Command = Command {
    name: "list",
    aliases: &["ls", "rooms"],
    group: Group::Pseudonyms,
    usage: "",
    summary: "your pseudonyms, their rooms and their portals",
    help: "The numbers can be used with the other commands, such as `leave 2`.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: true,
    run: |call| Box::pin(run(call)),
};

/// A line of the list.
#[derive(Clone, Debug)]
struct Row {
    nick: String,
    room: String,
    state: &'static str,
    portal: Option<String>,
    here: bool,
}

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let mut rows = Vec::new();
    for pseudonym in &call.user.pseudonyms {
        let portal = match call.deps.portals.get(pseudonym.portal).await {
            Ok(portal) => Some(portal),
            Err(PortalError::Gone) => None,
            Err(error) => return Err(error),
        };
        // The name of a room to which one is invited stands with the portal alone.
        let shown = portal
            .as_ref()
            .and_then(|portal| portal.shown.name.as_deref());
        let room = pseudonym.room_name.as_deref().or(shown);
        let room = room.unwrap_or(pseudonym.room.as_str());
        let server = call.deps.namespace.server();
        rows.push(Row {
            nick: tidy(&pseudonym.nick, 64),
            room: tidy(room, 60),
            state: state(
                portal
                    .as_deref()
                    .filter(|portal| !portal.forgetting)
                    .map(|portal| &portal.state),
            ),
            portal: portal
                .and_then(|portal| portal.portal_room.clone())
                .map(|room| link(&room, server.to_owned())),
            here: call.invocation.portal == Some(pseudonym.portal),
        });
    }
    Ok(render(&rows))
}

fn state(state: Option<&PortalState>) -> &'static str {
    match state {
        Some(PortalState::Joining) => "joining",
        Some(PortalState::Knocking) => "knocked, waiting",
        Some(PortalState::Joined) => "in the room",
        Some(PortalState::Leaving) => "leaving",
        Some(PortalState::Left) => "left",
        Some(PortalState::Banned) => "banned",
        Some(PortalState::Invited) => "invited, not answered yet",
        None => "being forgotten",
    }
}

fn render(rows: &[Row]) -> Answer {
    if rows.is_empty() {
        return Reply::say("You have no pseudonym yet. `join #room:server` makes one.").into();
    }
    let numbered: Vec<_> = (1..).zip(rows).collect();
    let notice = |rows: &[(usize, &Row)]| {
        rows.iter()
            .enumerate()
            .fold(Reply::default(), |reply, (at, (number, row))| {
                let reply = if at > 0 { reply.line() } else { reply };
                let reply = reply
                    .quote(&format!("{number}. "))
                    .bold(&row.nick)
                    .and(" in ")
                    .quote(&row.room)
                    .and(&format!(" – {}", row.state));
                match &row.portal {
                    _ if row.here => reply.and(" – this portal"),
                    Some(url) => reply.and(" – ").link("portal", url),
                    None => reply,
                }
            })
    };
    Answer(numbered.chunks(PER_NOTICE).map(notice).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_list() {
        let row = |nick: &str, portal: Option<&str>, here| Row {
            nick: nick.to_owned(),
            room: "Knit & <purl>".to_owned(),
            state: state(Some(&PortalState::Joined)),
            portal: portal.map(ToOwned::to_owned),
            here,
        };
        let rows = [
            row("Quiet Heron", Some("https://matrix.to/#/!p:a"), false),
            row("Brave `Fox`", None, true),
        ];
        let Answer(replies) = render(&rows);
        assert_eq!(
            replies.iter().map(Reply::plain).collect::<Vec<_>>(),
            [
                "1. Quiet Heron in Knit & <purl> – in the room – portal: https://matrix.to/#/!p:a\n\
              2. Brave `Fox` in Knit & <purl> – in the room – this portal"
            ]
        );
        assert!(
            replies[0]
                .html()
                .contains("<strong>Brave `Fox`</strong> in Knit &amp; &lt;purl&gt;")
        );
        assert!(render(&[]).0[0].plain().contains("join"));
        assert_eq!(render(&vec![rows[0].clone(); 100]).0.len(), 3);
    }
}
