//! What an invited person reads before they answer. Clients show the name and the topic of a room to which one is invited, and the
//! reason of the invite; what is said inside can only be read by joining, which accepts. So all of it stands outside.

use ruma::UserId;

use crate::{
    clock::minute, pseudonym::SenderKeyId, rewrite::clean_name, store::Portal, store::Received,
};

/// The reason of the invite.
pub(super) fn reason(portal: &Portal, received: &Received, room: &str) -> String {
    let who = inviter(received);
    let address = received.address.as_deref().map(clean_name);
    let through = address.map_or(String::new(), |label| {
        format!(" through your contact address “{label}”")
    });
    format!(
        "{who} invites you to “{}”{through}. Join this private room to accept: you appear there as {}, and nobody there learns \
         who you are. Decline it to refuse: nobody there learns of that either. It is good until {}.",
        clean_name(room),
        portal.ghost.nick,
        minute(received.expires),
    )
}

/// The topic of the portal room, and what the host says in it.
pub(super) fn topic(portal: &Portal, received: &Received, room: &str) -> String {
    format!(
        "Invitation. {} (The inviter's ID is {}.)",
        reason(portal, received, room),
        received.inviter
    )
}

/// Who invites, and on whose word.
fn inviter(received: &Received) -> String {
    let id = &received.inviter;
    let name = received.inviter_name.as_deref().map(clean_name);
    let name = name.filter(|name| !name.is_empty());
    let server = id.server_name();
    match (name, received.vouched, SenderKeyId::of_ghost(id)) {
        (Some(name), true, Some(_)) => format!("“{name}”, a pseudonym on {server},"),
        (None, true, Some(_)) => format!("A pseudonym on {server}"),
        (Some(name), true, None) => {
            format!("“{name}” ({id}), for whose server the Vizard of {server} asked,")
        }
        (None, true, None) => format!("{id}, for whose server the Vizard of {server} asked,"),
        (Some(name), false, _) => format!("“{name}” ({id}), for whom no Vizard vouches,"),
        (None, false, _) => format!("{id}, for whom no Vizard vouches,"),
    }
}

/// Who asked, as far as the Matrix ID tells.
#[must_use]
pub fn whose(id: &UserId) -> String {
    match SenderKeyId::of_ghost(id) {
        Some(_) => format!("A pseudonym on {}", id.server_name()),
        None => format!("Somebody on {}", id.server_name()),
    }
}

#[cfg(test)]
mod tests {
    use ruma::owned_user_id;

    use super::*;

    #[test]
    fn an_invitation_says_what_has_to_be_known() {
        let portal = crate::portal::hidden::sample();
        let mut received = Received {
            inviter: owned_user_id!("@alice:a.example"),
            inviter_name: Some("Alice\n\u{202e}".to_owned()),
            vouched: true,
            address: Some("Blog".to_owned()),
            expires: 1_700_000_000_000,
            event: None,
        };
        let text = topic(&portal, &received, "Tea\nroom");
        for part in [
            "“Alice” (@alice:a.example), for whose server the Vizard of a.example asked, invites you to “Tea room”",
            "through your contact address “Blog”",
            "you appear there as Quiet Heron",
            "until 14 Nov 2023 22:13 UTC.",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        received.vouched = false;
        received.inviter_name = None;
        let text = reason(&portal, &received, "Tearoom");
        assert!(text.starts_with("@alice:a.example, for whom no Vizard vouches, invites"));
        let key = crate::pseudonym::SenderKey::from_seed(&[1; 32]).id();
        let ghost = format!("@_vizard_{}:a.example", key.to_localpart());
        received.inviter = UserId::parse(ghost).unwrap();
        received.vouched = true;
        received.inviter_name = Some("Amber Finch".to_owned());
        let text = reason(&portal, &received, "Tearoom");
        assert!(text.starts_with("“Amber Finch”, a pseudonym on a.example, invites you"));
        assert!(whose(&received.inviter).starts_with("A pseudonym on a.example"));
    }
}
