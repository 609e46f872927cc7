//! Faults strike, the client tries again, and nothing happens twice.

use ruma::OwnedRoomId;
use serde_json::json;
use vizard::{
    homeserver::{Actor, Class, Homeserver},
    rewrite::Scrubbed,
};

use super::{
    BOB, client, fake,
    fake::{
        Fake,
        faults::{Fault, Faults},
    },
    ghost,
};

async fn ready(tries: u32) -> (Fake, Homeserver, Actor, OwnedRoomId) {
    let fake = fake().await;
    let client = client(&fake, tries);
    let ghost = ghost(&client, "g").await;
    let room = fake.public_room(BOB, "Tea");
    client
        .join(&ghost, (&*room).into(), &[], &json!({}))
        .await
        .unwrap();
    (fake, client, ghost, room)
}

#[tokio::test]
async fn each_fault_is_survived_once() {
    let (fake, client, ghost, room) = ready(2).await;
    let notice = Scrubbed::notice("x");
    let faults = [
        Fault::Limited(5000),
        Fault::ErrorBefore,
        Fault::ErrorAfter,
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::Delay(60_000),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        fake.fail_next("send", fault);
        let txn = number.to_string();
        client.send(&ghost, &room, &notice, &txn).await.unwrap();
        assert_eq!(fake.messages(&room).len(), number + 1, "{fault:?}");
    }
    // All but the delay cost a second request.
    assert_eq!(fake.count("send"), 11);
}

#[tokio::test]
async fn tries_used_up_is_retry() {
    let (fake, client, ghost, room) = ready(2).await;
    for _ in 0..2 {
        fake.fail_next("send", Fault::DropBefore);
    }
    let notice = Scrubbed::notice("x");
    let error = client.send(&ghost, &room, &notice, "t").await.unwrap_err();
    assert_eq!(error.class(), Class::Retry);
    assert!(fake.messages(&room).is_empty());
}

#[tokio::test]
async fn what_is_undone_or_done_stays_so() {
    let (fake, client, ghost, room) = ready(3).await;
    for fault in [Fault::ErrorAfter, Fault::DropAfter] {
        fake.fail_next("leave", fault);
        client.leave(&ghost, &room).await.unwrap();
        fake.fail_next("join", fault);
        client
            .join(&ghost, (&*room).into(), &[], &json!({"displayname": "x"}))
            .await
            .unwrap();
        fake.fail_next("upload", fault);
        let mxc = client.reserve_media(&ghost).await.unwrap();
        client
            .upload(&ghost, &mxc, vec![1], "image/png")
            .await
            .unwrap();
        fake.fail_next("create_room", fault);
        let error = client.create_room(&ghost, &json!({})).await.unwrap_err();
        assert_eq!(error.class(), Class::Retry);
    }
    assert_eq!(fake.look(|world| world.rooms.len()), 3);
    let members = fake.events(&room);
    let joins = members
        .iter()
        .filter(|event| event["type"] == "m.room.member" && event["sender"] == ghost.user.as_str());
    // join, then twice leave and join
    assert_eq!(joins.count(), 5);
}

#[tokio::test]
async fn synapse_forgets_what_named_no_device() {
    let (fake, client, ghost, room) = ready(1).await;
    let bare = Actor {
        device: None,
        ..ghost.clone()
    };
    let other = super::ghost(&client, "other").await;
    client
        .join(&other, (&*room).into(), &[], &json!({}))
        .await
        .unwrap();
    let notice = Scrubbed::notice("x");
    let kept = client.send(&ghost, &room, &notice, "a").await.unwrap();
    let lost = client.send(&bare, &room, &notice, "b").await.unwrap();
    // Two ghosts in one room share the transaction ids of the application service.
    let shared = client.send(&other, &room, &notice, "a").await.unwrap();
    assert_eq!(shared, kept);
    fake.restart();
    let again = client.send(&ghost, &room, &notice, "a").await.unwrap();
    assert_eq!(again, kept);
    let again = client.send(&bare, &room, &notice, "b").await.unwrap();
    assert_ne!(again, lost);
}

#[tokio::test]
async fn under_random_faults_each_message_comes_once_and_in_order() {
    let (fake, client, ghost, room) = ready(10).await;
    fake.set_faults(Faults {
        limited: 50,
        retry_after_ms: 100,
        error_before: 100,
        error_after: 100,
        drop_before: 100,
        drop_after: 100,
        ..Faults::default()
    });
    for number in 0..200 {
        let text = number.to_string();
        let notice = Scrubbed::notice(&text);
        client.send(&ghost, &room, &notice, &text).await.unwrap();
    }
    let bodies: Vec<String> = fake
        .messages(&room)
        .into_iter()
        .map(|(_, body)| body)
        .collect();
    let expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(bodies, expected);
    assert!(fake.count("send") > 250);
    let requests = fake.requests();
    let acting = requests
        .iter()
        .filter(|seen| seen.user.is_some() && seen.endpoint != "create_device");
    assert!(acting.clone().count() > 250);
    assert!(acting.clone().all(|seen| seen.device.is_some()));
}
