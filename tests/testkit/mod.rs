//! What tests, the demo and benchmarks share: real homeservers, real Vizards, ordinary users, and the
//! search for leaks.
//!
//! Each test crate and the demo takes it as `#[path = "../testkit/mod.rs"] mod testkit;`. Nothing here is
//! part of the product. Servers listen on loopback addresses of their own, so test processes run side by
//! side; whatever is started dies with the process that started it ([`process`]).

// Every crate that includes this file uses another part of it.
#![allow(dead_code, unused_imports)]
// A test that cannot go on panics; one contract for all of it is said once, here.
#![allow(missing_docs, clippy::missing_panics_doc)]

pub mod audit;
pub mod browser;
pub mod client;
pub mod content;
pub mod e2ee;
pub mod fake;
pub mod node;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod python;
pub mod scratch;
pub mod site;
pub mod synapse;
pub mod tls;
pub mod vizard;

/// An HTTP client for loopback: no proxy, and a time limit that outlives a long poll.
pub fn http() -> reqwest::Client {
    // Only the first call installs it; later ones report that one is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(std::time::Duration::from_mins(2))
        .build()
        .expect("an HTTP client without special settings can be built")
}
