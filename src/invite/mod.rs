//! Sealed invites: invites of which only the invitee's own homeserver learns whom they are for.
//!
//! [`publish`] shows this Vizard's keys to others; [`post`] reads what other Vizards write. Who invites asks for a ghost ([`ask`], `exchange`);
//! who is asked answers ([`answer`]; `gate` says to how many), takes the invite in when it comes ([`arrive`]), and lets what was not accepted leave
//! ([`withdraw`]). [`contacts`] are the addresses that people make for themselves. `sealed` knows the shapes and the rules, `keys`
//! own keys and those of other Vizards. Called by `bot`, `worker` and `app`. Never looks at what is said in rooms: that is `relay`.

pub mod answer;
pub mod arrive;
pub mod ask;
pub mod contacts;
mod exchange;
pub mod facts;
mod gate;
pub mod post;
pub mod publish;
pub mod quota;
pub mod whisper;
pub mod withdraw;
mod words;
