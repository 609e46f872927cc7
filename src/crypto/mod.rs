//! Secrets and encryption at rest.
//!
//! [`MasterKey`] is the one secret an admin keeps (a file, mode 0600). It opens the keyring in the
//! database, whose [`DataKeys`] seal every sensitive column ([`Sealer`]), hash every look-up
//! ([`Lookup`]) and derive the transaction ids of sends. This module never touches the database.

mod keys;
mod lookup;
mod sealer;
mod secret;

pub use keys::{DataKeys, MasterKey, MasterKeyError};
pub use lookup::Lookup;
pub use sealer::{Column, OpenError, Sealer};
pub use secret::{Secret, Seed};
