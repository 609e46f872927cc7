//! HTTP in: authentication as Synapse does it, faults, the log, and the answer.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Inner, Refused, Seen,
    faults::Fault,
    lock,
    routes::{self, Access, Route},
};

/// A request, taken apart.
pub(super) struct Req {
    /// The variable segments, decoded.
    pub args: Vec<String>,
    /// The path as it came, without the query.
    pub path: String,
    /// Who acts.
    pub user: String,
    /// As which device.
    pub device: Option<String>,
    pub content_type: String,
    pub body: Bytes,
    query: Vec<(String, String)>,
}

impl Req {
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body; an empty one is an empty object.
    pub(super) fn json(&self) -> Result<Value, Refused> {
        if self.body.is_empty() {
            return Ok(json!({}));
        }
        serde_json::from_slice(&self.body)
            .map_err(|_| Refused::new(400, "M_NOT_JSON", "Content not JSON."))
    }
}

/// What an endpoint answers.
pub(super) enum Answer {
    Json(Value),
    Status(u16, Value),
    File(Vec<u8>, String),
}

/// Serves until aborted.
pub(super) async fn serve(inner: Arc<Inner>, listener: tokio::net::TcpListener) {
    let router = Router::new().fallback(move |request: Request| handle(inner.clone(), request));
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    let _ = axum::serve(listener, router).await;
}

async fn handle(inner: Arc<Inner>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return broken();
    };
    let path = parts.uri.path();
    let segments: Vec<String> = path.split('/').skip(1).map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let route = routes::find(&parts.method, &segments);
    let pairs = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let header = |name: &str| {
        let value = parts.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let mut req = Req {
        args: route.args.clone(),
        path: path.to_owned(),
        user: String::new(),
        device: None,
        content_type: header("content-type").to_owned(),
        body,
        query: pairs.into_owned().collect(),
    };
    let fault = inner.fault(route.name, &route.args);
    inner.note(&route, &req, fault, || {
        format!("{} {}", parts.method, parts.uri)
    });
    let sends = matches!(route.name, "send" | "redact");
    let _sending = sends.then(|| inner.sending(req.query("user_id").unwrap_or_default()));
    match fault {
        Some(Fault::Limited(millis)) => {
            let body = json!({"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": millis});
            return respond(429, &body);
        }
        Some(Fault::Forbidden) => {
            let body = json!({"errcode": "M_FORBIDDEN", "error": "You aren't allowed to."});
            return respond(403, &body);
        }
        Some(Fault::Nonsense) => return respond(200, &json!(3)),
        Some(Fault::NotFound) => {
            let body = json!({"errcode": "M_NOT_FOUND", "error": "Not found."});
            return respond(404, &body);
        }
        Some(Fault::ErrorAway) => return respond(502, &json!({"errcode": "M_UNKNOWN"})),
        Some(Fault::ErrorBefore) => return respond(500, &json!({"errcode": "M_UNKNOWN"})),
        Some(Fault::DropBefore) => return broken(),
        Some(Fault::Delay(millis)) => {
            inner
                .config
                .clock
                .sleep(Duration::from_millis(millis))
                .await;
        }
        _ => {}
    }
    let result = match inner.authenticate(&route, &mut req, header("authorization")) {
        Ok(()) if inner.is_deactivated(&req.user) => Err(Refused::new(
            403,
            "M_USER_DEACTIVATED",
            "This account has been deactivated",
        )),
        Ok(()) if route.name == "ping" => inner.ping(&req).await,
        Ok(()) if route.name == "sync" => inner.sync(&req).await,
        Ok(()) => inner.change(|world| (route.handler)(world, &req)),
        Err(refused) => Err(refused),
    };
    match fault {
        Some(Fault::ErrorAfter) => return respond(502, &Value::Null),
        Some(Fault::DropAfter) => return broken(),
        _ => {}
    }
    match result {
        Ok(Answer::Json(body)) => respond(200, &body),
        Ok(Answer::Status(status, body)) => respond(status, &body),
        Ok(Answer::File(bytes, content_type)) => Response::builder()
            .header("content-type", content_type)
            .body(bytes.into())
            .unwrap(),
        // What is not the homeserver says no code.
        Err(refused) if refused.errcode.is_empty() => respond(refused.status, &Value::Null),
        Err(refused) => respond(
            refused.status,
            &json!({"errcode": refused.errcode, "error": refused.message}),
        ),
    }
}

