//! Who a user is in one room: the sender key, the ghost whose Matrix ID is that key, its name, the signed
//! mapping in its join, and signatures on request.
//!
//! Pure: no async, no SQL, no HTTP. Called by `sealed`, `portal`, `relay`, `bot` and `cli`.

mod key;
mod mapping;
mod name;
mod namespace;
mod proof;
mod server_key;
pub(crate) mod signed;

pub use key::{SenderKey, SenderKeyId};
pub use mapping::{Mapping, MappingError, Signer};
pub use name::{MAX_NICK, NickError, clean_nick, nick_of};
pub use namespace::{Namespace, Role};
pub use proof::{ProofError, prove, verify_proof};
pub use server_key::{ServerKey, ServerKeyId};
pub use signed::{FieldFault, SignatureFault, SignersFault};
