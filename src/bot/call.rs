//! One command being carried out, and what all commands do with it.

use std::sync::Arc;

use ruma::{OwnedServerName, RoomId};

use super::{Invocation, command::Command, parse, stamp::Mark};
use crate::{
    portal::{Deps, PortalError},
    store::{Portal, Report, User},
};

/// What was asked for, or what to say instead.
#[derive(Debug)]
pub enum Asked<T> {
    /// It.
    Found(T),
    /// The answer that explains why not.
    Answered(super::reply::Reply),
}

/// A command, its giver, and what it is about.
#[derive(Debug)]
pub struct Call<'a> {
    /// What to work with.
    pub deps: &'a Deps,
    /// As it was given.
    pub invocation: &'a Invocation,
    /// Which it is.
    pub command: &'static Command,
    /// Who gave it.
    pub user: User,
    /// The pseudonym that it concerns, if it concerns one.
    pub portal: Option<Arc<Portal>>,
    /// What follows the command's name and the pseudonym.
    pub rest: &'a str,
}

impl Call<'_> {
    /// The first word, in lower case.
    pub fn first_word(&self) -> Option<String> {
        let words = parse::words(self.rest);
        words.first().map(|word| word.text.to_lowercase())
    }

    /// The portal that the table promised. The dispatcher never calls a command that needs one without it.
    pub fn portal(&self) -> Result<&Arc<Portal>, PortalError> {
        self.portal.as_ref().ok_or(PortalError::Gone)
    }

    /// A command as it is to be typed here.
    pub fn typed(&self, command: &str) -> String {
        match self.invocation.portal {
            Some(_) => format!("{} {command}", self.deps.config.portal.command_prefix),
            None => command.to_owned(),
        }
    }

    /// How to write this command here.
    pub fn usage(&self) -> String {
        let prefix = &self.deps.config.portal.command_prefix;
        let here = self.invocation.portal.map(|_| prefix.as_str());
        self.command.usage(here)
    }

    /// The event's mark on times.
    pub fn mark(&self) -> Mark {
        let event = self.invocation.event.as_bytes();
        Mark::new(&self.deps.store.derive("command", &[event]))
    }

    /// A report to whoever gave the command.
    pub fn new_report(&self) -> Report {
        Report {
            room: self.invocation.room.clone(),
            command: self.invocation.event.clone(),
            portal: self.invocation.portal,
            unasked: false,
            silent: false,
            message: None,
        }
    }

    /// A link to a portal room.
    pub fn link(&self, room: &RoomId) -> String {
        link(room, self.deps.namespace.server().to_owned())
    }
}

/// A link to a room that `server` knows.
pub fn link(room: &RoomId, server: OwnedServerName) -> String {
    room.matrix_to_uri_via([server]).to_string()
}

/// What to call a portal's room: its name, its alias or its id.
pub fn room_title(portal: &Portal) -> String {
    let shown = portal.shown.name.as_ref().or(portal.shown.alias.as_ref());
    super::reply::tidy(shown.map_or(portal.room.as_str(), String::as_str), 60)
}
