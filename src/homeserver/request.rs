//! One request: tried, tried again while that may help, and classified.
//!
//! Called by the rest of this module alone. What passes (network failures, timeouts, 5xx, rate limits)
//! is tried [`Settings::tries`](super::Settings::tries) times with growing, jittered pauses; what does
//! not pass is returned at once. Reasons of [`Error::Retry`] are made of our own words, statuses and
//! error codes, so they can be logged.

use std::time::{Duration, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use ruma::OwnedUserId;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Actor, Error, Inner,
    body::{LONGEST_SILENCE, Payload, spooled},
    target::Target,
};
use crate::{
    clock::Clock,
    spool::{Spool, Spooled},
};

/// The first pause between tries; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// No pause of our own is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Asked to wait longer than this, the caller is told instead of kept.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// More of a refusal is not read.
const MAX_REFUSAL: usize = 64 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A request that can be made.
#[derive(Debug)]
pub(super) struct Call {
    endpoint: &'static str,
    method: Method,
    target: Target,
    body: Option<(HeaderValue, Payload)>,
    anonymous: bool,
    timeout: Option<Duration>,
    tries: Option<u32>,
    max: Option<usize>,
    spool: Option<(Spool, u64)>,
}

impl Call {
    fn new(endpoint: &'static str, method: Method, target: Target) -> Self {
        Self {
            endpoint,
            method,
            target,
            body: None,
            anonymous: false,
            timeout: None,
            tries: None,
            max: None,
            spool: None,
        }
    }

    /// A GET. `endpoint` is its name in the metrics.
    pub(super) fn get(endpoint: &'static str, target: Target) -> Self {
        Self::new(endpoint, Method::GET, target)
    }

    /// A PUT of JSON text.
    pub(super) fn put(endpoint: &'static str, target: Target, json: String) -> Self {
        Self::new(endpoint, Method::PUT, target).body(JSON, Payload::Bytes(json.into()))
    }

    /// A POST of JSON text.
    pub(super) fn post(endpoint: &'static str, target: Target, json: String) -> Self {
        Self::new(endpoint, Method::POST, target).body(JSON, Payload::Bytes(json.into()))
    }

    /// A DELETE with an empty object.
    pub(super) fn delete(endpoint: &'static str, target: Target) -> Self {
        let body = Payload::Bytes(Bytes::from_static(b"{}"));
        Self::new(endpoint, Method::DELETE, target).body(JSON, body)
    }

    /// Replaces the body.
    pub(super) fn body(mut self, content_type: HeaderValue, payload: Payload) -> Self {
        self.body = Some((content_type, payload));
        self
    }

    /// Without the application service's token.
    pub(super) fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Instead of the usual timeout.
    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// At most this many tries, whatever the settings say.
    pub(super) fn tries(mut self, tries: u32) -> Self {
        self.tries = Some(tries);
        self
    }

    /// Fails with [`Error::TooLarge`] when the answer's body is larger.
    pub(super) fn max(mut self, bytes: usize) -> Self {
        self.max = Some(bytes);
        self
    }

    /// Writes the answer's body away instead of holding it in memory. Fails with [`Error::TooLarge`] too.
    pub(super) fn spool(mut self, spool: Spool, max: u64) -> Self {
        self.spool = Some((spool, max));
        self
    }
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Its body, if it was asked to be written away.
    pub file: Option<Spooled>,
}

/// What an unsuccessful answer's body says, where it is JSON.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    errcode: String,
    error: String,
    retry_after_ms: Option<serde_json::Number>,
}

