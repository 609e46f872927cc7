//! The bounds of what is read and written. Everything here is in bytes unless it says otherwise.

/// Content longer than this is not even parsed. Homeservers refuse events above 65,536.
pub(super) const MAX_INPUT: usize = 128 * 1024;
/// The longest content that is sent, so that an event with its envelope stays below 65,536.
pub(super) const MAX_CONTENT: usize = 60_000;
/// How deep HTML may nest; deeper tags are dropped and their text kept. The Matrix specification says 100.
pub(super) const MAX_DEPTH: usize = 100;
/// The longest link that passes.
pub(super) const MAX_HREF: usize = 2048;
/// The longest reaction. The longest emoji sequences take about 35 bytes; some people react with words.
pub(super) const MAX_REACTION: usize = 100;
/// How many events, and how many users, are collected from one content.
pub(super) const MAX_REFERENCES: usize = 100;
/// How many people one message may mention.
pub(super) const MAX_MENTIONS: usize = 50;
/// The longest Matrix identifier (specification, appendices, "Common identifier format").
pub(super) const MAX_ID: usize = 255;
/// The longest display name, in characters.
pub(super) const MAX_NAME: usize = 100;
/// How many combining marks may follow one character in a name.
pub(super) const MAX_MARKS: usize = 4;
/// The longest event type that is shown to a person, in characters.
pub(super) const MAX_SHOWN_TYPE: usize = 60;
/// How many routing servers a link keeps.
pub(super) const MAX_VIA: usize = 5;
/// What the keys of an encrypted file and its thumbnail take in an event, twice over.
pub(super) const MAX_ENCRYPTION: usize = 4096;
/// How many heights the wave of a voice message has.
pub(super) const MAX_WAVEFORM: usize = 256;
