//! Sealed invites: invites of which only the invitee's own homeserver learns whom they are for.
//!
//! [`publish`] shows this Vizard's keys to others. `sealed` knows the shapes and the rules, `keys` own keys and those of other
//! Vizards. Called by `bot`, `worker` and `app`. Never looks at what is said in rooms: that is `relay`.

pub mod publish;
