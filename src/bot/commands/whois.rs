//! `whois`: who a mirror in the portal stands for, and whether a pseudonym is what it says.

use ruma::{OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    bot::{
        call::Call,
        command::{Command, Group, Needs, Place},
        parse,
        reply::{Answer, Reply, tidy},
        whom::user_in,
    },
    homeserver::Class,
    portal::{Deps, PortalError},
    pseudonym::{Mapping, MappingError, SignatureFault, Signer},
    sealed::KeyDocument,
    store::{Direction, Mirror, Portal},
};

pub const COMMAND: Command = Command {
    name: "whois",
    aliases: &[],
    group: Group::Other,
    usage: "[MEMBER]",
    summary: "who somebody in a portal is in the room",
    help: "Reply with `% whois` to what somebody said, or mention them: `% whois @somebody`. I tell their Matrix ID and their name in the room and, if they are there behind a pseudonym, whether it is verified. Only you see the answer.",
    place: Place::Portal,
    needs: Needs::Joined,
    keywords: &[],
    always: false,
    run: |call| Box::pin(run(call)),
};

/// Whom the command means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    /// A member of the room.
    Member(OwnedUserId),
    /// The user themselves.
    Own,
    /// The portal's host.
    Host,
    /// Several mirrors have that name.
    Several(usize),
    /// Nobody here.
    Nobody,
    /// Nothing was said about it.
    Unsaid,
}

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let portal = call.portal()?;
    let mirrors = call.deps.store.mirrors(portal.id).await?;
    let text = parse::join(&parse::words(call.rest));
    let who = match named(portal, &mirrors, &call.invocation.mentions, &text) {
        Who::Unsaid => match &call.invocation.reply_to {
            Some(event) => match call.deps.store.link(portal.id, event).await? {
                Some(link) if link.direction == Direction::Inbound => Who::Member(link.sender),
                Some(_) => Who::Own,
                None => Who::Nobody,
            },
            None => Who::Unsaid,
        },
        who => who,
    };
    let reply = match who {
        Who::Member(member) => describe(call.deps, portal, &member).await?,
        Who::Own => Reply::say("That is you: in the room you are ")
            .bold(&portal.ghost.nick)
            .and(". ")
            .and(&format!("`{}` tells more.", call.typed("whoami"))),
        Who::Host => Reply::say("That is me: I keep this portal, and the room does not see me."),
        Who::Several(count) => Reply::say(&format!("{count} members have the name “"))
            .quote(&tidy(&text, 60))
            .and("”. Please mention the one you mean, or reply to what they said."),
        Who::Nobody => Reply::say(
            "I know nobody here by that. Reply to what somebody said, or mention them; who has not spoken yet has only their Matrix ID.",
        ),
        Who::Unsaid => Reply::say("Who? Reply with ")
            .code(&call.typed("whois"))
            .and(" to what somebody said, or write ")
            .code(&call.usage())
            .and("."),
    };
    Ok(reply.into())
}

/// Whom the words and mentions name: a Matrix ID before a mention, a mention before a name.
fn named(portal: &Portal, mirrors: &[Mirror], mentions: &[OwnedUserId], text: &str) -> Who {
    if let Some(user) = user_in(text) {
        return by_id(portal, mirrors, &user);
    }
    // A reply mentions who is replied to, and a mention of the user's own is none.
    let mut mentioned = mentions
        .iter()
        .map(|user| by_id(portal, mirrors, user))
        .filter(|who| *who != Who::Own);
    if let Some(who) = mentioned.next() {
        return who;
    }
    let name = text.trim().trim_start_matches('@').to_lowercase();
    if name.is_empty() {
        return Who::Unsaid;
    }
    let called = |mirror: &&Mirror| {
        mirror
            .name
            .as_ref()
            .is_some_and(|shown| shown.to_lowercase() == name)
    };
    let found: Vec<_> = mirrors.iter().filter(called).collect();
    match found[..] {
        [] if portal.ghost.nick.to_lowercase() == name => Who::Own,
        [] => Who::Nobody,
        [one] => Who::Member(one.member.clone()),
        _ => Who::Several(found.len()),
    }
}

fn by_id(portal: &Portal, mirrors: &[Mirror], user: &UserId) -> Who {
    if let Some(mirror) = mirrors.iter().find(|mirror| mirror.puppet.id == user) {
        return Who::Member(mirror.member.clone());
    }
    if user == portal.user || user == portal.ghost.id {
        Who::Own
    } else if user == portal.host.id {
        Who::Host
    } else {
        Who::Member(user.to_owned())
    }
}

/// What the room's state says of a member.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Member {
    membership: Option<String>,
    displayname: Option<String>,
    #[serde(rename = "org.matrix.msc4014.mxid_mapping")]
    mapping: Option<Value>,
}

