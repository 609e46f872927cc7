//! What whoever invites reads: how it stands, why it did not work, and what to do next.

use ruma::{RoomId, ServerName, UserId};

use crate::{
    clock::UnixMillis,
    homeserver::Error,
    keys::Unknown,
    portal::{Deps, sent::in_words},
    store::InviteTask,
};

/// The inviting pseudonym is not in its room.
pub(super) const OUTSIDE: &str =
    "Your pseudonym is not in the room any more, so nobody was invited.";

/// It was there when it invited.
pub(super) fn invited_before(nick: &str) -> String {
    format!(
        "invited as {nick}. Your pseudonym is not in the room any more, so whether they come cannot be seen from here."
    )
}

/// The same of whoever was invited openly, perhaps by somebody else.
pub(super) const INVITED_BEFORE: &str = "Whom you named is invited by now, or in the room. Your pseudonym is not in the room any more, so whether they come cannot be seen from here.";

/// It is invited, which the homeserver did not say at once.
pub(super) fn invited(nick: &str) -> String {
    format!("invited as {nick}; if they come, you are told.")
}

/// The homeserver says neither that it did what it was asked to nor that it did not.
pub(super) const UNCLEAR: &str = "Your homeserver gave no clear answer, although it was asked several times: it may have invited them or not. If they come, you see it here. Look who is invited before you ask once more.";

/// Whom one sees in the room needs no invite.
pub(super) const IN_ROOM: &str = "They are in the room already.";

/// The homeserver did not do what it was asked to.
pub(super) const FAILED: &str = "Your homeserver did not do it, although it was asked several times. Try the same command again later; if it keeps failing, tell its admin.";

/// It is sealed, and on whose word.
pub(super) async fn asking(deps: &Deps, server: &ServerName) -> String {
    let pinned = deps.peers.pinned(server).await.ok().flatten();
    let word = match pinned {
        Some(peer) if !deps.peers.is_anchored(&peer) => {
            " (for its keys there is the word of homeservers alone)"
        }
        _ => "",
    };
    format!("sealed for {server}{word}; asking its Vizard…")
}

/// There are no keys of the invitee's server.
pub(super) fn no_keys(
    deps: &Deps,
    task: &InviteTask,
    server: &ServerName,
    error: &Unknown,
) -> String {
    if let Unknown::Busy = error {
        return format!("The keys of {server} were not looked for: {error}.");
    }
    format!(
        "There are no keys of {server} to seal to: {error}.{}",
        openly(deps, task)
    )
}

/// All of them have run out.
pub(super) fn no_sealing_key(server: &ServerName) -> String {
    format!(
        "The keys of {server} have run out, so nothing can be sealed to them. Its admin can make new ones; try again then."
    )
}

/// The other Vizard said no.
pub(super) fn refused(server: &ServerName) -> String {
    format!(
        "The Vizard of {server} refused the request. It does not say why; likely are: a sealed address that has expired or is damaged, one that was made for another room or for another inviter, or a clock that is wrong (on your server or there). Ask for a fresh address, made for this room."
    )
}

/// The other Vizard said nothing.
pub(super) fn silent(deps: &Deps, task: &InviteTask, server: &ServerName) -> String {
    format!(
        "The Vizard of {server} did not answer in {} s: it may be down, or not reachable for your homeserver. Nobody was invited. Try the same command again later.{}",
        deps.config.invites.timeout,
        openly(deps, task)
    )
}

/// That there is another way, for a price.
fn openly(deps: &Deps, task: &InviteTask) -> String {
    if task.portal.is_none() {
        return String::new();
    }
    let command = match task.report.portal {
        Some(_) => format!("{} invite", deps.config.portal.command_prefix),
        None => "invite WHICH".to_owned(),
    };
    format!(
        "\n`{command} @name:server --plain` invites openly instead: then both homeservers, and everybody in the room, see whom."
    )
}

/// The homeserver, or the room, does not let the ghost invite.
pub(super) fn forbidden(error: &Error) -> String {
    let Error::Refused {
        errcode, message, ..
    } = error
    else {
        return FAILED.to_owned();
    };
    let message = message.to_ascii_lowercase();
    match errcode.as_str() {
        "M_INCOMPATIBLE_ROOM_VERSION" | "M_UNSUPPORTED_ROOM_VERSION" => {
            "The other homeserver does not know rooms of this version, so nobody there can be invited."
        }
        "M_FORBIDDEN" if message.contains("banned") => {
            "The room does not let that user or server in: they are banned."
        }
        "M_FORBIDDEN" if message.contains("already in the room") => IN_ROOM,
        "M_FORBIDDEN" => {
            "Your pseudonym may not invite anybody here. Ask a moderator of the room to invite, or for the right to."
        }
        _ => {
            return format!(
                "The invite was refused ({errcode}). Ask your homeserver's admin if this looks wrong."
            );
        }
    }
    .to_owned()
}

/// The invite was sent as any client sends one.
pub(super) fn invited_openly(server: &ServerName) -> String {
    format!(
        "invited openly: your homeserver, {server} and everybody in the room can see whom, and that it was this pseudonym."
    )
}

/// Who is no pseudonym invites the ghost themselves.
pub(super) fn handed_over(ghost: &UserId, room: &RoomId, left: UnixMillis) -> String {
    format!(
        "Now invite `{ghost}` into `{room}`, from any client. The invite is good for {} from now. The room sees only this pseudonym, which comes if the one you mean accepts.",
        in_words(left)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals() {
        for (errcode, message, part) in [
            (
                "M_FORBIDDEN",
                "You don't have permission to invite users",
                "moderator",
            ),
            ("M_FORBIDDEN", "@x:y is banned from the room", "banned"),
            ("M_INCOMPATIBLE_ROOM_VERSION", "", "version"),
            ("M_LIMIT", "", "M_LIMIT"),
        ] {
            let error = Error::Refused {
                status: 403,
                errcode: errcode.to_owned(),
                message: message.to_owned(),
            };
            assert!(forbidden(&error).contains(part), "{errcode} {message}");
        }
        assert_eq!(forbidden(&Error::Answer("nonsense")), FAILED);
    }
}
