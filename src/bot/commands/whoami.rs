//! `whoami`: who the user is in a room, and what others can tell.

use ruma::UserId;

use crate::{
    bot::{
        call::{Call, room_title},
        command::{Command, Group, Needs, Place},
        reply::{Answer, Reply},
    },
    portal::PortalError,
    pseudonym::SenderKeyId,
    store::User,
};

pub const COMMAND: Command = Command {
    name: "whoami",
    aliases: &["me", "who"],
    group: Group::Pseudonyms,
    usage: "",
    summary: "who you are in a room, and what others can tell",
    help: "Shows the pseudonym's name, its Matrix ID and the fingerprint of its key.",
    place: Place::Both,
    needs: Needs::MaybePseudonym,
    keywords: &[],
    always: true,
    run: |call| Box::pin(async move { run(call) }),
};

#[expect(clippy::unnecessary_wraps, reason = "all commands have this form")]
fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let Some(portal) = &call.portal else {
        return Ok(overview(&call.user).into());
    };
    let ghost = &portal.ghost;
    let key = call.deps.namespace.sender_key(&ghost.id);
    Ok(describe(&room_title(portal), &ghost.nick, &ghost.id, key).into())
}

fn overview(user: &User) -> Reply {
    let count = match user.pseudonyms.len() {
        0 => "no pseudonym yet. `join #room:server` makes one.".to_owned(),
        1 => "one pseudonym. `list` shows it, `whoami 1` tells more.".to_owned(),
        many => format!("{many} pseudonyms. `list` shows them, `whoami 1` tells more about one."),
    };
    Reply::say("Here you are ")
        .quote(user.mxid.as_str())
        .and(&format!(", and you have {count}"))
}

fn describe(room: &str, nick: &str, ghost: &UserId, key: Option<SenderKeyId>) -> Reply {
    let mut reply = Reply::say("In ")
        .quote(room)
        .and(" you are ")
        .bold(nick)
        .and(".\nMatrix ID: ")
        .code(ghost.as_str());
    if let Some(key) = key {
        reply = reply
            .and("\nKey fingerprint: ")
            .code(&fingerprint(&key))
            .and(" (the Matrix ID is this key)");
    }
    reply.and(&format!(
        "\nOthers see this name, this ID, that it belongs to {}, and what you write and when. They do not see your account, your profile or your devices, nor which other pseudonyms are yours. How you write can still give you away.",
        ghost.server_name()
    ))
}

/// The key in groups of four characters, as clients show fingerprints.
fn fingerprint(key: &SenderKeyId) -> String {
    let key: Vec<char> = key.to_base64().chars().collect();
    let groups: Vec<String> = key.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;
    use crate::pseudonym::SenderKey;

    #[test]
    fn tells_who_one_is() {
        let key = SenderKey::from_seed(&[1; 32]).id();
        let reply = describe(
            "Knitting",
            "Quiet Heron",
            user_id!("@g:a.example"),
            Some(key),
        );
        for part in ["Knitting", "Quiet Heron", "@g:a.example", "a.example"] {
            assert!(reply.plain().contains(part));
        }
        let shown = fingerprint(&key);
        assert!(reply.plain().contains(&shown));
        assert_eq!(shown.replace(' ', ""), key.to_base64());
        assert_eq!(shown.split(' ').next().map(str::len), Some(4));
        let user = User::new(user_id!("@alice:a.example").to_owned());
        assert!(overview(&user).plain().contains("no pseudonym"));
    }
}
