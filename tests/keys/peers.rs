//! Which documents of another server are believed, for how long, and what ends it.

use std::time::Duration;

use assert_matches::assert_matches;
use serde_json::{Value, json};
use vizard::{
    config::{Anchor, Peer},
    keys::{PROFILE_FIELD, Rotate, Unknown, describe},
    peer::FetchError,
    pseudonym::ServerKeyId,
    sealed::{DocumentError, KeyDocument, Place, Refusal},
};

use crate::{
    fake::faults::Fault,
    instance::{Asking, DAY, HOUR, Published, pass},
    site::{Answer, Site},
};

/// Whether it is the error that was meant.
type Expected = fn(&DocumentError) -> bool;

fn body(document: &Value) -> Answer {
    Answer::Body(document.to_string().into_bytes())
}

/// b, at a site of its own, and a, who asks.
struct World {
    a: Asking,
    b: Published,
    site: Site,
}

impl World {
    async fn new() -> Self {
        Self::of(Asking::new().await).await
    }

    async fn of(a: Asking) -> Self {
        let site = Site::new(Answer::Status(404));
        let b = Published::new(site.server(), &a.clock).await;
        let world = Self { a, b, site };
        world.publish();
        world
    }

    fn publish(&self) {
        self.site.set(body(&self.b.json()));
    }

    async fn ask(&self) -> Result<KeyDocument, Unknown> {
        self.a.peers.document(&self.site.server()).await
    }

    /// Asks until the last answer is no longer taken for the next.
    async fn ask_anew(&self) -> Result<KeyDocument, Unknown> {
        pass(&self.a.clock, DAY + HOUR);
        self.ask().await
    }

    async fn refusal(&self) -> Refusal {
        match self.ask().await {
            Err(Unknown::Refused { refusal, .. }) => refusal,
            other => panic!("{other:?}"),
        }
    }

    async fn refusal_anew(&self) -> Refusal {
        pass(&self.a.clock, DAY + HOUR);
        self.refusal().await
    }

    fn asked(&self) -> usize {
        self.site.paths().len()
    }

    async fn pinned(&self) -> Option<vizard::keys::PinnedPeer> {
        self.a.peers.pinned(&self.site.server()).await.unwrap()
    }
}

#[tokio::test]
async fn a_document_is_pinned_and_not_fetched_again_for_a_day() {
    let world = World::new().await;
    let first = world.ask().await.unwrap();
    assert_eq!(first, *world.b.keys.document());
    let pinned = world.pinned().await.unwrap();
    assert!(pinned.anchored && pinned.document().unwrap() == first);
    for _ in 0..3 {
        assert_eq!(world.ask().await.unwrap(), first);
    }
    pass(&world.a.clock, 23 * HOUR);
    assert_eq!(world.ask().await.unwrap(), first);
    assert_eq!(world.asked(), 1);

    // New keys to seal to, then a new server key that the old one vouches for.
    for (what, asked) in [(Rotate::Hpke, 2), (Rotate::All, 3)] {
        assert!(world.b.keys.rotate(what).await.unwrap());
        world.publish();
        let next = world.ask_anew().await.unwrap();
        assert_eq!(next, *world.b.keys.document());
        assert_eq!((next.sequence(), world.asked()), (asked as u64, asked));
    }
    let now = world.pinned().await.unwrap();
    assert!(now.since == pinned.since && now.fetched > pinned.fetched && now.anchored);

    // One who is away is known until the document is no longer good.
    world.site.set(Answer::Status(502));
    let last = world.ask_anew().await.unwrap();
    assert_eq!(last, *world.b.keys.document());
    pass(&world.a.clock, 8 * DAY);
    assert_matches!(
        world.ask().await,
        Err(Unknown::Refused {
            refusal: Refusal::NotFound,
            tls: Some(FetchError::Unreachable("its web server fails"))
        })
    );
}

#[tokio::test]
async fn many_who_ask_at_once_are_one_who_asks() {
    let world = World::new().await;
    let all = (0..20).map(|_| world.ask());
    let all = futures_util::future::join_all(all).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(world.asked(), 1);
    // A failure is not tried again at once either.
    world.a.peers.accept(&world.site.server()).await.unwrap();
    world.site.set(Answer::Status(404));
    let all = futures_util::future::join_all((0..20).map(|_| world.ask())).await;
    assert!(all.iter().all(Result::is_err));
    assert_eq!(world.asked(), 2);
    pass(&world.a.clock, 59_000);
    assert!(world.ask().await.is_err());
    assert_eq!(world.asked(), 2);
    world.publish();
    pass(&world.a.clock, 2_000);
    assert!(world.ask().await.is_ok());
}

