//! The page itself, on a phone-sized screen: a real browser, a real listener. Its pictures are left in `target/tmp`.

use std::{io::Read as _, net::TcpListener, path::Path, time::Duration};

use ruma::{room_id, user_id};
use serde_json::{Value, json};
use vizard::{
    clock::Clock,
    crypto::MasterKey,
    pseudonym::SenderKey,
    rng::Rng,
    sealed::{InviterKey, Kind, SealedAddress, Target, fingerprint, open},
};

use crate::{
    fake::{Config, Fake, Keys},
    service::{Ground, Service},
    testkit::{browser::Browser, scratch::Scratch},
};

const DAY: u64 = 24 * 60 * 60 * 1000;
/// A Vizard of b.example that listens.
struct World {
    service: Service,
    _fake: Fake,
    _runtime: tokio::runtime::Runtime,
    _scratch: Scratch,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let scratch = Scratch::new("browser").unwrap();
        let fake = runtime.block_on(Fake::start(Config {
            server: "b.example".into(),
            keys: Keys::Unused,
            ..Config::default()
        }));
        let mut ground = Ground {
            url: format!("sqlite:{}", scratch.path().join("db").display()),
            master: MasterKey::generate(&Rng::os()),
            // The browser's own.
            clock: Clock::system(),
            seed: 1,
            lives: 0,
        };
        let service = Service::start(&mut ground, &fake, |_| {});
        Self {
            service,
            _fake: fake,
            _runtime: runtime,
            _scratch: scratch,
        }
    }

    /// Whom an address names, and for how long.
    fn open(&self, text: &str) -> (Target, Kind, u64) {
        let address = SealedAddress::parse(text).unwrap();
        let keys = self.service.app.deps.keys.hpke();
        let anybody: InviterKey = SenderKey::generate(&Rng::os()).id().into();
        let opened = open(
            &address,
            address.server(),
            &keys,
            room_id!("!any:a.example"),
            &anybody,
        )
        .unwrap();
        (opened.target, opened.kind, opened.expires_ts)
    }
}

fn texts(value: &Value) -> Vec<&str> {
    let all = value.as_array().unwrap();
    all.iter()
        .map(|text| text.as_str().unwrap_or_default())
        .collect()
}

