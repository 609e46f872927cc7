//! Why a room could not be joined, in words that say what to do next.

use ruma::{OwnedServerName, RoomId, RoomOrAliasId};

use super::{Deps, PortalError, ghost::existing, invited, join::Outcome};
use crate::{
    config::Denial,
    homeserver::Error,
    store::{JoinTask, Portal},
};

/// What a refusal comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Nobody answers.
    Away,
    /// Nobody knows such a room or alias.
    Unknown,
    /// The homeserver cannot take part in rooms of this version.
    Version,
    /// The ghost is banned.
    Banned,
    /// The room's access list names the server.
    ServerDenied,
    /// The room is for members of a space.
    Restricted,
    /// The room, or the homeserver, does not let the ghost in.
    Forbidden,
    /// Something else.
    Other,
}

impl Why {
    /// Homeservers have one error code for many refusals, and tell them apart in English.
    pub(super) fn of(error: &Error) -> Self {
        let Error::Refused {
            errcode, message, ..
        } = error
        else {
            return Self::Away;
        };
        let message = message.to_ascii_lowercase();
        match errcode.as_str() {
            "M_NOT_FOUND" | "M_UNKNOWN" => Self::Unknown,
            "M_INCOMPATIBLE_ROOM_VERSION" | "M_UNSUPPORTED_ROOM_VERSION" => Self::Version,
            "M_UNABLE_TO_AUTHORISE_JOIN" | "M_UNABLE_TO_GRANT_JOIN" => Self::Restricted,
            "M_FORBIDDEN" if message.contains("server is banned") => Self::ServerDenied,
            "M_FORBIDDEN" if message.contains("banned") => Self::Banned,
            "M_FORBIDDEN" if message.contains("required room") => Self::Restricted,
            "M_FORBIDDEN" => Self::Forbidden,
            _ => Self::Other,
        }
    }

    /// Whether the room is out of reach for everybody here, whoever asks: a pseudonym that was made for it is of no
    /// use. Whom the room itself refuses may be invited one day, under the name that the answer tells.
    pub(super) fn is_hopeless(self) -> bool {
        matches!(self, Self::Away | Self::Unknown | Self::Version)
    }
}

/// Explains why an invite cannot be accepted any more.
pub(super) fn gone(portal: &Portal, why: Why) -> String {
    let received = portal.received.as_ref();
    let server = received.map_or_else(
        || "the inviter's server".to_owned(),
        |received| received.inviter.server_name().to_string(),
    );
    let cause = match why {
        Why::Away => format!("The invite is gone, or {server} does not answer."),
        Why::Unknown | Why::Forbidden | Why::Restricted => {
            "The invite is gone: it was taken back, or it has expired.".to_owned()
        }
        Why::Banned => "The invite is gone: your pseudonym was banned from the room.".to_owned(),
        Why::ServerDenied => {
            "The invite is worth nothing: the room does not let your server in (its access list)."
                .to_owned()
        }
        Why::Version => {
            "The invite cannot be accepted: your homeserver does not support rooms of this version."
                .to_owned()
        }
        Why::Other => "The invite cannot be accepted: your homeserver refuses.".to_owned(),
    };
    format!(
        "{cause} You are not in the room, and this portal is closed. Who wants you there can invite you again."
    )
}

/// Explains a refused join to the user.
pub(super) async fn explain(
    deps: &Deps,
    task: &JoinTask,
    portal: Option<&Portal>,
    why: Why,
    error: &Error,
) -> String {
    let server = task
        .target
        .server_name()
        .or_else(|| task.via.first().map(|server| &**server))
        .map_or_else(|| "the room's server".to_owned(), ToString::to_string);
    match why {
        // Homeservers say the same about both.
        Why::Away if portal.is_some() => format!(
            "{server} does not answer, or does not know this room. Check the id, name another server that is in the room, or try again later."
        ),
        Why::Away => format!("{server} does not answer. Try the same command again later."),
        Why::Unknown if portal.is_none() => {
            format!("There is no such alias: {server} does not know it. Check the spelling.")
        }
        Why::Unknown if task.via.is_empty() => format!(
            "No server that knows this room was named. Give one after the room id (`{}`), or use a matrix.to link or an alias.",
            typed(deps, task, "join !id server.example")
        ),
        Why::Unknown => format!(
            "{server} does not know this room, or cannot be reached. Check the id, or name another server that is in the room."
        ),
        Why::Version => "This room's version is not supported by your homeserver.".to_owned(),
        Why::Banned => "Your pseudonym is banned from this room.".to_owned(),
        Why::ServerDenied => {
            "This room does not let your server in (its access list), whoever you are there."
                .to_owned()
        }
        Why::Restricted => RESTRICTED.to_owned(),
        Why::Forbidden => forbidden(deps, task, portal, error).await,
        Why::Other => format!(
            "Your homeserver refuses ({}). Ask its admin if this looks wrong.",
            error.errcode().unwrap_or("no reason given")
        ),
    }
}

