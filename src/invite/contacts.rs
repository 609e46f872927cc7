//! Contact addresses: who made which.

use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};

use crate::store::Note;

/// Whose a contact address is. Found by the address's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The owner.
    pub owner: OwnedUserId,
}

impl Note for Contact {
    const KIND: i64 = 6;
}
