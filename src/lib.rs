//! Vizard lets people on a stock Matrix homeserver join any room behind a pseudonym that belongs to
//! that room alone.
//!
//! The modules form ranks, and imports only go downward (a test reads the `use` lines and fails on an
//! upward one). From the top: [`cli`] and [`app`] see everything; [`http`] and [`worker`] drive;
//! [`bot`] answers commands; [`relay`] carries messages; [`portal`] and [`e2ee`] know what a portal
//! and a device are, [`keys`] what this Vizard's own keys are; [`store`] and [`homeserver`] do all SQL and all Matrix HTTP, [`peer`]
//! asks other Vizards; [`pseudonym`], [`sealed`] and [`rewrite`] are pure; [`spool`] holds files; [`config`], [`telemetry`],
//! [`crypto`], [`clock`] and [`rng`] carry the rest.
//! `ARCHITECTURE.md` walks one message through them.

pub mod app;
pub mod bot;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod e2ee;
pub mod event;
pub mod homeserver;
pub mod http;
pub mod invite;
pub mod keys;
pub mod media;
pub mod peer;
pub mod portal;
pub mod pseudonym;
pub mod relay;
pub mod rewrite;
pub mod rng;
pub mod sealed;
pub mod spool;
pub mod store;
pub mod telemetry;
#[cfg(debug_assertions)]
#[doc(hidden)]
pub mod trap;
pub mod worker;
