//! `version`.

use crate::{
    bot::{
        call::Call,
        command::{Command, Group, Needs, Place},
        reply::{Answer, Reply},
    },
    portal::PortalError,
};

pub const COMMAND: Command = Command {
    name: "version",
    aliases: &["about"],
    group: Group::Other,
    usage: "",
    summary: "which Vizard this is",
    help: "Please name it when you report a problem.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: false,
    run: |call| Box::pin(async move { run(call) }),
};

#[expect(clippy::unnecessary_wraps, reason = "all commands have this form")]
fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    Ok(Reply::say(&format!(
        "Vizard {} on {}.",
        env!("CARGO_PKG_VERSION"),
        call.deps.namespace.server()
    ))
    .into())
}
