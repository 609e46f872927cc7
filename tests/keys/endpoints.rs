//! What the listener shows to anybody: keys, those of others, and the sealing page.

use serde_json::{Value, json};
use vizard::{
    clock::Clock,
    config::{Config as Settings, Peer},
    crypto::MasterKey,
    pseudonym::ServerKey,
    rng::Rng,
};

use crate::{
    fake::{Config, Fake},
    service::{Ground, Service},
    site::{Answer, Site, authority},
    testkit::scratch::Scratch,
};

const KEYS: &str = "/_vizard/v1/server_keys";
const PUBLIC: [&str; 3] = [KEYS, "/.well-known/matrix/vizard", "/seal/server_keys"];
const PAGE: [(&str, &str); 3] = [
    ("/seal", "text/html; charset=utf-8"),
    ("/seal/app.js", "text/javascript; charset=utf-8"),
    ("/seal/style.css", "text/css; charset=utf-8"),
];

/// A whole Vizard that listens.
struct World {
    service: Service,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    _fake: Fake,
    _scratch: Scratch,
}

impl World {
    fn new(server: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let scratch = Scratch::new("endpoints").unwrap();
        let fake = runtime.block_on(Fake::start(Config {
            server: server.to_owned(),
            ..Config::default()
        }));
        let mut ground = Ground {
            url: format!("sqlite:{}", scratch.path().join("db").display()),
            master: MasterKey::generate(&Rng::os()),
            clock: Clock::system(),
            seed: 1,
            lives: 0,
        };
        let service = Service::start(&mut ground, &fake, |config| {
            config.keys.ca_file = Some(authority().to_owned());
            config.keys.private_addresses = true;
            change(config);
        });
        Self {
            service,
            client: crate::testkit::http(),
            runtime,
            _fake: fake,
            _scratch: scratch,
        }
    }

    fn ask(&self, method: reqwest::Method, path: &str) -> Seen {
        let url = format!("{}{path}", self.service.url);
        self.runtime.block_on(async {
            let answer = self.client.request(method, url).send().await.unwrap();
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let body = answer.bytes().await.unwrap().to_vec();
            Seen {
                status,
                headers,
                body,
            }
        })
    }

    fn get(&self, path: &str) -> Seen {
        self.ask(reqwest::Method::GET, path)
    }
}

struct Seen {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    fn refused(&self) -> (u16, String) {
        let json = self.json();
        (
            self.status,
            json["errcode"].as_str().unwrap_or_default().to_owned(),
        )
    }
}

/// That anybody may read it, pages of other origins too, and nobody keeps it for long.
fn is_public(seen: &Seen) {
    assert_eq!(seen.status, 200);
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.header("access-control-allow-origin"), "*");
    assert_eq!(seen.header("cache-control"), "no-cache");
    assert_eq!(seen.header("x-content-type-options"), "nosniff");
}

#[test]
fn keys_are_shown_to_anybody() {
    let world = World::new("a.example", |_| {});
    let own = world.service.app.deps.keys.document();
    for path in PUBLIC {
        let seen = world.get(path);
        is_public(&seen);
        assert_eq!(&seen.json(), own.json());
    }
    let seen = world.get(&format!("{KEYS}/a.example"));
    is_public(&seen);
    assert_eq!(seen.json(), json!({ "document": own.json() }));
    // A rotation is seen at once.
    let keys = world.service.app.deps.keys.clone();
    assert!(
        world
            .service
            .ask(keys.rotate(vizard::keys::Rotate::All))
            .unwrap()
    );
    let (now, seen) = (keys.document(), world.get(KEYS));
    assert_eq!(
        (seen.json()["sequence"].as_u64(), &seen.json()),
        (Some(2), now.json())
    );

    for (path, status, errcode) in [
        ("b.example", 404, "M_NOT_FOUND"),
        ("127.0.0.1:8448", 404, "M_NOT_FOUND"),
        ("b%20example", 400, "M_INVALID_PARAM"),
        ("%00", 400, "M_INVALID_PARAM"),
        ("@bob:b.example", 400, "M_INVALID_PARAM"),
        ("b.example:port", 400, "M_INVALID_PARAM"),
        ("b.example/more", 404, "M_NOT_FOUND"),
        ("", 404, "M_NOT_FOUND"),
    ] {
        let seen = world.get(&format!("{KEYS}/{path}"));
        assert_eq!(seen.refused(), (status, errcode.to_owned()), "{path}");
    }
    for path in PUBLIC.into_iter().chain(PAGE.map(|(path, _)| path)) {
        let seen = world.ask(reqwest::Method::POST, path);
        assert_eq!(seen.refused(), (405, "M_UNRECOGNIZED".to_owned()), "{path}");
    }
}

