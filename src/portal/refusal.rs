//! Why a room could not be joined, in words that say what to do next.

use super::Deps;
use crate::{
    homeserver::Error,
    store::{JoinTask, Portal},
};

/// Explains a refused join to the user.
pub(super) async fn explain(
    deps: &Deps,
    task: &JoinTask,
    portal: Option<&Portal>,
    error: &Error,
) -> String {
    let server = task
        .target
        .server_name()
        .or_else(|| task.via.first().map(|server| &**server))
        .map_or_else(|| "the room's server".to_owned(), ToString::to_string);
    match error {
        Error::Retry { .. } => {
            format!("{server} does not answer. Nothing is lost: try the same command again later.")
        }
        Error::Refused { errcode, message, .. } => match errcode.as_str() {
            "M_NOT_FOUND" if portal.is_none() => {
                format!("There is no such alias: {server} does not know it. Check the spelling.")
            }
            "M_NOT_FOUND" | "M_UNKNOWN" if task.via.is_empty() => {
                "No server that knows this room was named. Give one after the room id (join !id server.example), or use a matrix.to link or an alias.".to_owned()
            }
            "M_NOT_FOUND" => format!("{server} does not know this room. Check the id, or name another server that is in it."),
            "M_INCOMPATIBLE_ROOM_VERSION" | "M_UNSUPPORTED_ROOM_VERSION" => {
                "This room's version is not supported by your homeserver.".to_owned()
            }
            "M_FORBIDDEN" => forbidden(deps, task, portal, message).await,
            "M_UNKNOWN" => format!("{server} cannot be reached, or does not let anybody in. Try again later, or name another server that is in the room."),
            _ => format!("Your homeserver refuses ({errcode}). Ask its admin if this looks wrong."),
        },
        Error::Answer(_) | Error::TooLarge { .. } => {
            format!("{server} gave an answer that makes no sense. Try again later.")
        }
    }
}

async fn forbidden(deps: &Deps, task: &JoinTask, portal: Option<&Portal>, message: &str) -> String {
    if message.to_ascii_lowercase().contains("ban") {
        return "Your pseudonym is banned from this room.".to_owned();
    }
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
    match rule {
        Some("knock" | "knock_restricted") => {
            format!("This room lets in whom its members accept. Ask with: knock {}", task.target)
        }
        Some("restricted") => {
            "Only members of this room's space can join it. Join the space first with a pseudonym that is meant for that whole community; it will link you within it.".to_owned()
        }
        _ if task.knock => "This room does not take knocks.".to_owned(),
        _ => format!(
            "This room is not public. Ask a member to invite {ghost}, then say: rejoin {}\n(If the room accepts knocks, try: knock {})",
            task.target, task.target
        ),
    }
}