#[tokio::test]
async fn documents_that_are_not_sound_are_refused() {
    let metrics = vizard::telemetry::metrics();
    let world = World::new().await;
    let sound = world.b.json();
    let other = Published::new("b.example".try_into().unwrap(), &world.a.clock).await;
    let with = |field: &str, value: Value| {
        let mut document = sound.clone();
        document[field] = value;
        document
    };
    let rows: [(Answer, Expected); 6] = [
        (body(&with("sequence", json!(2))), |it| {
            matches!(it, DocumentError::Signature { .. })
        }),
        (
            body(&with("hpke_keys", other.json()["hpke_keys"].take())),
            |it| matches!(it, DocumentError::Signature { .. }),
        ),
        (body(&other.json()), |it| {
            matches!(it, DocumentError::OtherServer)
        }),
        (body(&json!({})), |it| matches!(it, DocumentError::Shape(_))),
        (Answer::Body(b"<html>".to_vec()), |it| {
            matches!(it, DocumentError::Shape(_))
        }),
        (Answer::Body(vec![b'['; 16 * 1024]), |it| {
            matches!(it, DocumentError::Shape(_))
        }),
    ];
    for (answer, expected) in rows {
        world.site.set(answer.clone());
        match world.refusal_anew().await {
            Refusal::Invalid {
                place: Place::Tls,
                error,
            } if expected(&error) => {}
            other => panic!("{answer:?}: {other:?}"),
        }
        assert_eq!(world.pinned().await, None);
    }
    // Signed, and of long ago.
    world.publish();
    pass(&world.a.clock, 7 * DAY);
    assert_matches!(
        world.refusal().await,
        Refusal::Invalid {
            place: Place::Tls,
            error: DocumentError::Expired
        }
    );
    world.site.set(Answer::Endless);
    pass(&world.a.clock, DAY);
    assert_matches!(
        world.ask().await,
        Err(Unknown::Refused {
            refusal: Refusal::NotFound,
            tls: Some(FetchError::TooLarge)
        })
    );
    counted(&metrics.render(), &["invalid", "not_found"]);
}