#[test]
fn somebody_seals_an_address_on_a_phone() {
    let world = World::new();
    let browser = Browser::shared().unwrap();
    let own = world.service.app.deps.keys.document();
    let now = Clock::system().now();
    let json = |document: &Value| json!({"status": 200, "contentType": "application/json", "body": document.to_string()});
    let with = |field: &str, value: Value| {
        let mut document = own.json().clone();
        document[field] = value;
        json(&document)
    };
    let answers = [
        (
            json!({"status": 503, "body": "{}"}),
            "does not answer with its keys (503)",
        ),
        (json(&json!({})), "did not answer with its keys"),
        (with("valid_until_ts", json!(now - 1)), "out of date"),
        (
            with("hpke_keys", json!({})),
            "no key that this page can seal to",
        ),
        (
            json!({"status": 200, "body": "<html>"}),
            "did not answer with its keys",
        ),
        (json!({"abort": true}), "cannot be reached"),
    ];
    let wrong = [
        ("@bob:c.example", "Only people of b.example"),
        ("b\u{f6}b", "It looks like @name:b.example"),
        ("@bob marley:b.example", "It looks like @name:b.example"),
    ];
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let job = json!({
        "url": format!("{}/seal", world.service.url),
        "elsewhere": format!("http://{}", elsewhere.local_addr().unwrap()),
        "insecure": "insecure.example",
        "pictures": Path::new(env!("CARGO_TARGET_TMPDIR")),
        "right": "@bob:b.example",
        "wrong": wrong.map(|(typed, _)| typed),
        "answers": answers.each_ref().map(|(answer, _)| answer),
    });
    let report = browser.run(include_str!("browser.mjs"), job).unwrap();
    let used = &report["used"];

    assert_eq!(used["status"], 200);
    assert_eq!(used["heading"], "Seal an address of b.example");
    for (said, (typed, expected)) in texts(&used["wrong"]).into_iter().zip(wrong) {
        assert!(said.contains(expected), "{typed}: {said}");
    }
    sealed(&world, used, now);
    let key = own.sealing_key(now).unwrap();
    let to = format!("{}, {}", key.name(), fingerprint(key.as_bytes()));
    assert_eq!((&used["sealedTo"], &used["key"]), (&json!(to), &json!(to)));
    let server_key = own.verify_keys()[0];
    let print = fingerprint(server_key.as_bytes());
    assert_eq!(used["serverKey"], format!("{}, {print}", server_key.name()));
    assert!(
        texts(&used["servers"])
            .iter()
            .all(|name| *name == "b.example")
    );
    assert_eq!(
        (&used["overflow"], &used["overflowNarrow"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(texts(&used["troubles"]), Vec::<&str>::new());
    asked_only(used, &world.service.url);

    let (target, _, expires) = world.open(report["keyboard"].as_str().unwrap());
    assert_eq!(target, Target::User(user_id!("@bob:b.example").to_owned()));
    assert!(expires.abs_diff(now + DAY) < DAY / 24);
    assert_eq!(report["oldWay"], json!({"says": "Copied", "same": true}));
    assert_eq!(report["noWay"]["says"], "Not copied: do it by hand");
    let insecure = report["insecure"].as_str().unwrap();
    assert!(insecure.contains("https://"), "{insecure}");
    refused(&report["injected"], &world.service.url);
    unasked(&elsewhere);
    for (said, (answer, expected)) in texts(&report["answers"]).into_iter().zip(&answers) {
        assert!(said.contains(expected), "{answer}: {said}");
    }
}

/// Nobody asked anything there.
fn unasked(elsewhere: &TcpListener) {
    // Some browsers connect ahead of what the policy then stops; nothing may be said.
    while let Ok((mut stream, _)) = elsewhere.accept() {
        let mut said = String::new();
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let _ = stream.read_to_string(&mut said);
        assert_eq!(said, "", "somebody was asked elsewhere");
    }
}

/// The page asked its own server alone, and of nobody.
fn asked_only(used: &Value, own: &str) {
    let address = used["address"].as_str().unwrap();
    let requests = texts(&used["requests"]);
    assert!(requests.len() > 3, "{requests:?}");
    for request in requests {
        let url = request.strip_prefix("GET ").expect(request);
        assert!(url.starts_with(&format!("{own}/seal")), "{url}");
        assert!(
            !url.contains("bob") && !url.contains(&address[20..40]),
            "{url}"
        );
    }
}

/// What came out opens to Bob, is in the clipboard, and in the picture.
fn sealed(world: &World, used: &Value, now: u64) {
    let address = used["address"].as_str().unwrap();
    let (target, kind, expires) = world.open(address);
    assert_eq!(target, Target::User(user_id!("@bob:b.example").to_owned()));
    assert_eq!(kind, Kind::Contact);
    let week = now + 7 * DAY;
    let slack = u64::try_from(Duration::from_mins(10).as_millis()).unwrap();
    assert!(expires.abs_diff(week) < slack);
    let again = used["again"].as_str().unwrap();
    assert_ne!(address, again);
    let (target, kind, expires) = world.open(again);
    assert_eq!(target, Target::User(user_id!("@bob:b.example").to_owned()));
    assert_eq!(kind, Kind::Contact);
    assert_eq!(used["until"], expires);
    for place in ["copied", "qr", "qrInTheDark", "qrNarrow"] {
        assert_eq!(used[place], again, "{place}");
    }
    assert_eq!(used["copySays"], "Copied");
    assert_eq!(used["errorGone"], true);
    assert_eq!(used["staleIsGone"], true);
}

/// Nothing that was put into the page ran, was shown, or asked anybody.
fn refused(injected: &Value, own: &str) {
    assert_eq!(injected["injected"], Value::Null);
    assert_eq!(injected["asked"], "refused");
    assert_eq!(injected["evaluated"], "refused");
    assert_eq!(injected["styled"], false);
    assert_eq!(injected["base"], format!("{own}/seal"));
    let broken = texts(&injected["broken"]);
    for directive in [
        "base-uri",
        "connect-src",
        "form-action",
        "frame-src",
        "img-src",
        "script-src-attr",
        "script-src-elem",
        "style-src-attr",
    ] {
        assert!(broken.contains(&directive), "{directive} in {broken:?}");
    }
}
