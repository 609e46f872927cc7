//! What a command began. A command may be handled twice, when Vizard stops before it has noted that it is done; what must not be made
//! twice (a request, a pseudonym for a new room) is therefore written down under the command, and found there the second time.

use ruma::EventId;
use serde::{Deserialize, Serialize};

use super::{Deps, PortalError};
use crate::{clock::UnixMillis, store::Note};

/// For so long a command is remembered. It is handled again at the next start, or never.
const KEPT: UnixMillis = 24 * 60 * 60 * 1000;

/// What a command began; nothing is left of it when it is over. Found by the command's event.
#[derive(Clone, Serialize, Deserialize)]
struct Begun {
    what: Option<String>,
}

impl Note for Begun {
    const KIND: i64 = 9;
}

impl Deps {
    /// What `command` began: `first`, if this is the first time, else what it was then; `None`: that is over.
    pub(crate) async fn once(
        &self,
        command: &EventId,
        first: String,
    ) -> Result<Option<String>, PortalError> {
        let (key, due) = (command.as_bytes(), Some(self.clock.now() + KEPT));
        let begun = Begun { what: Some(first) };
        if self.store.add_note(key, due, &begun).await? {
            return Ok(begun.what);
        }
        let begun: Option<Begun> = self.store.note(key).await?;
        Ok(begun.and_then(|begun| begun.what))
    }

    /// Whether what `command` began is over.
    pub(crate) async fn is_over(&self, command: &EventId) -> Result<bool, PortalError> {
        let begun: Option<Begun> = self.store.note(command.as_bytes()).await?;
        Ok(begun.is_some_and(|begun| begun.what.is_none()))
    }

    /// What `command` began is over, and is not begun again.
    pub(crate) async fn no_more(&self, command: &EventId) -> Result<(), PortalError> {
        let due = Some(self.clock.now() + KEPT);
        let over = Begun { what: None };
        self.store.set_note(command.as_bytes(), due, &over).await?;
        Ok(())
    }
}