const RESTRICTED: &str = "Only members of a space (or of another room) may join this room, and your pseudonym is not one: it is a different one in each room. Ask a member whether the room can be opened, or whether somebody can invite you.";

async fn forbidden(deps: &Deps, task: &JoinTask, portal: Option<&Portal>, error: &Error) -> String {
    let summary = deps
        .homeserver
        .summary(&deps.bot, &task.target, &task.via)
        .await
        .ok()
        .flatten();
    let rule = summary
        .as_ref()
        .and_then(|summary| summary.get("join_rule")?.as_str());
    let ghost = portal.map_or_else(String::new, |portal| portal.ghost.id.to_string());
    let target = named(task);
    let knock = typed(deps, task, &format!("knock {target}"));
    let join = typed(deps, task, &format!("join {target}"));
    let rejoin = typed(deps, task, &format!("rejoin {target}"));
    match rule {
        Some("public") if task.knock => {
            format!("This room is open, there is no need to knock: `{join}`")
        }
        Some("public") => match error {
            Error::Refused { message, .. } => format!("The room refuses: {message}"),
            _ => "The room refuses.".to_owned(),
        },
        _ if task.knock => format!(
            "This room does not take knocks. Ask a member to invite {ghost}, then say: `{rejoin}`"
        ),
        Some("knock" | "knock_restricted") => {
            format!("This room lets in whom its members accept. Ask with: `{knock}`")
        }
        Some("restricted") => RESTRICTED.to_owned(),
        _ => format!(
            "This room is not public. Ask a member to invite {ghost}, then say: `{rejoin}`\n(If the room takes knocks, try: `{knock}`)"
        ),
    }
}

/// The room as it can be typed again: an id of a new kind needs a server beside it.
fn named(task: &JoinTask) -> String {
    match task.via.first() {
        Some(via) if task.target.server_name().is_none() => format!("{} {via}", task.target),
        _ => task.target.to_string(),
    }
}

/// A command as it is typed where this one was.
pub(super) fn typed(deps: &Deps, task: &JoinTask, command: &str) -> String {
    match task.report.portal {
        Some(_) => format!("{} {command}", deps.config.portal.command_prefix),
        None => command.to_owned(),
    }
}

/// Whether the admin denies the room to which the target led.
pub(super) fn denied(deps: &Deps, room: &RoomId, via: &[OwnedServerName]) -> Option<&'static str> {
    match deps
        .config
        .access
        .denial(<&RoomOrAliasId>::from(room), via)?
    {
        Denial::Room => Some("The admin of this Vizard does not allow joining that room."),
        Denial::Server => {
            Some("The admin of this Vizard does not allow joining rooms of that server.")
        }
    }
}

/// An invite that was accepted ends with it: left as it is it would neither come to anything nor end.
pub(super) async fn deny(
    deps: &Deps,
    task: &mut JoinTask,
    room: &RoomId,
    text: &str,
) -> Result<Outcome, PortalError> {
    if let Some(id) = existing(deps, task, room).await? {
        let _alone = deps.portals.alone(id).await;
        let portal = deps.portals.get(id).await?;
        if portal.received.is_some() {
            return invited::refused(deps, task, &portal, text).await;
        }
    }
    deps.report(&mut task.report, "denied", text).await?;
    Ok(Outcome::Done)
}

/// The ghost left or was removed since it set out, and whoever did that has ended the join as well.
pub(super) async fn over(
    deps: &Deps,
    task: &mut JoinTask,
    portal: &Portal,
) -> Result<Outcome, PortalError> {
    if portal.received.is_some() {
        let text = "The invite is gone: you left, or it was taken back, before the room was entered. This portal is closed. Who wants you there can invite you again.";
        return invited::gone(deps, task, portal, text).await;
    }
    let text = format!(
        "This is over: {} left, or was removed, while I was asking. Ask again if you still want in.",
        portal.ghost.nick
    );
    deps.report_if_possible(&mut task.report, "over", &text)
        .await?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        for (errcode, message, expected) in [
            ("M_NOT_FOUND", "", Why::Unknown),
            ("M_UNKNOWN", "", Why::Unknown),
            (
                "M_FORBIDDEN",
                "Server is banned from room",
                Why::ServerDenied,
            ),
            ("M_FORBIDDEN", "You are banned from this room", Why::Banned),
            (
                "M_FORBIDDEN",
                "You are not invited to this room.",
                Why::Forbidden,
            ),
            (
                "M_FORBIDDEN",
                "You do not belong to any of the required rooms/spaces to join this room.",
                Why::Restricted,
            ),
            ("M_UNABLE_TO_GRANT_JOIN", "", Why::Restricted),
            ("M_INCOMPATIBLE_ROOM_VERSION", "", Why::Version),
            ("M_LIMIT", "", Why::Other),
        ] {
            let error = Error::Refused {
                status: 403,
                errcode: errcode.to_owned(),
                message: message.to_owned(),
            };
            assert_eq!(Why::of(&error), expected, "{errcode} {message}");
        }
        assert!(Why::of(&Error::Answer("nonsense")).is_hopeless());
        assert!(!Why::Forbidden.is_hopeless());
    }
}
