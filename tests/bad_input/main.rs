//! Bad input: whatever comes in is answered clearly, or skipped and counted; nothing crashes, and no lane is stuck, which
//! is to say that a normal message afterwards goes through, both ways.

#[path = "../testkit/fake/mod.rs"]
mod fake;
#[path = "../simulation/service.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod service;

mod commands;
mod door;
mod events;
mod files;
mod hints;
mod no_keys;
#[allow(dead_code, reason = "the tests of behaviour use more of it")]
mod world;
