//! `guard on|off`: whether outbound messages are searched for what names the user.

use crate::{
    bot::{
        call::Call,
        command::{Command, Group, Needs, Place},
        reply::{Answer, Reply},
    },
    portal::PortalError,
};

pub const COMMAND: Command = Command {
    name: "guard",
    aliases: &[],
    group: Group::Other,
    usage: "[on|off]",
    summary: "hold messages that would tell who you are, and ask",
    help: "A message that has your name or Matrix ID in it, or the name of another of your pseudonyms or rooms, is held back, and I ask whether it shall go out. The choice is for all your portals.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: false,
    run: |call| Box::pin(run(call)),
};

/// What the words ask for: on or off, or (`None`) how it stands.
fn choice(word: Option<&str>) -> Result<Option<bool>, ()> {
    match word {
        None => Ok(None),
        Some("on" | "yes" | "1") => Ok(Some(true)),
        Some("off" | "no" | "0") => Ok(Some(false)),
        Some(_) => Err(()),
    }
}

async fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let text = match choice(call.first_word().as_deref()) {
        Ok(None) if call.user.guard => format!(
            "The guard is on. `{}` switches it off.",
            call.typed("guard off")
        ),
        Ok(None) => format!(
            "The guard is off. `{}` switches it on.",
            call.typed("guard on")
        ),
        Ok(Some(on)) => {
            call.deps
                .store
                .update_user(&call.user.mxid, |user| user.guard = on)
                .await?;
            if on {
                "The guard is on: a message that would tell who you are waits until you decide."
            } else {
                "The guard is off: your messages go out even if they name you. Please mind what you write."
            }
            .to_owned()
        }
        Err(()) => format!(
            "Please write `{}` or `{}`.",
            call.typed("guard on"),
            call.typed("guard off")
        ),
    };
    Ok(Reply::say(&text).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices() {
        for (word, expected) in [
            (None, Ok(None)),
            (Some("on"), Ok(Some(true))),
            (Some("off"), Ok(Some(false))),
            (Some("maybe"), Err(())),
        ] {
            assert_eq!(choice(word), expected);
        }
    }
}
