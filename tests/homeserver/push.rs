//! The fake pushes as Synapse does, to an application service that can be told to fail.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Request, http::StatusCode};
use serde_json::{Value, json};

use super::{
    BOB, client, fake,
    fake::{Fake, faults::Faults, push::Retry},
    ghost,
};

/// A delivery: transaction number and event ids.
type Delivery = (u64, Vec<String>);

#[derive(Clone, Default)]
struct Service {
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    bodies: Arc<Mutex<Vec<Value>>>,
    failing: Arc<Mutex<bool>>,
    overlapping: Arc<tokio::sync::Mutex<()>>,
}

impl Service {
    async fn start(fake: &Fake) -> Self {
        let service = Self::default();
        let served = service.clone();
        let router = Router::new().fallback(move |request: Request| served.clone().take(request));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake.set_appservice(Some(&url));
        service
    }

    async fn take(self, request: Request) -> (StatusCode, &'static str) {
        let (parts, body) = request.into_parts();
        assert_eq!(parts.headers["authorization"], "Bearer hs_token");
        if *self.failing.lock().unwrap() {
            return (StatusCode::INTERNAL_SERVER_ERROR, "{}");
        }
        if parts.uri.path() == "/_matrix/app/v1/ping" {
            return (StatusCode::OK, "{}");
        }
        let _one = self.overlapping.try_lock().expect("one in flight");
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let id = parts.uri.path().rsplit('/').next().unwrap();
        let events = body["events"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ids = events.iter().map(|event| text(&event["event_id"]));
        let delivery = (id.parse().unwrap(), ids.collect());
        self.deliveries.lock().unwrap().push(delivery);
        self.bodies.lock().unwrap().extend(events.iter().cloned());
        (StatusCode::OK, "{}")
    }

    fn fail(&self, failing: bool) {
        *self.failing.lock().unwrap() = failing;
    }

    fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap().clone()
    }

    /// Event ids in the order in which they came first.
    fn events(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for id in self.deliveries().into_iter().flat_map(|(_, ids)| ids) {
            if !seen.contains(&id) {
                seen.push(id);
            }
        }
        seen
    }
}

fn ids(fake: &Fake, room: &ruma::RoomId) -> Vec<String> {
    let events = fake.events(room);
    let id = |event: &Value| event["event_id"].as_str().unwrap().to_owned();
    events.iter().map(id).collect()
}

#[tokio::test]
async fn only_what_concerns_the_namespace_comes() {
    let fake = fake().await;
    let service = Service::start(&fake).await;
    let client = client(&fake, 1);
    let ghost = ghost(&client, "g").await;
    let room = fake.public_room(BOB, "Tea");
    let elsewhere = fake.public_room(BOB, "Else");
    fake.text(BOB, &room, "before").unwrap();
    let invite = fake.invite(BOB, &room, &ghost.user).unwrap();
    fake.text(BOB, &room, "still before").unwrap();
    client
        .join(&ghost, (&*room).into(), &[], &json!({}))
        .await
        .unwrap();
    let heard = fake.text(BOB, &room, "heard").unwrap();
    fake.text(BOB, &elsewhere, "not heard").unwrap();
    let left = fake.kick(BOB, &room, &ghost.user).unwrap();
    fake.text(BOB, &room, "after").unwrap();
    fake.wait_idle().await;
    let events = service.events();
    assert_eq!(events.len(), 4);
    assert_eq!(
        [&events[0], &events[2], &events[3]],
        [invite.as_str(), heard.as_str(), left.as_str()]
    );
    let bodies = service.bodies.lock().unwrap();
    let shown = bodies[0]["unsigned"]["invite_room_state"]
        .as_array()
        .unwrap();
    assert!(shown.iter().any(|event| event["content"]["name"] == "Tea"));
    assert_eq!(
        bodies[1]["unsigned"]["prev_content"]["membership"],
        "invite"
    );
}

#[tokio::test]
async fn transactions_are_full_and_numbered() {
    let fake = fake().await;
    let service = Service::start(&fake).await;
    let client = client(&fake, 1);
    let ghost = ghost(&client, "g").await;
    let room = client
        .create_room(&ghost, &json!({"preset": "public_chat"}))
        .await;
    let room = room.unwrap();
    fake.join(BOB, &room).unwrap();
    fake.wait_idle().await;
    let before = fake.transactions().0;
    fake.hold();
    for number in 0..250 {
        fake.text(BOB, &room, &number.to_string()).unwrap();
    }
    fake.release();
    fake.wait_idle().await;
    let sizes: Vec<(u64, usize)> = service
        .deliveries()
        .iter()
        .filter(|(id, _)| *id > before)
        .map(|(id, ids)| (id - before, ids.len()))
        .collect();
    assert_eq!(sizes, [(1, 100), (2, 100), (3, 50)]);
    assert_eq!(service.events(), ids(&fake, &room));
}

