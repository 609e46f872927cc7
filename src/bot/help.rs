//! Help: the list of commands, one command in detail, and a hint when somebody mistypes.

use super::{
    command::{Command, Group},
    commands::{self, TABLE},
    reply::{Reply, tidy},
};
use crate::portal::Deps;

/// The list of commands as they are typed here: with `prefix` in a portal. Those of admins are for admins.
pub fn list(prefix: Option<&str>, admin: bool) -> Reply {
    let mut reply = Reply::default();
    for group in Group::ALL {
        let mut commands = TABLE
            .iter()
            .filter(|command| {
                command.group == group
                    && command.works_in(prefix.is_some())
                    && command.is_for(admin)
            })
            .peekable();
        if commands.peek().is_none() {
            continue;
        }
        reply = reply.bold(group.title()).line();
        for command in commands {
            reply = reply
                .code(&command.usage(prefix))
                .and(&format!(" – {}", command.summary))
                .line();
        }
    }
    reply.and(&match prefix {
        Some(prefix) => format!(
            "Here commands are about this portal. What does not begin with `{prefix}` goes to the room. `{prefix} help COMMAND` tells more."
        ),
        None => "WHICH is a number from `list`, a room or a nick. `help COMMAND` tells more.".to_owned(),
    })
}

/// One command in detail.
pub fn detail(command: &Command, prefix: &str) -> Reply {
    let mut reply = Reply::default().bold(command.name);
    reply = reply.and(&format!(" – {}", command.summary)).line();
    if command.works_in(false) {
        reply = reply
            .and("In our direct chat: ")
            .code(&command.usage(None))
            .line();
    }
    reply = reply
        .and("In a portal: ")
        .code(&command.usage(Some(prefix)))
        .line()
        .and(&command.help.replace('%', prefix));
    if command.needs.a_joined_one() {
        reply = reply.line().and("The pseudonym must be in its room.");
    }
    if !command.aliases.is_empty() {
        reply = reply
            .line()
            .and(&format!("Also: `{}`.", command.aliases.join("`, `")));
    }
    reply
}

/// The answer to what is no command.
pub fn unknown(deps: &Deps, name: &str, in_portal: bool, admin: bool) -> Reply {
    let prefix = &deps.config.portal.command_prefix;
    unknown_with(name, in_portal.then_some(prefix.as_str()), admin)
}

/// The answer to what is no command, where commands have this prefix.
pub fn unknown_with(name: &str, prefix: Option<&str>, admin: bool) -> Reply {
    let typed = |command: &str| match prefix {
        Some(prefix) => format!("{prefix} {command}"),
        None => command.to_owned(),
    };
    let help = typed("help");
    if name.is_empty() {
        return Reply::say(&format!("Yes? `{help}` lists what I can do."));
    }
    let reply = Reply::say("I do not know “").quote(&tidy(name, 30));
    match nearest(name, admin) {
        Some(command) => reply.and(&format!(
            "”. Did you mean `{}`? `{help}` lists all commands.",
            typed(command.name)
        )),
        None => reply.and(&format!("”. `{help}` lists what I can do.")),
    }
}

/// The command whose name (or alias) is nearest to a mistyped one, if any is near.
fn nearest(name: &str, admin: bool) -> Option<&'static Command> {
    let name: String = name.to_lowercase().chars().take(30).collect();
    let distance = |command: &Command| {
        std::iter::once(&command.name)
            .chain(command.aliases)
            // Everything is near a name of one letter.
            .filter(|known| known.len() > 2)
            .map(|known| strsim::damerau_levenshtein(known, &name))
            .min()
    };
    let near = if name.chars().count() <= 4 { 1 } else { 2 };
    TABLE
        .iter()
        .copied()
        .filter(|command| command.is_for(admin))
        .filter_map(|command| Some((distance(command)?, command)))
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, command)| command)
}

/// The reply to `help TOPIC`.
pub fn topic(name: &str, in_portal: bool, prefix: &str, admin: bool) -> Reply {
    match commands::find(name).filter(|command| command.is_for(admin)) {
        Some(command) => detail(command, prefix),
        None => unknown_with(name, in_portal.then_some(prefix), admin),
    }
}