async fn describe(deps: &Deps, portal: &Portal, user: &UserId) -> Result<Reply, PortalError> {
    let ghost = deps.ghost(portal);
    let state = deps
        .homeserver
        .state_event(&ghost, &portal.room, "m.room.member", user.as_str())
        .await;
    let content = match state {
        Err(error) if error.class() == Class::GiveUp => None,
        other => other?,
    };
    let Some(content) = content else {
        return Ok(Reply::default()
            .code(user.as_str())
            .and(" is not known in this room."));
    };
    let member: Member = serde_json::from_str(content.get()).unwrap_or_default();
    let name = member.displayname.map(|name| tidy(&name, 100));
    let mut reply = Reply::default();
    reply = match name.filter(|name| !name.is_empty()) {
        Some(name) => reply.bold(&name).and(" is ").code(user.as_str()),
        None => reply.code(user.as_str()).and(" has no name in this room"),
    };
    reply = reply.and(match member.membership.as_deref() {
        Some("join") => ".",
        Some("invite") => ", invited and not in the room yet.",
        Some("ban") => ", banned from the room.",
        Some("knock") => ", who asks to be let in.",
        _ => ", who is not in the room any more.",
    });
    let verdict = match (deps.namespace.sender_key(user), member.mapping) {
        (None, None) => return Ok(reply),
        (_, None) => "A pseudonym without a mapping: unverified.".to_owned(),
        (_, Some(mapping)) => verdict(deps, portal, user, &mapping).await?,
    };
    Ok(reply.line().quote(&verdict))
}

/// What the mapping of a pseudonym is worth.
async fn verdict(
    deps: &Deps,
    portal: &Portal,
    user: &UserId,
    mapping: &Value,
) -> Result<String, PortalError> {
    let server = user.server_name();
    let document = if server == deps.namespace.server() {
        Some(deps.keys.document().as_ref().clone())
    } else {
        // Nobody is asked here: that somebody looks is nobody's business.
        deps.peers.vouching(server).await?
    };
    let keys = document.as_ref().map(KeyDocument::mapping_keys);
    let prefix = document
        .as_ref()
        .map_or(&*deps.config.appservice.prefix, KeyDocument::prefix);
    let keys = keys.unwrap_or_default();
    let verdict = match Mapping::verify(mapping, user, &portal.room, prefix, &keys) {
        Ok(_) => format!(
            "A pseudonym, verified: it holds its key, and the Vizard of {server} answers for it in this room."
        ),
        Err(MappingError::Signature {
            signer: Signer::Server,
            fault: SignatureFault::UnknownKey,
        }) => format!(
            "A pseudonym, unverified: it holds its key, but the key of the Vizard of {server}, which should answer for it, is not known here."
        ),
        Err(error) => format!("A pseudonym, unverified: {error}."),
    };
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use ruma::{owned_room_id, owned_user_id};

    use super::*;
    use crate::store::{GhostRecord, PortalId, PortalState, Puppet, Shown};

    fn puppet(id: &str) -> Puppet {
        Puppet {
            id: OwnedUserId::try_from(id).unwrap(),
            device: None,
            former: None,
        }
    }

    fn mirror(id: &str, member: &str, name: &str) -> Mirror {
        Mirror {
            puppet: puppet(id),
            member: OwnedUserId::try_from(member).unwrap(),
            name: Some(name.to_owned()),
            avatar: None,
            joined: true,
            heard: 0,
        }
    }

    fn portal() -> Portal {
        Portal {
            id: PortalId([1; 16]),
            user: owned_user_id!("@alice:a"),
            room: owned_room_id!("!r:b"),
            via: Vec::new(),
            state: PortalState::Joined,
            ghost: GhostRecord {
                id: owned_user_id!("@_vizard_g:a"),
                seed: [0; 32].into(),
                device: None,
                former: None,
                nick: "Quiet Heron".to_owned(),
                ready: true,
            },
            host: puppet("@_vizard_p_h:a"),
            portal_room: None,
            creating_room: false,
            user_joined: true,
            shown: Shown::default(),
            created: 0,
            successor: None,
            joined_at: 0,
            floors: Vec::new(),
            received: None,
            called: Vec::new(),
            told_pins: false,
            told_unread: Vec::new(),
            forgetting: false,
            replaced: Vec::new(),
            moved: None,
        }
    }

    #[test]
    fn every_way_to_name_a_member() {
        let mirrors = [
            mirror("@_vizard_m_1:a", "@bob:b", "Bob"),
            mirror("@_vizard_m_2:a", "@carol:c", "Sam"),
            mirror("@_vizard_m_3:a", "@dave:d", "Sam"),
        ];
        let member = |id: &str| Who::Member(OwnedUserId::try_from(id).unwrap());
        for (mentions, text, expected) in [
            (&[][..], "", Who::Unsaid),
            (&[], "bob", member("@bob:b")),
            (&[], "@Bob", member("@bob:b")),
            (&[], "Sam", Who::Several(2)),
            (&[], "nobody", Who::Nobody),
            (&[], "quiet heron", Who::Own),
            (&[], "@_vizard_m_2:a", member("@carol:c")),
            (&[], "@carol:c", member("@carol:c")),
            (&[], "https://matrix.to/#/@_vizard_m_3:a", member("@dave:d")),
            (&[], "matrix:u/dave:d", member("@dave:d")),
            (&[], "https://matrix.to/#///x", Who::Nobody),
            (&[], "@_vizard_p_h:a", Who::Host),
            (&[], "@alice:a", Who::Own),
            (&["@_vizard_m_2:a"], "Sam", member("@carol:c")),
            (&["@_vizard_m_2:a"], "", member("@carol:c")),
            (&["@alice:a"], "", Who::Unsaid),
            (&["@_vizard_m_2:a"], "@bob:b", member("@bob:b")),
        ] {
            let mentions: Vec<_> = mentions
                .iter()
                .map(|id| OwnedUserId::try_from(*id).unwrap())
                .collect();
            let found = named(&portal(), &mirrors, &mentions, text);
            assert_eq!(found, expected, "{mentions:?} {text}");
        }
    }
}
