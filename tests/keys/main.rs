//! Key documents between servers: published over HTTP, fetched over TLS, compared with what the homeserver relays, pinned.

#[path = "../simulation/service.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod service;
#[path = "../testkit/mod.rs"]
mod testkit;

mod endpoints;
mod fetching;
mod instance;
mod peers;
mod site;

use testkit::fake;