/// The commands as a page of the documentation.
#[cfg(test)]
fn page(prefix: &str) -> String {
    use std::fmt::Write as _;

    let mut page = format!(
        "# Commands\n\n\
         Send these to the bot in a direct chat, or type them in a portal behind the prefix `{prefix}` (which the\n\
         administrator can change). In the direct chat, WHICH is a number from `list`, a room or a nick; in a\n\
         portal a command is about that portal. Words with spaces can stand in quotation marks.\n\n\
         This page is made from the table of commands; a test keeps the two in step.\n"
    );
    for group in Group::ALL {
        let _ = write!(page, "\n## {}\n", group.title());
        if group == Group::Admin {
            page.push_str("\nOnly those whom `access.admins` names have these, and `help` lists them to nobody else.\n");
        }
        for command in TABLE.iter().filter(|command| command.group == group) {
            let (first, rest) = command.summary.split_at(1);
            let summary = format!("{}{rest}.", first.to_uppercase());
            let _ = write!(page, "\n### {}\n\n{summary}\n\n", command.name);
            if command.works_in(false) {
                let _ = writeln!(page, "- direct chat: `{}`", command.usage(None));
            }
            let _ = writeln!(page, "- portal: `{}`", command.usage(Some(prefix)));
            if !command.aliases.is_empty() {
                let _ = writeln!(page, "- also: `{}`", command.aliases.join("`, `"));
            }
            let help = command.help.replace('%', prefix).replace('\n', "\n\n");
            let _ = write!(page, "\n{help}\n");
            if command.needs.a_joined_one() {
                page.push_str("\nThe pseudonym must be in its room.\n");
            }
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_is_in_step() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
        let page = page("!vizard");
        if std::env::var_os("VIZARD_WRITE_DOCS").is_some() {
            std::fs::write(path, &page).expect("docs can be written");
        }
        assert!(
            std::fs::read_to_string(path).is_ok_and(|text| text == page),
            "docs/commands.md is out of step: run this test with VIZARD_WRITE_DOCS=1"
        );
    }

    #[test]
    fn mistyped_names_are_recognised() {
        for (name, expected) in [
            ("jion", Some("join")),
            ("Joinn", Some("join")),
            ("leaev", Some("leave")),
            ("whoamii", Some("whoami")),
            ("halp", Some("help")),
            ("hi", None),
            ("🦀", None),
            ("", None),
            ("somethingelse", None),
        ] {
            let found = nearest(name, false).map(|command| command.name);
            assert_eq!(found, expected, "{name}");
        }
        assert!(nearest(&"join".repeat(10_000), false).is_none());
        let reply = unknown_with("jion\n<b>", Some("!vizard"), false);
        assert!(!reply.plain().contains('\n'));
        assert!(reply.html().contains("&lt;b&gt;"));
        assert!(unknown_with("jion", None, false).plain().contains("`join`"));
        assert!(unknown_with("", None, false).plain().contains("`help`"));
    }

    #[test]
    fn lists_what_works_here() {
        let direct = list(None, true);
        let portal = list(Some("!v"), true);
        for command in TABLE {
            assert_eq!(
                direct.plain().contains(&command.usage(None)),
                command.works_in(false),
                "{}",
                command.name
            );
            assert!(portal.plain().contains(&command.usage(Some("!v"))));
            assert!(!detail(command, "!v").plain().contains('%'));
        }
        assert!(
            topic("leave", false, "!v", false)
                .plain()
                .contains("!v leave")
        );
        assert!(
            topic("nonsense", true, "!v", false)
                .plain()
                .contains("!v help")
        );
    }

    #[test]
    fn what_admins_may_do_is_for_their_eyes() {
        for prefix in [None, Some("!v")] {
            let title = Group::Admin.title();
            assert!(
                list(prefix, true).plain().contains("keys [rotate")
                    && list(prefix, true).plain().contains(title)
            );
            assert!(
                !list(prefix, false).plain().contains("keys [rotate")
                    && !list(prefix, false).plain().contains(title)
            );
        }
        assert!(topic("keys", false, "!v", true).plain().contains("rotate"));
        assert_eq!(
            topic("keys", false, "!v", false),
            unknown_with("keys", None, false)
        );
        assert_eq!(
            nearest("kesy", true).map(|command| command.name),
            Some("keys")
        );
        assert!(nearest("kesy", false).is_none());
    }
}
