//! What a command is: its name, its words of help, where it works and what it needs.

use futures_util::future::BoxFuture;

use super::{call::Call, reply::Answer};
use crate::portal::PortalError;

/// What a command does.
pub type Run = for<'a> fn(&'a Call<'a>) -> BoxFuture<'a, Result<Answer, PortalError>>;

/// A command. Each is declared in a file of its own and listed in [`super::commands::TABLE`].
#[derive(Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// Under which heading `help` lists it.
    pub group: Group,
    /// What follows the name (and, in the direct chat, the pseudonym), as `help` writes it.
    pub usage: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What `help COMMAND` adds. `%` stands for the prefix in portals.
    pub help: &'static str,
    /// Where it works.
    pub place: Place,
    /// What it works on.
    pub needs: Needs,
    /// Words that stand where a pseudonym is named and mean something else, such as `all`.
    pub keywords: &'static [&'static str],
    /// Whether those who have a pseudonym keep it when they may no longer use Vizard: nobody is locked into a
    /// room.
    pub always: bool,
    /// What it does.
    pub run: Run,
}

/// A heading of `help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Getting in and out of rooms.
    Rooms,
    /// Who one is there.
    Pseudonyms,
    /// Inviting, and being invited.
    Invites,
    /// The rest.
    Other,
    /// What admins alone may do; nobody else is told that it exists.
    Admin,
}

impl Group {
    /// All, in order.
    pub const ALL: [Self; 5] = [
        Self::Rooms,
        Self::Pseudonyms,
        Self::Invites,
        Self::Other,
        Self::Admin,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Rooms => "Rooms",
            Self::Pseudonyms => "Pseudonyms",
            Self::Invites => "Invites",
            Self::Other => "Other",
            Self::Admin => "For admins",
        }
    }
}

/// Where a command works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Only in portals.
    Portal,
    /// Everywhere.
    Both,
}

/// What a command works on. In a portal that is the portal's own pseudonym; in the direct chat the first words
/// name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// In a portal the portal's pseudonym, in the direct chat one if it is named.
    MaybePseudonym,
    /// A pseudonym.
    Pseudonym,
    /// A pseudonym that is in its room.
    Joined,
    /// The same, unless (in the direct chat) the words begin with a person: then they name no pseudonym.
    JoinedOrPerson,
}

impl Needs {
    /// Whether a pseudonym that is named must be in its room.
    pub fn a_joined_one(self) -> bool {
        matches!(self, Self::Joined | Self::JoinedOrPerson)
    }
}

impl Command {
    /// Whether a name is this command's.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    /// Whether somebody, who is an admin or not, may know of it.
    pub fn is_for(&self, admin: bool) -> bool {
        admin || self.group != Group::Admin
    }

    /// Whether it is offered in a portal (or else in the direct chat).
    pub fn works_in(&self, portal: bool) -> bool {
        portal || self.place == Place::Both
    }

    /// How to write it: with `prefix` in a portal, with a pseudonym in the direct chat.
    pub fn usage(&self, prefix: Option<&str>) -> String {
        let which = match self.needs {
            Needs::MaybePseudonym => "[WHICH]",
            Needs::Pseudonym | Needs::Joined | Needs::JoinedOrPerson => "WHICH",
            Needs::Nothing => "",
        };
        let words = match prefix {
            Some(prefix) => [prefix, self.name, "", self.usage],
            None => ["", self.name, which, self.usage],
        };
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        words.join(" ")
    }
}