impl Inner {
    fn note(&self, route: &Route, req: &Req, fault: Option<Fault>, line: impl Fn() -> String) {
        let mut log = lock(&self.log);
        *log.counts.entry(route.name).or_default() += 1;
        if self.config.record {
            log.seen.push(Seen {
                endpoint: route.name,
                line: line(),
                user: req.query("user_id").map(ToOwned::to_owned),
                device: req.query("device_id").map(ToOwned::to_owned),
                fault,
            });
        }
    }

    fn authenticate(&self, route: &Route, req: &mut Req, token: &str) -> Result<(), Refused> {
        if route.access == Access::Open {
            return Ok(());
        }
        match token.strip_prefix("Bearer ") {
            None => {
                return Err(Refused::new(401, "M_MISSING_TOKEN", "Missing access token"));
            }
            Some(token) if token != self.config.as_token => {
                return Err(Refused::new(
                    401,
                    "M_UNKNOWN_TOKEN",
                    "Invalid access token passed.",
                ));
            }
            Some(_) => {}
        }
        if route.access == Access::Service {
            return Ok(());
        }
        let user = req
            .query("user_id")
            .ok_or_else(|| Refused::forbidden("this kit does not act as the sender"))?
            .to_owned();
        let world = lock(&self.world);
        if !world.in_namespace(&user) {
            return Err(Refused::forbidden(
                "Application service cannot masquerade as this user",
            ));
        }
        let Some(account) = world.users.get(&user) else {
            return Err(Refused::forbidden(
                "Application service has not registered this user",
            ));
        };
        let device = req.query("device_id").map(ToOwned::to_owned);
        if let Some(device) = &device
            && !account.devices.contains(device)
        {
            return Err(Refused::new(
                400,
                "M_UNKNOWN_DEVICE",
                "Application service trying to use a device that doesn't exist",
            ));
        }
        req.user = user;
        req.device = device;
        Ok(())
    }

    /// Pings the application service; success ends the back-off.
    async fn ping(&self, req: &Req) -> Result<Answer, Refused> {
        if req.args[0] != self.config.appservice_id {
            return Err(Refused::forbidden("not this application service"));
        }
        let url = lock(&self.outbox).url.clone();
        let url = url.ok_or_else(|| Refused::new(400, "M_URL_NOT_SET", "no URL is set"))?;
        let asked = self
            .http
            .post(format!("{url}/_matrix/app/v1/ping"))
            .bearer_auth(&self.config.hs_token)
            .header("content-type", "application/json")
            .body(json!({ "transaction_id": req.json()?["transaction_id"] }).to_string())
            .send()
            .await;
        match asked {
            Err(_) => Err(Refused::new(502, "M_CONNECTION_FAILED", "")),
            Ok(answer) if answer.status() != 200 => Err(Refused::new(502, "M_BAD_STATUS", "")),
            Ok(_) => {
                if lock(&self.outbox).is_down() {
                    self.retry.notify_one();
                }
                Ok(Answer::Json(json!({ "duration_ms": 1 })))
            }
        }
    }
}

fn decode(segment: &str) -> String {
    // A form's decoder, but `+` stands for itself in a path.
    let pair = format!("k={}", segment.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
    decoded.map_or_else(String::new, |(_, value)| value.into_owned())
}

fn respond(status: u16, body: &Value) -> Response {
    let body = if body.is_null() {
        "<html>Bad Gateway</html>".to_owned()
    } else {
        body.to_string()
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

/// A body that fails makes the server close the connection before it has written anything.
fn broken() -> Response {
    let failure = Err::<Bytes, _>(std::io::Error::other("broken on purpose"));
    Response::new(Body::from_stream(futures_util::stream::iter([failure])))
}
