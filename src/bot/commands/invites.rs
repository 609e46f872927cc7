//! `invites`: what was sent and received, and waits.

use std::sync::Arc;

use crate::{
    bot::{
        call::{Call, link, room_title},
        command::{Command, Group, Needs, Place},
        reply::{Answer, Reply, tidy},
    },
    clock::UnixMillis,
    portal::{
        PortalError,
        sent::{self, SentInvite, in_words},
    },
    store::{Portal, PortalState},
};

/// Invites in one notice, so that many of them stay within the size of an event.
const PER_NOTICE: usize = 30;

pub const COMMAND: Command = Command {
    name: "invites",
    aliases: &[],
    group: Group::Invites,
    usage: "",
    summary: "invites that wait for an answer, sent and received",
    help: "Of those that you sent it shows the pseudonym that was invited and the server it was for; whom you meant is not kept. An invite that was declined waits until it ends, like one that nobody read. In a portal it shows what was sent from there.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: true,
    run: |call| Box::pin(run(call)),
};

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let now = call.deps.clock.now();
    let portals = portals(call).await?;
    let mut lines = Vec::new();
    for portal in &portals {
        for invite in sent::waiting(call.deps, portal.id).await? {
            let here = call.invocation.portal.is_some();
            lines.push(sent_line(portal, &invite, here, now));
        }
    }
    let received: Vec<_> = portals
        .iter()
        .filter(|portal| portal.state == PortalState::Invited)
        .map(|portal| received_line(call, portal, now))
        .collect();
    Ok(render(&received, &lines))
}

/// The portals that it is about: the one in which it is asked, or all.
async fn portals(call: &Call<'_>) -> Result<Vec<Arc<Portal>>, PortalError> {
    if let Some(portal) = &call.portal {
        return Ok(vec![portal.clone()]);
    }
    let mut portals = Vec::new();
    for pseudonym in &call.user.pseudonyms {
        match call.deps.portals.get(pseudonym.portal).await {
            Ok(portal) => portals.push(portal),
            Err(PortalError::Gone) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(portals)
}

fn sent_line(portal: &Portal, invite: &SentInvite, here: bool, now: UnixMillis) -> Reply {
    let reply = Reply::default()
        .bold(&tidy(&invite.nick, 64))
        .and(" for ")
        .quote(&invite.server);
    let reply = if here {
        reply
    } else {
        reply.and(", into ").quote(&room_title(portal))
    };
    reply.and(&format!(
        " – can be accepted for {}",
        in_words(invite.expires.saturating_sub(now))
    ))
}

fn received_line(call: &Call<'_>, portal: &Portal, now: UnixMillis) -> Reply {
    let reply = Reply::default().bold(&room_title(portal));
    let Some(received) = &portal.received else {
        return reply;
    };
    let inviter = match &received.inviter_name {
        Some(name) => format!("{} ({})", tidy(name, 64), received.inviter),
        None => received.inviter.to_string(),
    };
    let mut reply = reply.and(", from ").quote(&inviter);
    if !received.vouched {
        reply = reply.and(", for whom no Vizard vouches");
    }
    if let Some(address) = &received.address {
        reply = reply
            .and(", through your address ")
            .quote(&tidy(address, 64));
    }
    reply = reply.and(&format!(
        " – can be accepted for {}",
        in_words(received.expires.saturating_sub(now))
    ));
    match &portal.portal_room {
        Some(_) if call.invocation.portal == Some(portal.id) => reply.and(" – this portal"),
        Some(room) => {
            let server = call.deps.namespace.server().to_owned();
            reply.and(" – ").link("portal", &link(room, server))
        }
        None => reply,
    }
}

fn render(received: &[Reply], sent: &[Reply]) -> Answer {
    if received.is_empty() && sent.is_empty() {
        return Reply::say("No invite waits.").into();
    }
    let parts = [
        (
            "Received (join the portal to accept, reject or leave it to decline)",
            received,
        ),
        ("Sent", sent),
    ];
    let notice = |title: &str, lines: &[Reply]| {
        lines
            .iter()
            .fold(Reply::default().bold(title), |reply, line| {
                reply.line().and("• ").followed_by(line)
            })
    };
    Answer(
        parts
            .into_iter()
            .flat_map(|(title, lines)| {
                lines
                    .chunks(PER_NOTICE)
                    .map(move |lines| notice(title, lines))
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists() {
        let line = |text: &str| Reply::default().bold(text);
        let Answer(replies) = render(&[line("Tea <b>")], &vec![line("Amber Finch"); 31]);
        assert_eq!(replies.len(), 3);
        assert!(replies[0].plain().starts_with("Received (join"));
        assert!(replies[0].plain().ends_with("\n• Tea <b>"));
        assert!(
            replies[0]
                .html()
                .contains("• <strong>Tea &lt;b&gt;</strong>")
        );
        assert_eq!(replies[2].plain(), "Sent\n• Amber Finch");
        assert_eq!(render(&[], &[]).0[0].plain(), "No invite waits.");
    }
}
