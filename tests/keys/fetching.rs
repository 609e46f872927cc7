//! Asking one server for its document: what is taken, and with which reason all else is refused.

use std::time::{Duration, Instant};

use ruma::{OwnedServerName, server_name};
use vizard::peer::{FetchError, Fetcher, SERVER_KEYS, WELL_KNOWN};

use crate::site::{Answer, HERE, Shows, Site, THERE, authority};

const DOCUMENT: &[u8] = br#"{"anything": "at all"}"#;

fn fetcher() -> Fetcher {
    Fetcher::new(Some(authority()), true).unwrap()
}

/// What comes of asking a site that answers this.
async fn ask(answer: Answer) -> Result<Vec<u8>, FetchError> {
    let site = Site::new(answer);
    fetcher().document(&site.server(), None).await
}

fn holds_not() -> FetchError {
    FetchError::Unreachable("its certificate does not hold")
}

#[tokio::test]
async fn a_document_is_fetched_from_where_it_belongs() {
    let site = Site::new(Answer::Body(DOCUMENT.to_vec()));
    let fetcher = fetcher();
    assert_eq!(
        fetcher.document(&site.server(), None).await.unwrap(),
        DOCUMENT
    );
    let elsewhere = format!("https://{}/below/", site.address())
        .parse()
        .unwrap();
    let other = server_name!("b.example");
    assert_eq!(
        fetcher.document(other, Some(&elsewhere)).await.unwrap(),
        DOCUMENT
    );
    assert_eq!(
        site.paths(),
        [WELL_KNOWN.to_owned(), format!("/below{SERVER_KEYS}")]
    );
}

#[tokio::test]
async fn only_a_certificate_for_this_name_that_is_trusted_counts() {
    for (address, shows) in [
        (HERE, Shows::Expired),
        (HERE, Shows::Foreign),
        (THERE, Shows::Good),
    ] {
        let site = Site::at(address, shows, Answer::Body(DOCUMENT.to_vec()));
        let refused = fetcher().document(&site.server(), None).await;
        assert_eq!(refused, Err(holds_not()), "{address} {shows:?}");
        assert_eq!(site.paths(), Vec::<String>::new());
    }
    // The authority itself is trusted only where the admin named it.
    let site = Site::new(Answer::Body(DOCUMENT.to_vec()));
    let plain = Fetcher::new(None, true).unwrap();
    assert_eq!(plain.document(&site.server(), None).await, Err(holds_not()));
    assert!(matches!(
        Fetcher::new(Some("/nowhere/ca.pem".as_ref()), true),
        Err(FetchError::Broken("keys.ca_file cannot be read"))
    ));
}

#[tokio::test]
async fn private_addresses_are_not_asked() {
    let site = Site::new(Answer::Body(DOCUMENT.to_vec()));
    let strict = Fetcher::new(Some(authority()), false).unwrap();
    let port = site.address().port();
    for server in [
        format!("127.0.0.1:{port}"),
        // Names are looked up before anything is connected to.
        format!("localhost:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[::1]:{port}"),
        "10.1.2.3".to_owned(),
        "169.254.169.254".to_owned(),
    ] {
        let server: OwnedServerName = server.try_into().unwrap();
        let refused = strict.document(&server, None).await;
        assert_eq!(refused, Err(FetchError::Private), "{server}");
    }
    // Without TLS only where private addresses are allowed, whatever the address.
    for url in [
        format!("http://{}/", site.address()),
        "http://b.example/".to_owned(),
    ] {
        assert_eq!(strict.get(&url).await, Err(FetchError::Private), "{url}");
    }
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn redirects_are_few_and_go_where_one_may_ask() {
    for hops in 0..=2 {
        let answer = Answer::Round(hops, DOCUMENT.to_vec());
        assert_eq!(ask(answer).await.as_deref(), Ok(DOCUMENT), "{hops}");
    }
    let often = FetchError::Unreachable("it redirects too often");
    for hops in [3, 4, 100] {
        assert_eq!(
            ask(Answer::Round(hops, DOCUMENT.to_vec())).await,
            Err(often.clone()),
            "{hops}"
        );
    }
    let ftp = ask(Answer::To("ftp://127.0.0.1/".to_owned())).await;
    assert_eq!(ftp, Err(FetchError::Private));
    assert!(
        ask(Answer::To("file:///etc/passwd".to_owned()))
            .await
            .is_err()
    );
    // Somewhere without TLS, also where private addresses are allowed.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    plain.set_nonblocking(true).unwrap();
    let to = format!("http://{}/", plain.local_addr().unwrap());
    let bared = FetchError::Unreachable("it redirects to where there is no TLS");
    assert_eq!(ask(Answer::To(to)).await, Err(bared));
    assert!(plain.accept().is_err(), "nobody connected");
    // Each place on the way must prove its name.
    let foreign = Site::at(HERE, Shows::Foreign, Answer::Body(DOCUMENT.to_vec()));
    let to = format!("https://{}/", foreign.address());
    assert_eq!(ask(Answer::To(to)).await, Err(holds_not()));
}

#[tokio::test]
async fn answers_that_are_none() {
    for status in [201, 204, 304, 400, 401, 403, 404, 410] {
        let refused = ask(Answer::Status(status)).await.unwrap_err();
        let FetchError::None(found) = refused else {
            panic!("{status}: {refused}");
        };
        assert_eq!(found.as_u16(), status);
    }
    for status in [429, 500, 502, 503] {
        let fails = FetchError::Unreachable("its web server fails");
        assert_eq!(ask(Answer::Status(status)).await, Err(fails), "{status}");
    }
    let broke = FetchError::Unreachable("it broke off");
    assert_eq!(ask(Answer::Short).await, Err(broke));
    // Nobody listens.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server: OwnedServerName = gone.local_addr().unwrap().to_string().try_into().unwrap();
    drop(gone);
    let none = FetchError::Unreachable("no connection");
    assert_eq!(fetcher().document(&server, None).await, Err(none));
}

#[tokio::test]
async fn large_answers_are_not_read_to_their_end() {
    let most = 16 * 1024;
    assert_eq!(
        ask(Answer::Body(vec![b' '; most])).await.unwrap().len(),
        most
    );
    assert_eq!(
        ask(Answer::Body(vec![b' '; most + 1])).await,
        Err(FetchError::TooLarge)
    );
    let began = Instant::now();
    assert_eq!(ask(Answer::Endless).await, Err(FetchError::TooLarge));
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn slow_answers_are_not_waited_for() {
    let began = Instant::now();
    let long = FetchError::Unreachable("it takes too long");
    let (slow, silent) = tokio::join!(ask(Answer::Slow), ask(Answer::Silent));
    assert_eq!((slow, silent), (Err(long.clone()), Err(long)));
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(9) && took < Duration::from_secs(40),
        "{took:?}"
    );
}