/// Each is counted for the admin.
fn counted(metrics: &str, names: &[&str]) {
    for why in names {
        let line = format!("vizard_peer_keys_refused_total{{why=\"{why}\"}}");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn going_back_and_other_keys_are_refused_until_an_admin_accepts() {
    let metrics = vizard::telemetry::metrics();
    let world = World::new().await;
    let server = world.site.server();
    let first = body(&world.b.json());
    assert!(world.b.keys.rotate(Rotate::Hpke).await.unwrap());
    world.publish();
    assert_eq!(world.ask().await.unwrap().sequence(), 2);

    world.site.set(first);
    let refusal = world.refusal_anew().await;
    assert_eq!(
        refusal,
        Refusal::RolledBack {
            pinned: 2,
            found: 1
        }
    );
    assert!(refusal.can_be_accepted());
    assert_eq!(
        world.pinned().await.unwrap().document().unwrap().sequence(),
        2
    );
    assert!(world.a.peers.accept(&server).await.unwrap());
    assert_eq!(world.ask().await.unwrap().sequence(), 1);

    // Somebody else under the same name: with the same number, then with higher ones.
    let other = Published::new(server.clone(), &world.a.clock).await;
    world.site.set(body(&other.json()));
    assert_eq!(world.refusal_anew().await, Refusal::Changed { sequence: 1 });
    for _ in 0..3 {
        assert!(other.keys.rotate(Rotate::All).await.unwrap());
        world.site.set(body(&other.json()));
        assert_eq!(world.refusal_anew().await, Refusal::KeyChanged);
    }
    assert!(world.a.peers.accept(&server).await.unwrap());
    let accepted = world.ask().await.unwrap();
    assert_eq!(
        (accepted.sequence(), accepted),
        (4, (*other.keys.document()).clone())
    );
    assert!(world.pinned().await.unwrap().anchored);

    // And then the first one is the stranger.
    world.publish();
    assert_eq!(
        world.refusal_anew().await,
        Refusal::RolledBack {
            pinned: 4,
            found: 2
        }
    );
    assert!(world.a.peers.accept(&server).await.unwrap());
    assert!(!world.a.peers.accept(&server).await.unwrap());
    counted(
        &metrics.render(),
        &["rolled_back", "changed", "key_changed"],
    );
}

#[tokio::test]
async fn private_addresses_are_not_asked() {
    let a = Asking::with(|config| config.keys.private_addresses = false).await;
    let world = World::of(a).await;
    let refused = world.ask().await.unwrap_err();
    assert_matches!(
        refused,
        Unknown::Refused {
            refusal: Refusal::NotFound,
            tls: Some(FetchError::Private)
        }
    );
    assert!(
        refused.to_string().contains("keys.private_addresses"),
        "{refused}"
    );
    assert_eq!(world.site.connections(), 0);
}

/// A homeserver that puts keys of its own into the profile that it relays.
#[tokio::test]
async fn a_homeserver_in_the_middle() {
    let metrics = vizard::telemetry::metrics();
    let world = World::new().await;
    let server = world.site.server();
    let middle = Published::new(server.clone(), &world.a.clock).await;
    let trusting = Asking::with(|config| config.keys.anchor = Anchor::Federation).await;

    // Both places, and they differ: with the same number, and with a higher one.
    world.a.relays(&server, &middle.json());
    assert_eq!(world.refusal().await, Refusal::PlacesDiffer);
    assert!(middle.keys.rotate(Rotate::All).await.unwrap());
    world.a.relays(&server, &middle.json());
    assert_eq!(world.refusal_anew().await, Refusal::PlacesDiffer);
    assert_eq!(world.pinned().await, None);
    // Whoever relies on homeservers is not fooled by one that can be seen through either.
    trusting.relays(&server, &middle.json());
    let differ = |it: &Unknown| {
        matches!(
            it,
            Unknown::Refused {
                refusal: Refusal::PlacesDiffer,
                ..
            }
        )
    };
    let refused = trusting.peers.document(&server).await.unwrap_err();
    assert!(differ(&refused), "{refused}");
    // What it puts there is no document: not passed over either.
    world.a.relays(&server, &json!({"type": "server_keys"}));
    assert_matches!(
        world.refusal_anew().await,
        Refusal::Invalid {
            place: Place::Federation,
            ..
        }
    );

    // It alone: refused, unless the admin relies on homeservers.
    world.site.set(Answer::Status(404));
    world.a.relays(&server, &middle.json());
    assert_eq!(world.refusal_anew().await, Refusal::NotAnchored);
    pass(&trusting.clock, HOUR);
    let believed = trusting.peers.document(&server).await.unwrap();
    assert_eq!(believed, *middle.keys.document());
    let pinned = trusting.peers.pinned(&server).await.unwrap().unwrap();
    assert!(!pinned.anchored);
    // When TLS is back, what the homeserver made up does not hold.
    world.publish();
    pass(&trusting.clock, DAY + HOUR);
    let refused = trusting.peers.document(&server).await.unwrap_err();
    assert!(differ(&refused), "{refused}");
    counted(
        &metrics.render(),
        &["places_differ", "invalid", "not_anchored"],
    );
}

#[tokio::test]
async fn a_key_written_by_hand_decides() {
    let site = Site::new(Answer::Status(404));
    let server = site.server();
    let clock = vizard::clock::Clock::mock(crate::instance::START);
    let (b, middle) = (
        Published::new(server.clone(), &clock).await,
        Published::new(server.clone(), &clock).await,
    );
    let key = b.keys.server_key().public().to_base64();
    let a = Asking::with(|config| {
        let peer = Peer {
            server_key: Some(key),
            url: None,
        };
        config.peers.insert(server.clone(), peer);
    })
    .await;
    a.relays(&server, &middle.json());
    let refused = a.peers.document(&server).await.unwrap_err();
    assert_matches!(
        refused,
        Unknown::Refused {
            refusal: Refusal::NotByHand,
            ..
        }
    );
    // Then the homeserver may bring it.
    a.relays(&server, &b.json());
    pass(&a.clock, HOUR);
    assert_eq!(a.peers.document(&server).await.unwrap(), *b.keys.document());
    let pinned = a.peers.pinned(&server).await.unwrap().unwrap();
    assert!(a.peers.is_anchored(&pinned));
    assert!(a.peers.vouching(&server).await.unwrap().is_some());
    // When the key is taken out again, there is the homeserver's word, and that is not enough.
    let without = a.restarted(|config| config.peers.clear());
    assert!(!without.is_anchored(&pinned));
    assert_eq!(without.vouching(&server).await.unwrap(), None);
    assert_eq!(without.at_hand(&server).await.unwrap(), None);
    let refused = without.document(&server).await.unwrap_err();
    assert_matches!(
        refused,
        Unknown::Refused {
            refusal: Refusal::NotAnchored,
            ..
        }
    );
    // What was seen over TLS meanwhile stays seen.
    site.set(body(&b.json()));
    pass(&a.clock, DAY + HOUR);
    a.peers.document(&server).await.unwrap();
    a.relays(&server, &Value::Null);
    let pinned = a.peers.pinned(&server).await.unwrap().unwrap();
    assert!(without.is_anchored(&pinned));
}

#[tokio::test]
async fn one_place_may_lag_behind_and_one_may_be_closed() {
    let world = World::new().await;
    let server = world.site.server();
    let old = world.b.json();
    world.a.relays(&server, &old);
    assert!(world.b.keys.rotate(Rotate::All).await.unwrap());
    world.publish();
    assert_eq!(world.ask().await.unwrap().sequence(), 2);
    // The other way round.
    world.site.set(body(&old));
    world.a.relays(&server, &world.b.json());
    assert_eq!(world.ask_anew().await.unwrap().sequence(), 2);
    // A homeserver that shows no profiles.
    world.publish();
    world.a.relays(&server, &Value::Null);
    assert_eq!(world.ask_anew().await.unwrap().sequence(), 2);
}

/// A homeserver that lets nobody look at profiles is as one without.
#[tokio::test]
async fn a_homeserver_that_forbids_looking() {
    let world = World::new().await;
    world.a.relays(&world.site.server(), &world.b.json());
    world.a.fake.fail_next("profile", Fault::Forbidden);
    assert_eq!(world.ask().await.unwrap(), *world.b.keys.document());
    world.site.set(Answer::Status(404));
    world.a.peers.accept(&world.site.server()).await.unwrap();
    world.a.fake.fail_next("profile", Fault::Forbidden);
    assert_eq!(world.refusal_anew().await, Refusal::NotFound);
}

/// `[peers."b.example"] url`: what is asked in the place of the server.
#[tokio::test]
async fn another_place_may_be_named() {
    let site = Site::new(Answer::Status(404));
    let url = format!("https://{}/vizard", site.server());
    let server: ruma::OwnedServerName = "b.example".try_into().unwrap();
    let a = Asking::with(|config| {
        let peer = Peer {
            server_key: None,
            url: Some(url.parse().unwrap()),
        };
        config.peers.insert(server.clone(), peer);
    })
    .await;
    let b = Published::new(server.clone(), &a.clock).await;
    site.set(body(&b.json()));
    assert_eq!(a.peers.document(&server).await.unwrap(), *b.keys.document());
    assert_eq!(site.paths(), ["/vizard/_vizard/v1/server_keys"]);
    assert!(a.peers.pinned(&server).await.unwrap().unwrap().anchored);
}

/// Others whose names lead nowhere take nothing from a server that is known.
#[tokio::test]
async fn strangers_do_not_crowd_out_whom_one_knows() {
    let world = World::new().await;
    let server = world.site.server();
    let peers = &world.a.peers;
    world.ask().await.unwrap();
    pass(&world.a.clock, 2 * DAY);
    let stuck: Vec<_> = (0..8).map(|_| Site::new(Answer::Silent)).collect();
    let names: Vec<_> = stuck.iter().map(Site::server).collect();
    let many = names.iter().map(|name| peers.document_for_stranger(name));
    let many = futures_util::future::join_all(many);
    let known = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        peers.document_for_stranger(&server).await
    };
    let known = tokio::select! {
        known = known => known,
        many = many => panic!("none of them waits: {many:?}"),
    };
    assert_eq!(known.unwrap(), *world.b.keys.document());
    assert_eq!(world.asked(), 2, "it was looked for anew");
    let asked: u32 = stuck.iter().map(Site::connections).sum();
    assert!(asked <= 2, "{asked}");
}

/// Where the two places contradict each other, or one is damaged, an admin can end it.
#[tokio::test]
async fn an_admin_says_which_place_counts() {
    let world = World::new().await;
    let server = world.site.server();
    let peers = &world.a.peers;
    let middle = Published::new(server.clone(), &world.a.clock).await;
    let damaged = json!({"type": "server_keys"});
    for there in [damaged, middle.json()] {
        world.a.relays(&server, &there);
        assert!(world.refusal_anew().await.is_about_the_places());
        // Nothing is said: the server itself counts, and goes on to.
        let found = peers.accept_now(&server, None).await.unwrap();
        assert_eq!(found, *world.b.keys.document());
        let pinned = world.pinned().await.unwrap();
        assert_eq!((pinned.anchored, pinned.only), (true, Some(Place::Tls)));
        assert_eq!(world.ask_anew().await.unwrap(), found);
        peers.accept(&server).await.unwrap();
    }
    let profile = Some(Place::Federation);
    let found = peers.accept_now(&server, profile).await.unwrap();
    assert_eq!(found, *middle.keys.document());
    assert_eq!(world.ask_anew().await.unwrap(), found);
    // Until the next time.
    let found = peers.accept_now(&server, Some(Place::Tls)).await.unwrap();
    assert_eq!(found, *world.b.keys.document());
}

#[tokio::test]
async fn strangers_keys_are_kept_for_a_while_and_fetched_seldom() {
    let world = World::new().await;
    let (peers, server) = (&world.a.peers, world.site.server());
    let prune = async || {
        let now = world.a.clock.now();
        world.a.store.prune_notes(now).await.unwrap()
    };
    // It asked for something. Whoever asks all the time has nothing fetched all the time.
    for _ in 0..20 {
        peers.document_for_stranger(&server).await.unwrap();
        peers.newer_for_stranger(&server).await.unwrap();
    }
    assert_eq!(world.asked(), 1);
    assert!(world.pinned().await.unwrap().unasked);
    // It changed its keys, and is believed a minute later.
    assert!(world.b.keys.rotate(Rotate::All).await.unwrap());
    world.publish();
    pass(&world.a.clock, 61_000);
    let known = peers.document_for_stranger(&server).await.unwrap();
    assert_eq!(known.sequence(), 1);
    let newer = peers.newer_for_stranger(&server).await.unwrap();
    assert_eq!((newer.sequence(), world.asked()), (2, 2));
    // Many at once are one, and none of them waits.
    pass(&world.a.clock, 2 * DAY);
    let all = (0..20).map(|_| peers.document_for_stranger(&server));
    let all = futures_util::future::join_all(all).await;
    assert_eq!(world.asked(), 3);
    assert!(all.iter().any(Result::is_ok));
    assert!(
        all.iter()
            .all(|one| matches!(one, Ok(_) | Err(Unknown::Busy)))
    );
    // It is not heard of any more.
    pass(&world.a.clock, 32 * DAY);
    prune().await;
    assert_eq!(world.pinned().await, None);

    // What somebody here asked for stays, whoever asks for it later.
    assert!(world.b.keys.rotate(Rotate::All).await.unwrap());
    world.publish();
    peers.fetch_now(&server).await.unwrap();
    pass(&world.a.clock, 2 * DAY);
    peers.document_for_stranger(&server).await.unwrap();
    pass(&world.a.clock, 100 * DAY);
    prune().await;
    assert!(!world.pinned().await.unwrap().unasked);
}

/// Somebody here uses what is pinned because its server asked, while it is fresh or the server is away: that is kept.
#[tokio::test]
async fn strangers_keys_that_somebody_here_uses_are_kept() {
    let world = World::new().await;
    let (peers, server) = (&world.a.peers, world.site.server());
    for away in [false, true] {
        peers.accept(&server).await.unwrap();
        world.publish();
        peers.document_for_stranger(&server).await.unwrap();
        assert!(world.pinned().await.unwrap().unasked);
        if away {
            world.site.set(Answer::Status(502));
            world.ask_anew().await.unwrap();
        } else {
            assert!(peers.at_hand(&server).await.unwrap().is_some());
        }
        assert!(!world.pinned().await.unwrap().unasked, "{away}");
        let later = world.a.clock.now() + 100 * DAY;
        world.a.store.prune_notes(later).await.unwrap();
        assert!(world.pinned().await.is_some(), "{away}");
    }
}

/// Whoever holds the web server of b's name publishes keys of their own there, and names another bot, in whose profile they stand too.
#[tokio::test]
async fn the_place_that_does_not_count_does_not_steer_the_other() {
    let site = Site::new(Answer::Status(404));
    let server = site.server();
    let clock = vizard::clock::Clock::mock(crate::instance::START);
    let b = Published::new(server.clone(), &clock).await;
    let eve = Published::of("eve", server.clone(), &clock).await;
    site.set(body(&eve.json()));
    let key = b.keys.server_key().public().to_base64();
    for by_hand in [false, true] {
        let a = Asking::with(|config| {
            let peer = Peer {
                server_key: by_hand.then(|| key.clone()),
                url: None,
            };
            config.peers.insert(server.clone(), peer);
        })
        .await;
        a.relays(&server, &b.json());
        let bot = format!("@eve:{server}");
        a.fake.set_profile(bot, PROFILE_FIELD, eve.json());
        let before = site.connections();
        let found = if by_hand {
            a.peers.document(&server).await
        } else {
            a.peers.accept_now(&server, Some(Place::Federation)).await
        };
        assert_eq!(found.unwrap(), *b.keys.document(), "{by_hand}");
        pass(&a.clock, DAY + HOUR);
        let found = a.peers.document(&server).await;
        assert_eq!(found.unwrap(), *b.keys.document(), "{by_hand}");
        assert_eq!(site.connections() > before, by_hand);
    }
}

/// What the admin wrote into the configuration counts from the next start on, whatever is pinned and however fresh that is.
#[tokio::test]
async fn settings_count_more_than_what_is_pinned() {
    let world = World::new().await;
    let (a, server) = (&world.a, world.site.server());
    world.ask().await.unwrap();
    // Somebody else, whose key the admin got by hand, under a higher number.
    let other = Published::new(server.clone(), &a.clock).await;
    assert!(other.keys.rotate(Rotate::All).await.unwrap());
    let key = other.keys.server_key().public().to_base64();
    let by_hand = a.restarted(|config| {
        let peer = Peer {
            server_key: Some(key.clone()),
            url: None,
        };
        config.peers.insert(server.clone(), peer);
    });
    world.site.set(Answer::Status(502));
    assert_eq!(by_hand.at_hand(&server).await.unwrap(), None);
    assert!(a.peers.vouching(&server).await.unwrap().is_some());
    assert_eq!(by_hand.vouching(&server).await.unwrap(), None);
    let pinned = world.pinned().await.unwrap();
    let lines = describe::pinned(&pinned, ServerKeyId::from_base64(&key), a.clock.now());
    assert!(
        lines.contains("DOES NOT COUNT: not signed by the key"),
        "{lines}"
    );
    assert!(by_hand.document(&server).await.is_err());
    pass(&a.clock, HOUR);
    world.site.set(body(&other.json()));
    let found = by_hand.document(&server).await.unwrap();
    assert_eq!(found, *other.keys.document());
    assert_eq!(by_hand.vouching(&server).await.unwrap(), Some(found));
    let pinned = world.pinned().await.unwrap();
    let lines = describe::pinned(&pinned, ServerKeyId::from_base64(&key), a.clock.now());
    assert!(lines.contains("pinned by hand ("), "{lines}");

    // Homeservers' word was enough, and is not any more.
    world.a.peers.accept(&server).await.unwrap();
    world.site.set(Answer::Status(404));
    a.relays(&server, &world.b.json());
    let trusting = a.restarted(|config| config.keys.anchor = Anchor::Federation);
    trusting.document(&server).await.unwrap();
    assert!(!world.pinned().await.unwrap().anchored);
    assert!(trusting.vouching(&server).await.unwrap().is_some());
    assert_eq!(a.peers.vouching(&server).await.unwrap(), None);
    assert_eq!(world.refusal().await, Refusal::NotAnchored);
    pass(&a.clock, HOUR);
    world.publish();
    assert_eq!(world.ask().await.unwrap(), *world.b.keys.document());
    assert!(world.pinned().await.unwrap().anchored);
    let asked = world.asked();
    world.ask().await.unwrap();
    assert_eq!(world.asked(), asked);
}