impl Inner {
    /// Makes a request and reads the JSON it is answered with.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let answer = self.call(call).await?;
        serde_json::from_slice(&answer.body).map_err(|_| Error::Answer("unexpected JSON"))
    }

    /// Makes a request of which only the success matters.
    pub(super) async fn done(&self, call: Call) -> Result<(), Error> {
        self.call(call).await.map(|_| ())
    }

    /// Makes a request.
    pub(super) async fn call(&self, mut call: Call) -> Result<Answer, Error> {
        let target = std::mem::replace(&mut call.target, Target::new("", ""));
        let Some(url) = target.finish() else {
            return Err(Error::Refused {
                status: 400,
                errcode: "M_INVALID_PARAM".to_owned(),
                message: "this identifier cannot stand in a URL".to_owned(),
            });
        };
        let most = call.tries.map_or(self.tries, |own| own.min(self.tries));
        let mut tried = 1;
        loop {
            let begun = self.clock.now();
            let (outcome, result) = match self.attempt(&call, url.clone()).await {
                Ok(answer) => ("ok", Ok(answer)),
                Err(failure) => (failure.outcome, Err(failure.error)),
            };
            metrics::counter!("vizard_homeserver_requests_total",
                "endpoint" => call.endpoint, "outcome" => outcome)
            .increment(1);
            metrics::histogram!("vizard_homeserver_request_seconds", "endpoint" => call.endpoint)
                .record(seconds(self.clock.now().saturating_sub(begun)));
            let Err(Error::Retry { after, .. }) = &result else {
                return result.map_err(|error| by_actor(error, &url));
            };
            if tried >= most || after.is_some_and(|after| after > LONGEST_WAIT) {
                return result;
            }
            let pause = self.pause(tried);
            self.clock
                .sleep(after.map_or(pause, |after| after.max(pause)))
                .await;
            tried += 1;
        }
    }

    /// The pause after try number `tried`: doubling, and between half and the whole of it at random, so
    /// that lanes that failed together do not return together.
    fn pause(&self, tried: u32) -> Duration {
        let whole = FIRST_PAUSE
            .saturating_mul(1 << tried.saturating_sub(1).min(10))
            .min(LONGEST_PAUSE);
        let half = whole / 2;
        half + Duration::from_millis(
            self.rng
                .below(u64::try_from(half.as_millis()).unwrap_or(u64::MAX) + 1),
        )
    }

    async fn attempt(&self, call: &Call, url: url::Url) -> Result<Answer, Failure> {
        let mut request = reqwest::Request::new(call.method.clone(), url);
        *request.timeout_mut() = Some(call.timeout.unwrap_or(self.timeout));
        if !call.anonymous {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, self.authorization.clone());
        }
        if let Some((content_type, body)) = &call.body {
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_TYPE, content_type.clone());
            headers.insert(header::CONTENT_LENGTH, body.length().into());
            *request.body_mut() = Some(body.clone().into());
        }
        let mut response = self.http.execute(request).await.map_err(network)?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let success = status.is_success();
        let mut file = None;
        let body = match (&call.spool, call.max) {
            (Some((spool, max)), _) if success => {
                file = Some(spooled(response, *max, spool, LONGEST_SILENCE).await?);
                Bytes::new()
            }
            (_, Some(max)) if success => limited(response, max).await?,
            // No refusal is long.
            _ if !success => limited(response, MAX_REFUSAL).await.unwrap_or_default(),
            _ => response.bytes().await.map_err(network)?,
        };
        if success {
            Ok(Answer {
                status,
                headers,
                body,
                file,
            })
        } else {
            Err(refused(status, &headers, &body, &self.clock))
        }
    }
}

/// An unknown device, named: the refusal alone does not say whose it is.
fn by_actor(error: Error, url: &url::Url) -> Error {
    if error.errcode() != Some("M_UNKNOWN_DEVICE") {
        return error;
    }
    let value = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value)
    };
    let user = value("user_id").and_then(|user| OwnedUserId::try_from(&*user).ok());
    match (user, value("device_id")) {
        (Some(user), Some(device)) => Error::UnknownDevice(Box::new(Actor {
            user,
            device: Some((&*device).into()),
        })),
        _ => error,
    }
}

/// A failed try, and its name in the metrics.
pub(super) struct Failure {
    pub(super) outcome: &'static str,
    pub(super) error: Error,
}

async fn limited(mut response: reqwest::Response, max: usize) -> Result<Bytes, Failure> {
    let too_large = || Failure {
        outcome: "too_large",
        error: Error::TooLarge { max: max as u64 },
    };
    let announced = response.content_length().unwrap_or(0);
    if usize::try_from(announced).map_or(true, |announced| announced > max) {
        return Err(too_large());
    }
    let mut body = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(network)? {
        if body.len() + chunk.len() > max {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The HTTP client's own texts carry the URL, and so identifiers: they are not used.
#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
pub(super) fn network(error: reqwest::Error) -> Failure {
    let (outcome, reason) = if error.is_timeout() {
        ("timeout", "no answer in time")
    } else if error.is_connect() {
        ("network", "cannot connect")
    } else {
        ("network", "the connection broke")
    };
    Failure {
        outcome,
        error: Error::Retry {
            reason: reason.to_owned(),
            after: None,
        },
    }
}

fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8], clock: &Clock) -> Failure {
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
    let known = !refusal.errcode.is_empty()
        && refusal.errcode.len() <= 64
        && refusal.errcode.bytes().all(|byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_.".contains(&byte)
        });
    let errcode = if known {
        refusal.errcode.as_str()
    } else {
        "M_UNKNOWN"
    };
    // What speaks no Matrix is not the homeserver: a proxy on the way, or a homeserver that is starting.
    let foreign = !known
        && matches!(
            status,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
        );
    let slow_down = status == StatusCode::TOO_MANY_REQUESTS || errcode == "M_LIMIT_EXCEEDED";
    if slow_down
        || foreign
        || status.is_redirection()
        || status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY)
    {
        let after = refusal
            .retry_after_ms
            .and_then(|millis| millis.as_u64())
            .map(Duration::from_millis)
            .or_else(|| retry_after(headers, clock));
        return Failure {
            outcome: if slow_down { "limited" } else { "unavailable" },
            error: Error::Retry {
                reason: format!("{} {errcode}", status.as_u16()),
                after,
            },
        };
    }
    let message = refusal.error;
    Failure {
        outcome: "refused",
        error: Error::Refused {
            status: status.as_u16(),
            errcode: errcode.to_owned(),
            message,
        },
    }
}

/// RFC 9110, 10.2.3: seconds or a date.
fn retry_after(headers: &HeaderMap, clock: &Clock) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = http_date(text)?;
    Some(Duration::from_secs(then.saturating_sub(clock.now() / 1000)))
}

/// An HTTP date, in Unix seconds.
pub(super) fn http_date(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text).ok()?;
    time.duration_since(UNIX_EPOCH)
        .ok()
        .map(|since| since.as_secs())
}

#[expect(clippy::cast_precision_loss, reason = "a duration for a graph")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}
