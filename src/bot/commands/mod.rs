//! The commands, one file each, and their table.

mod address;
mod block;
mod cancel;
mod create;
mod follow;
mod forget;
mod guard;
mod help;
mod invite;
mod invites;
mod join;
mod keys;
mod knock;
mod leave;
mod list;
mod nick;
mod prove;
mod rejoin;
mod version;
mod whoami;
mod whois;

use super::command::Command;

/// All commands, in the order of `help`.
pub static TABLE: &[&Command] = &[
    &join::COMMAND,
    &knock::COMMAND,
    &leave::COMMAND,
    &rejoin::COMMAND,
    &follow::COMMAND,
    &cancel::COMMAND,
    &create::COMMAND,
    &list::COMMAND,
    &nick::COMMAND,
    &whoami::COMMAND,
    &prove::COMMAND,
    &forget::COMMAND,
    &invite::COMMAND,
    &invites::COMMAND,
    &address::COMMAND,
    &block::BLOCK,
    &block::UNBLOCK,
    &guard::COMMAND,
    &whois::COMMAND,
    &help::COMMAND,
    &version::COMMAND,
    &keys::COMMAND,
];

/// The command of a name or alias, in any case.
pub fn find(name: &str) -> Option<&'static Command> {
    let name = name.to_lowercase();
    TABLE
        .iter()
        .copied()
        .find(|command| command.answers_to(&name))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::bot::command::{Needs, Place};

    #[test]
    fn the_table_is_sound() {
        let mut names = HashSet::new();
        for command in TABLE {
            for name in std::iter::once(&command.name).chain(command.aliases) {
                assert!(names.insert(*name), "{name} stands there twice");
                assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{name}");
                assert_eq!(find(name).map(|found| found.name), Some(command.name));
                assert!(find(&name.to_uppercase()).is_some());
            }
            assert!(command.summary.len() < 80, "{}", command.name);
            assert!(!command.summary.ends_with('.'), "{}", command.name);
            assert!(command.help.ends_with('.'), "{}", command.name);
            assert!(
                command.keywords.is_empty() || command.needs == Needs::Pseudonym,
                "{}",
                command.name
            );
        }
        assert!(find("").is_none());
        assert!(find("nonsense").is_none());
        assert!(find("leave").is_some_and(|leave| leave.always));
        assert!(find("forget").is_some_and(|forget| forget.always));
    }

    #[test]
    fn usages() {
        for (name, direct, portal) in [
            ("join", "join ROOM [as NICK]", "!v join ROOM [as NICK]"),
            ("leave", "leave WHICH", "!v leave"),
            ("nick", "nick WHICH NAME", "!v nick NAME"),
            ("whoami", "whoami [WHICH]", "!v whoami"),
            ("prove", "prove WHICH TEXT", "!v prove TEXT"),
            ("help", "help [COMMAND]", "!v help [COMMAND]"),
            (
                "invite",
                "invite WHICH WHO [--plain]",
                "!v invite WHO [--plain]",
            ),
        ] {
            let command = find(name).expect(name);
            assert_eq!(command.usage(None), direct);
            assert_eq!(command.usage(Some("!v")), portal);
        }
        let whois = find("whois").expect("whois");
        assert_eq!(whois.place, Place::Portal);
        assert!(!whois.works_in(false));
    }
}