#[tokio::test]
async fn while_down_each_event_has_its_transaction() {
    let fake = fake().await;
    let service = Service::start(&fake).await;
    fake.set_retry(Retry::Manual);
    let client = client(&fake, 1);
    let ghost = ghost(&client, "g").await;
    let room = client
        .create_room(&ghost, &json!({"preset": "public_chat"}))
        .await;
    let room = room.unwrap();
    fake.join(BOB, &room).unwrap();
    fake.wait_idle().await;
    service.fail(true);
    let first = fake.text(BOB, &room, "0").unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    for number in 1..4 {
        fake.text(BOB, &room, &number.to_string()).unwrap();
    }
    // Redacted before it is delivered: arrives empty.
    fake.redact(BOB, &room, &first).unwrap();
    let before = service.deliveries().len();
    service.fail(false);
    // A ping that succeeds ends the waiting.
    client.ping("vizard", "p").await.unwrap();
    fake.wait_idle().await;
    let sizes: Vec<usize> = service.deliveries()[before..]
        .iter()
        .map(|(_, ids)| ids.len())
        .collect();
    assert_eq!(sizes, [1, 1, 1, 1, 1]);
    let bodies = service.bodies.lock().unwrap();
    let delivered = bodies
        .iter()
        .find(|event| event["event_id"] == first.as_str());
    assert_eq!(delivered.unwrap()["content"], json!({}));
    assert_eq!(service.events(), ids(&fake, &room));
}

#[tokio::test]
async fn old_transactions_and_duplicates_come_on_demand() {
    let fake = fake().await;
    let service = Service::start(&fake).await;
    let client = client(&fake, 1);
    let ghost = ghost(&client, "g").await;
    let room = client
        .create_room(&ghost, &json!({"preset": "public_chat"}))
        .await;
    let room = room.unwrap();
    fake.join(BOB, &room).unwrap();
    let first = fake.text(BOB, &room, "0").unwrap();
    fake.wait_idle().await;
    let (last, _) = fake.transactions();
    let old = service.deliveries()[0].clone();
    assert!(fake.redeliver(old.0));
    fake.wait_idle().await;
    assert_eq!(service.deliveries().last(), Some(&old));
    fake.duplicate(&first);
    fake.push_raw(json!({"nonsense": true}));
    fake.wait_idle().await;
    let later = service.deliveries();
    let later: Vec<&Delivery> = later.iter().filter(|(id, _)| *id > last).collect();
    assert_eq!(later[0].1[0], first.as_str());
    assert!(!fake.redeliver(999));
}

#[tokio::test]
async fn under_random_faults_everything_arrives_in_order() {
    let fake = fake().await;
    let service = Service::start(&fake).await;
    fake.set_faults(Faults {
        push_lost: 200,
        push_old: 200,
        push_duplicate: 200,
        ..Faults::default()
    });
    let client = client(&fake, 1);
    let ghost = ghost(&client, "g").await;
    let room = client
        .create_room(&ghost, &json!({"preset": "public_chat"}))
        .await;
    let room = room.unwrap();
    fake.join(BOB, &room).unwrap();
    for number in 0..100 {
        fake.text(BOB, &room, &number.to_string()).unwrap();
        tokio::task::yield_now().await;
        if number % 10 == 0 {
            fake.wait_idle().await;
        }
    }
    fake.wait_idle().await;
    assert_eq!(service.events(), ids(&fake, &room));
    let delivered: usize = service.deliveries().iter().map(|(_, ids)| ids.len()).sum();
    assert!(delivered > service.events().len(), "some came twice");
}

#[tokio::test]
async fn a_ping_that_fails_says_so() {
    let fake = fake().await;
    let client = client(&fake, 3);
    let error = client.ping("vizard", "p").await.unwrap_err();
    assert_eq!(error.errcode(), Some("M_URL_NOT_SET"));
    fake.set_appservice(Some("http://127.0.0.1:9"));
    let error = client.ping("vizard", "p").await.unwrap_err();
    assert!(error.to_string().contains("M_CONNECTION_FAILED"), "{error}");
    let _service = Service::start(&fake).await;
    client.ping("vizard", "p").await.unwrap();
    assert_eq!(fake.count("ping"), 3);
}
