//! The sealing page: its bundle, its code beside the server's, and the page itself in a headless browser.

#[path = "../simulation/service.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod service;
#[path = "../testkit/mod.rs"]
mod testkit;

mod browser;
mod bundle;
mod cross;
mod files;
mod install;

use testkit::fake;
