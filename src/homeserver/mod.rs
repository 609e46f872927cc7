//! All Matrix HTTP: every request to the homeserver is made here, as a ghost, host, mirror or the bot.
//!
//! Requests name the acting user and, where it has one, its device, because Synapse keeps its
//! de-duplication of sends across restarts only for requests with a device. Only
//! [`Scrubbed`](crate::rewrite::Scrubbed)
//! content can be sent into a room. Failures that pass (network, 5xx, rate limits) are retried here a
//! bounded number of times and then classified as [`Error::Retry`]; nothing here decides to give up on a
//! message.

mod body;
mod error;
mod events;
mod keys;
mod lenient;
mod media;
mod request;
mod rooms;
mod server;
mod target;
#[cfg(test)]
mod tests;
mod users;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use ruma::{OwnedDeviceId, OwnedMxcUri, OwnedUserId, RoomId};
use serde_json::value::RawValue;

pub use error::{Class, Error};
pub use keys::{DeviceSync, ToDevice};

use self::target::Target;
use crate::{clock::Clock, rng::Rng};

/// An idle connection is closed by us, before the homeserver or a proxy does so under a request.
const POOL_IDLE: Duration = Duration::from_secs(50);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Who acts: a Matrix user of the namespace and its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The user.
    pub user: OwnedUserId,
    /// Its device; `None` only before it has one.
    pub device: Option<OwnedDeviceId>,
}

/// A client of one homeserver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Homeserver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    base: String,
    authorization: HeaderValue,
    timeout: Duration,
    join_timeout: Duration,
    tries: u32,
    clock: Clock,
    rng: Rng,
    /// Whether it gives application services no devices.
    deviceless: AtomicBool,
}

/// How a [`Homeserver`] is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base URL, without `/_matrix`.
    pub url: url::Url,
    /// The application service's token.
    pub as_token: crate::crypto::Secret<String>,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long one attempt to join a room, or to move media, may take.
    pub join_timeout: Duration,
    /// How often a request that may pass is tried before it is [`Error::Retry`] (1 = no retry).
    pub tries: u32,
}

/// A public profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The display name.
    pub displayname: Option<String>,
    /// The avatar.
    pub avatar_url: Option<OwnedMxcUri>,
}

/// A page of a room's history, newest first when walking backwards.
#[derive(Debug)]
pub struct Page {
    /// The events.
    pub chunk: Vec<Box<RawValue>>,
    /// Where the next page begins; `None` at the end.
    pub end: Option<String>,
}

/// Downloaded media.
#[derive(Debug)]
pub struct Media {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The content type that the server named.
    pub content_type: Option<String>,
}

/// What the homeserver says it can do.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    /// Supported specification versions.
    pub versions: Vec<String>,
    /// Unstable features and whether they are on.
    pub unstable_features: std::collections::BTreeMap<String, bool>,
}

impl Homeserver {
    /// A client. Makes no request yet.
    pub fn new(settings: Settings, clock: Clock, rng: Rng) -> Result<Self, Error> {
        let Settings {
            url,
            as_token,
            timeout,
            join_timeout,
            tries,
        } = settings;
        // Does nothing when a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .tcp_nodelay(true)
            .pool_idle_timeout(POOL_IDLE)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if url.scheme() == "http" {
            // Spares a homeserver next door the loading of the system's certificates.
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .build()
            .map_err(|_| Error::Answer("no TLS on this machine: are CA certificates installed?"))?;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", as_token.expose()))
            .map_err(|_| Error::Answer("as_token has characters that no token may have"))?;
        authorization.set_sensitive(true);
        Ok(Self(Arc::new(Inner {
            http,
            base: url.as_str().trim_end_matches('/').to_owned(),
            authorization,
            timeout,
            join_timeout,
            tries: tries.max(1),
            clock,
            rng,
            deviceless: AtomicBool::new(false),
        })))
    }

    /// From now on no device is made, deleted or named: this homeserver gives application services none. Whatever needs one
    /// cannot be had then, and who is named without is another sender to it, so this is for a homeserver on which there never
    /// was a device.
    pub fn do_without_devices(&self) {
        self.0.deviceless.store(true, Ordering::SeqCst);
    }

    fn is_deviceless(&self) -> bool {
        self.0.deviceless.load(Ordering::SeqCst)
    }

    fn at(&self, path: &'static str) -> Target {
        let target = Target::new(&self.0.base, path);
        if self.is_deviceless() {
            target.without_devices()
        } else {
            target
        }
    }

    fn room(&self, actor: &Actor, room: &RoomId, what: &'static str) -> Target {
        self.at("/_matrix/client/v3/rooms")
            .segment(room.as_str())
            .path(what)
            .actor(actor)
    }
}
