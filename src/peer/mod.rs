//! Asking another server for its Vizard's key document, over TLS and from that server itself.
//!
//! This is the only place that connects to anything but one's own homeserver, and where it connects to is named by
//! strangers: `guard` lets no address pass that is not public (unless the admin says so), and answers are small, few
//! and quick. What the document says is not looked at here: that is `sealed`. Called by `invite` and `cli`.

mod guard;

use std::{path::Path, time::Duration};

use futures_util::StreamExt as _;
use reqwest::{Certificate, Client, StatusCode, redirect};
use ruma::ServerName;
use url::Url;

use guard::{Guard, Resolver};

/// Where a server publishes the document of its Vizard.
pub const WELL_KNOWN: &str = "/.well-known/matrix/vizard";
/// Where Vizard itself serves it.
pub const SERVER_KEYS: &str = "/_vizard/v1/server_keys";

/// The largest document, in bytes.
const MOST: usize = 16 * 1024;
/// For the whole of it: names, connections, redirects, the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
const REDIRECTS: usize = 2;

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The server answers, and has none.
    #[error("it publishes no keys of a Vizard ({0})")]
    None(StatusCode),
    /// It did not answer, or not over TLS that proves its name.
    #[error("it could not be reached over TLS ({0})")]
    Unreachable(&'static str),
    /// It is at an address that is not public.
    #[error("its address is not public (keys.private_addresses allows such)")]
    Private,
    /// The answer is larger than a document may be.
    #[error("its answer is too large")]
    TooLarge,
    /// There is no way to ask at all.
    #[error("this machine cannot ask: {0}")]
    Broken(&'static str),
}

/// It leads from place to place.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("too many redirects")]
struct TooMany;

/// Fetches documents. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
    guard: Guard,
}

impl Fetcher {
    /// A fetcher that trusts the system's certificate authorities and those in `ca_file` (PEM).
    pub fn new(ca_file: Option<&Path>, private_addresses: bool) -> Result<Self, FetchError> {
        // Does nothing when a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let guard = Guard { private_addresses };
        let mut builder = Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(0)
            .dns_resolver(Resolver(guard))
            .redirect(redirect::Policy::custom(move |attempt| {
                let before = attempt.previous().last();
                if attempt.previous().len() > REDIRECTS {
                    attempt.error(TooMany)
                } else if before.is_some_and(|before| guard::is_bared(before, attempt.url())) {
                    attempt.error(guard::Bared)
                } else if guard.allows(attempt.url()) {
                    attempt.follow()
                } else {
                    attempt.error(guard::NotPublic)
                }
            }));
        if let Some(file) = ca_file {
            let pem = std::fs::read(file)
                .map_err(|_| FetchError::Broken("keys.ca_file cannot be read"))?;
            let certificates = Certificate::from_pem_bundle(&pem)
                .map_err(|_| FetchError::Broken("keys.ca_file holds no certificates"))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder
            .build()
            .map_err(|_| FetchError::Broken("no TLS: are CA certificates installed?"))?;
        Ok(Self { client, guard })
    }

    /// The document of a server, as it came: from `url` if the admin named one, else from its own name.
    pub async fn document(
        &self,
        server: &ServerName,
        url: Option<&Url>,
    ) -> Result<Vec<u8>, FetchError> {
        let url = match url {
            Some(base) => format!("{}{SERVER_KEYS}", base.as_str().trim_end_matches('/')),
            None => format!("https://{server}{WELL_KNOWN}"),
        };
        self.get(&url).await
    }

    /// What is at a URL, which is one of the two above or of the same kind.
    pub async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let url = Url::parse(url).map_err(|_| FetchError::Unreachable("not a URL"))?;
        if !self.guard.allows(&url) {
            return Err(FetchError::Private);
        }
        let answer = self
            .client
            .get(url)
            .send()
            .await
            .map_err(|error| why(&error))?;
        let status = answer.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(FetchError::Unreachable("its web server fails"));
        }
        if status != StatusCode::OK {
            return Err(FetchError::None(status));
        }
        let mut document = Vec::new();
        let mut body = answer.bytes_stream();
        while let Some(chunk) = body.next().await {
            document.extend_from_slice(&chunk.map_err(|error| why(&error))?);
            if document.len() > MOST {
                return Err(FetchError::TooLarge);
            }
        }
        Ok(document)
    }
}

/// An I/O error says what its own cause has for a cause, and leaves itself out.
fn is_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let within = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || within.is_some_and(|inner| is_of_tls(inner))
}

/// The reason in a word of ours: the error itself names the server.
fn why(error: &reqwest::Error) -> FetchError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<guard::NotPublic>().is_some() {
            return FetchError::Private;
        }
        if inner.downcast_ref::<guard::Bared>().is_some() {
            return FetchError::Unreachable("it redirects to where there is no TLS");
        }
        if inner.downcast_ref::<TooMany>().is_some() {
            return FetchError::Unreachable("it redirects too often");
        }
        if is_of_tls(inner) {
            return FetchError::Unreachable("its certificate does not hold");
        }
        cause = inner.source();
    }
    FetchError::Unreachable(match error {
        error if error.is_timeout() => "it takes too long",
        error if error.is_connect() => "no connection",
        _ => "it broke off",
    })
}