/// Two whole Vizards, and what one has pinned of the other, whose web server passes requests on. Only of those that the admin named
/// is anything shown: of others it would tell whom people here invite, and when.
#[test]
fn keys_of_another_that_is_named_are_shown_once_they_are_pinned() {
    let site = Site::new(Answer::Status(502));
    let server = site.server();
    let b = World::new(server.as_str(), |_| {});
    let behind = b.service.url.strip_prefix("http://").unwrap();
    site.set(Answer::Behind(behind.parse().unwrap()));
    let unnamed = World::new("c.example", |_| {});
    let a = World::new("a.example", |config| {
        config.peers.insert(server.clone(), Peer::default());
    });
    let path = format!("{KEYS}/{server}");
    let peers = unnamed.service.app.deps.peers.clone();
    assert!(unnamed.service.ask(peers.document(&server)).is_ok());
    assert_eq!(
        unnamed.get(&path).refused(),
        (404, "M_NOT_FOUND".to_owned())
    );
    assert_eq!(a.get(&path).status, 404);

    let peers = a.service.app.deps.peers.clone();
    let document = a.service.ask(peers.document(&server)).unwrap();
    assert_eq!(document, *b.service.app.deps.keys.document());
    let seen = a.get(&path);
    is_public(&seen);
    // And nothing of when it was needed.
    let expected = b.service.app.deps.keys.document().json().clone();
    assert_eq!(
        seen.json(),
        json!({ "document": expected, "anchored": true })
    );
    assert_eq!(site.paths(), ["/.well-known/matrix/vizard"; 2]);
    assert!(a.service.ask(peers.accept(&server)).unwrap());
    assert_eq!(a.get(&path).status, 404);
}

/// What the key in the configuration did not sign is not shown, and what it signed is anchored, wherever it was seen.
#[test]
fn what_the_configuration_does_not_let_count_is_not_shown() {
    let b = World::new("b.example", |_| {});
    let server: ruma::OwnedServerName = "b.example".try_into().unwrap();
    let document = b.service.app.deps.keys.document();
    let other = ServerKey::generate(&Rng::os()).public();
    for (key, anchored) in [(document.verify_keys()[0], true), (other, false)] {
        let key = key.to_base64();
        let a = World::new("a.example", |config| {
            let peer = Peer {
                server_key: Some(key),
                url: None,
            };
            config.peers.insert(server.clone(), peer);
        });
        let pinned = vizard::keys::PinnedPeer {
            server: server.clone(),
            document: document.json().to_string(),
            since: 0,
            fetched: 0,
            anchored: false,
            unasked: false,
            only: None,
        };
        let store = a.service.app.deps.store.clone();
        let noted = store.set_note(server.as_bytes(), None, &pinned);
        a.service.ask(noted).unwrap();
        let seen = a.get(&format!("{KEYS}/{server}"));
        assert_eq!(seen.status, if anchored { 200 } else { 404 });
        if anchored {
            let shown = json!({ "document": document.json(), "anchored": true });
            assert_eq!(seen.json(), shown);
        }
    }
}

#[test]
fn the_page_lets_nothing_in_and_nothing_out() {
    let world = World::new("a.example", |_| {});
    for (path, kind) in PAGE {
        let seen = world.get(path);
        assert_eq!(
            (seen.status, seen.header("content-type")),
            (200, kind),
            "{path}"
        );
        assert_eq!(seen.header("referrer-policy"), "no-referrer");
        assert_eq!(seen.header("x-content-type-options"), "nosniff");
        assert_eq!(seen.header("cache-control"), "no-cache");
        let policy: Vec<&str> = seen.header("content-security-policy").split("; ").collect();
        assert_eq!(
            policy,
            [
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
        );
        let head = world.ask(reqwest::Method::HEAD, path);
        assert_eq!(
            (head.status, head.header("content-type")),
            (200, kind),
            "{path}"
        );
        assert_eq!(head.header("content-length"), seen.body.len().to_string());
        assert!(head.body.is_empty());
        // Nothing is loaded from elsewhere, nor needs what the policy forbids.
        let text = String::from_utf8(seen.body).unwrap();
        if path != "/seal/app.js" {
            for part in [
                "http://", "https://", "//", "style=", "onclick", "@import", "url(",
            ] {
                assert!(!text.contains(part), "{part} in {path}");
            }
        }
    }
    for path in [
        "/seal/",
        "/seal/page.html",
        "/seal/sealing.mjs",
        "/seal/../Cargo.toml",
        "/seal/%2e%2e/x",
        "/seal/app.js/",
    ] {
        let seen = world.get(path);
        assert_eq!(seen.refused(), (404, "M_NOT_FOUND".to_owned()), "{path}");
    }
}

#[test]
fn without_invites_there_is_nothing_to_seal_to() {
    let world = World::new("a.example", |config| config.invites.enabled = false);
    let own = format!("{KEYS}/a.example");
    for path in PUBLIC
        .into_iter()
        .chain(PAGE.map(|(path, _)| path))
        .chain([own.as_str()])
    {
        let seen = world.get(path);
        assert_eq!(seen.refused(), (404, "M_NOT_FOUND".to_owned()), "{path}");
    }
    assert_eq!(world.get("/health/live").status, 200);
}
