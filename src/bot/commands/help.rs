//! `help [COMMAND]`.

use crate::{
    bot::{
        access,
        call::Call,
        command::{Command, Group, Needs, Place},
        help,
        reply::Answer,
    },
    portal::PortalError,
};

pub const COMMAND: Command = Command {
    name: "help",
    aliases: &["h", "commands"],
    group: Group::Other,
    usage: "[COMMAND]",
    summary: "this list, or more about one command",
    help: "`help join`, for example, tells how rooms are named.",
    place: Place::Both,
    needs: Needs::Nothing,
    keywords: &[],
    always: true,
    run: |call| Box::pin(async move { run(call) }),
};

#[expect(clippy::unnecessary_wraps, reason = "all commands have this form")]
fn run(call: &Call<'_>) -> Result<Answer, PortalError> {
    let prefix = call.deps.config.portal.command_prefix.as_str();
    let in_portal = call.invocation.portal.is_some();
    let admin = access::is_admin(&call.deps.config.access, &call.user.mxid);
    Ok(match call.first_word() {
        Some(name) => help::topic(&name, in_portal, prefix, admin),
        None => help::list(in_portal.then_some(prefix), admin),
    }
    .into())
}
