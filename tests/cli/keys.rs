//! `keys` on the database of a stopped Vizard, and `seal` with keys that it fetches.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    sync::Arc,
};

use ruma::{OwnedServerName, server_name};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use vizard::{
    clock::Clock,
    crypto::MasterKey,
    keys::PinnedPeer,
    pseudonym::ServerKey,
    rng::Rng,
    sealed::{DocumentDraft, HpkeKey, KeyDocument, ListedKey, fingerprint},
    store::Store,
};

use crate::{
    Sandbox, closed_port, rotation,
    testkit::{python::Python, tls},
};

const DAY: u64 = 24 * 60 * 60 * 1000;

fn document(sandbox: &Sandbox) -> KeyDocument {
    let ran = sandbox.on_config(&["keys", "show", "--document"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    KeyDocument::parse(
        ran.out.as_bytes(),
        server_name!("a.example"),
        Clock::system().now(),
    )
    .unwrap()
}

/// A key document of a server; the fingerprint of its server key.
fn of(server: &str) -> (KeyDocument, String) {
    let rng = Rng::seeded(1);
    let (key, hpke) = (ServerKey::generate(&rng), HpkeKey::generate(&rng));
    let server = OwnedServerName::try_from(server).unwrap();
    let now = Clock::system().now();
    let document = DocumentDraft {
        server: &server,
        bot: &ruma::UserId::parse_with_server_name("vizard", &server).unwrap(),
        prefix: "_vizard_",
        sequence: 3,
        valid_until_ts: now + 7 * DAY,
        verify_keys: std::slice::from_ref(&key),
        old_verify_keys: &[],
        hpke_keys: &[ListedKey {
            key: hpke.public(),
            expires_ts: now + 30 * DAY,
        }],
    };
    let print = fingerprint(key.public().as_bytes());
    (document.sign(now).unwrap(), print)
}

#[test]
fn own_keys_are_shown_and_replaced() {
    let sandbox = rotation::used();
    let first = document(&sandbox);
    let key = first.verify_keys()[0];
    let shown = sandbox.on_config(&["keys", "show"]);
    assert_eq!(shown.status, 0, "{shown:?}");
    for part in [
        "a.example, document 1, good until",
        &key.name(),
        &key.to_base64(),
        &fingerprint(key.as_bytes()),
        "Nothing is pinned",
    ] {
        assert!(shown.out.contains(part), "{part} in {}", shown.out);
    }
    let ran = sandbox.on_config(&["keys", "rotate", "hpke"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.out.contains("published when Vizard starts"),
        "{}",
        ran.out
    );
    let second = document(&sandbox);
    assert_eq!(second.verify_keys(), first.verify_keys());
    assert_eq!((second.sequence(), second.hpke_keys().len()), (2, 2));
    assert_eq!(sandbox.on_config(&["keys", "rotate"]).status, 0);
    let third = document(&sandbox);
    assert_ne!(third.verify_keys(), first.verify_keys());
    assert!(third.signers().contains(&key));
    assert_eq!((third.sequence(), third.hpke_keys().len()), (3, 3));
    assert_eq!(sandbox.on_config(&["keys", "rotate", "all"]).status, 2);
}

#[tokio::test]
async fn a_peer_is_forgotten() {
    let sandbox = rotation::used();
    let ran = sandbox.on_config(&["keys", "accept", "b.example"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.out.contains("Nothing is pinned of b.example"),
        "{}",
        ran.out
    );

    let (document, print) = of("b.example");
    let url = format!("sqlite:{}", sandbox.path("v/vizard.db").display());
    let key = MasterKey::parse(&sandbox.read("v/master.key")).unwrap();
    let store = Store::open(&url, &key, Clock::system(), Rng::os())
        .await
        .unwrap();
    let now = Clock::system().now();
    let peer = PinnedPeer {
        unasked: false,
        server: server_name!("b.example").to_owned(),
        document: document.json().to_string(),
        since: now,
        fetched: now,
        anchored: true,
        only: None,
    };
    store.set_note(b"b.example", None, &peer).await.unwrap();
    store.close().await;

    let shown = sandbox.on_config(&["keys", "show"]);
    for part in ["b.example, document 3", &print, "over TLS"] {
        assert!(shown.out.contains(part), "{part} in {}", shown.out);
    }
    let ran = sandbox.on_config(&["keys", "accept", "B.example"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.out.contains("This is forgotten") && ran.out.contains(&print),
        "{}",
        ran.out
    );
    let shown = sandbox.on_config(&["keys", "show"]);
    assert!(shown.out.contains("Nothing is pinned"), "{}", shown.out);
    let wrong = sandbox.on_config(&["keys", "accept", "@b:b.example"]);
    assert_eq!(wrong.status, 2, "{wrong:?}");
    assert!(wrong.err.contains("not a server name"), "{}", wrong.err);
}

#[test]
fn while_vizard_runs_its_bot_is_to_be_asked() {
    let sandbox = Sandbox::initialised();
    let ran = sandbox.on_config(&["keys", "show"]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.err.contains("there is no database yet"), "{}", ran.err);
    assert!(!sandbox.path("v/vizard.db").exists());
    let child = rotation::start(&sandbox);
    for args in [&["show"][..], &["rotate"], &["accept", "b.example"]] {
        let ran = sandbox.on_config(&[&["keys"], args].concat());
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.err.contains("error: Vizard is running"), "{}", ran.err);
        assert!(
            ran.err.contains("help: stop it first; or") && ran.err.contains("`keys`"),
            "{}",
            ran.err
        );
    }
    assert_eq!(rotation::stop(child), Some(0));
}

/// Serves the key document of a server at a free port, until the test ends; over TLS if there is a configuration for it.
fn serve(tls: Option<Arc<ServerConfig>>, body: impl FnOnce(u16) -> String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = body(port);
    std::thread::spawn(move || {
        // Who does not like what it is answered with hangs up.
        for stream in listener.incoming().flatten() {
            let _ = match &tls {
                Some(config) => {
                    let connection = ServerConnection::new(config.clone()).unwrap();
                    answer(&mut StreamOwned::new(connection, stream), &body)
                }
                None => answer(&mut { stream }, &body),
            };
        }
    });
    port
}

fn answer(stream: &mut (impl Read + Write), body: &str) -> std::io::Result<()> {
    let mut request = [0; 2048];
    let read = stream.read(&mut request)?;
    let known = request[..read].starts_with(b"GET /.well-known/matrix/vizard ");
    let status = if known { "200 OK" } else { "404 Not Found" };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    stream.flush()
}

#[test]
fn seal_asks_the_invitees_server_over_tls() {
    let sandbox = Sandbox::new();
    let python = Python::shared().unwrap();
    tls::certificate(&python, Ipv4Addr::LOCALHOST.into(), sandbox.dir.path()).unwrap();
    let authority = tls::authority(&python).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = CertificateDer::from_pem_file(sandbox.path("tls.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(sandbox.path("tls.key")).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let json = |port| {
        let (document, _) = of(&format!("127.0.0.1:{port}"));
        document.json().to_string()
    };
    let port = serve(Some(Arc::new(config)), json);
    let bob = format!("@bob:127.0.0.1:{port}");
    let args = ["seal", &bob, "--private-addresses"];
    let ran = sandbox.run(&args);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(
        ran.err.contains("it could not be reached over TLS"),
        "{}",
        ran.err
    );
    let ran = sandbox.run(&[&args[..], &["--ca-file", authority.to_str().unwrap()]].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    let address = format!("vz1:127.0.0.1:{port}:");
    assert!(ran.out.starts_with(&address), "{}", ran.out);
    let from = format!("keys from https://127.0.0.1:{port}/.well-known/matrix/vizard: number 3");
    assert!(ran.err.contains(&from), "{}", ran.err);
}

#[test]
fn seal_fetches_keys() {
    let sandbox = Sandbox::new();
    let (document, print) = of("b.example");
    let port = serve(None, |_| document.json().to_string());
    let from = format!("http://127.0.0.1:{port}");
    let whole = format!("{from}/.well-known/matrix/vizard");
    for url in [&from, &whole] {
        let args = [
            "seal",
            "@bob:b.example",
            "--private-addresses",
            "--from",
            url,
        ];
        let ran = sandbox.run(&args);
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.out.starts_with("vz1:b.example:"), "{}", ran.out);
        let sealed_to = document.hpke_keys()[0].key;
        for part in [
            &*whole,
            "number 3, good until",
            &print,
            &fingerprint(sealed_to.as_bytes()),
        ] {
            assert!(ran.err.contains(part), "{part} in {}", ran.err);
        }
    }
    let elsewhere = format!("{from}/elsewhere");
    let nobody = format!("@bob:127.0.0.1:{}", closed_port());
    for (args, said) in [
        (
            &["@bob:b.example", "--from", &*from][..],
            "its address is not public",
        ),
        (
            &[
                "@bob:b.example",
                "--private-addresses",
                "--from",
                &elsewhere,
            ],
            "publishes no keys",
        ),
        (
            &["@bob:c.example", "--private-addresses", "--from", &from],
            "another server",
        ),
        (&["@bob:b.example", "--from", "b.example"], "is not a URL"),
        (
            &["@bob:b.example", "--from", "file:///etc/passwd"],
            "is not a URL",
        ),
        (
            &["@bob:b.example", "--from", &from, "--keys", "x"],
            "cannot be used with",
        ),
        (
            &["@bob:b.example", "--ca-file", "none.pem"],
            "--ca-file cannot be read",
        ),
        (&[&nobody], "its address is not public"),
        (
            &[&nobody, "--private-addresses"],
            "could not be reached over TLS",
        ),
    ] {
        let ran = sandbox.run(&[&["seal"], args].concat());
        assert_eq!(ran.status, 2, "{args:?}: {ran:?}");
        assert!(ran.err.contains(said), "{said:?} in {}", ran.err);
        assert_eq!(ran.out, "");
    }
}
