//! Where one homeserver and its Vizard live: a loopback address of their own, free ports, a directory.
//!
//! A site is reserved before anything is started, because Vizard's registration and the homeserver's
//! settings each name the other's address.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicU8, Ordering},
};

use anyhow::{Context as _, Result};

use super::scratch::Scratch;

/// Addresses and directory of one homeserver.
#[derive(Debug)]
pub struct Site {
    /// For people: `A`, `B`.
    pub label: String,
    /// The server name, which is the federation listener's address.
    pub server_name: String,
    /// The client API (plain HTTP).
    pub client: SocketAddr,
    /// The federation API (TLS).
    pub federation: SocketAddr,
    /// Where Vizard listens for this homeserver.
    pub vizard: SocketAddr,
    /// Where Vizard may serve metrics.
    pub metrics: SocketAddr,
    scratch: Scratch,
}

impl Site {
    /// Reserves addresses that nobody uses now and makes the directory.
    pub fn reserve(label: &str) -> Result<Self> {
        let address = own_address();
        // All are held until all are found, so they differ.
        let held = (0..4)
            .map(|_| TcpListener::bind((address, 0)))
            .collect::<Result<Vec<_>, _>>()
            .context("cannot find free ports on a loopback address")?;
        let port = |index: usize| held[index].local_addr();
        let federation = port(1)?;
        Ok(Self {
            label: label.to_owned(),
            server_name: federation.to_string(),
            client: port(0)?,
            federation,
            vizard: port(2)?,
            metrics: port(3)?,
            scratch: Scratch::new(label)?,
        })
    }

    /// The client API's base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.client)
    }

    /// A path in the site's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Keeps the directory beyond the end.
    pub fn keep(&self) {
        self.scratch.keep();
    }
}

/// A loopback address that follows from this process's id and a counter, so that processes do not meet.
/// Where only 127.0.0.1 is a loopback address (macOS), that one: the ports still differ.
fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let count = NEXT.fetch_add(1, Ordering::Relaxed) % 250;
    let address = Ipv4Addr::new(127, 16 + ((middle ^ high) & 0x7f), low, 1 + count);
    if TcpListener::bind((address, 0)).is_ok() {
        address.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    }
}
