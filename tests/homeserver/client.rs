//! What the client asks for is what happens.

use ruma::{UserId, event_id, mxc_uri, room_alias_id, user_id};
use serde_json::{Value, json};
use vizard::{
    homeserver::{Actor, Error},
    rewrite::{PortalEvent, Scrubbed},
};

use super::{BOB, client, fake, ghost, stranger};

fn bob() -> &'static UserId {
    BOB.try_into().unwrap()
}

#[tokio::test]
async fn accounts_and_profiles() {
    let fake = fake().await;
    let client = client(&fake, 1);
    assert_eq!(
        client.whoami(&stranger()).await.unwrap_err().status(),
        Some(403)
    );
    let ghost = ghost(&client, "g").await;
    client.register(&ghost.user).await.unwrap();
    client
        .create_device(&ghost.user, "DEV".into())
        .await
        .unwrap();
    assert_eq!(client.whoami(&ghost).await.unwrap(), ghost.user);
    assert_eq!(
        client.register(bob()).await.unwrap_err().errcode(),
        // Bob's localpart is not in the namespace, whatever his server.
        Some("M_EXCLUSIVE")
    );

    client.set_displayname(&ghost, "Quiet Heron").await.unwrap();
    client
        .set_avatar(&ghost, Some(mxc_uri!("mxc://a.example/x")))
        .await
        .unwrap();
    let key = json!({"k": 1});
    client
        .set_profile_field(&ghost, "org.vizard.server_keys", &key)
        .await
        .unwrap();
    let profile = client.profile(&ghost, &ghost.user).await.unwrap();
    assert_eq!(profile.displayname.as_deref(), Some("Quiet Heron"));
    assert_eq!(
        profile.avatar_url.as_deref(),
        Some(mxc_uri!("mxc://a.example/x"))
    );
    client.set_avatar(&ghost, None).await.unwrap();
    let profile = client.profile(&ghost, &ghost.user).await.unwrap();
    assert_eq!(profile.avatar_url, None);
    let error = client.profile(&ghost, bob()).await.unwrap_err();
    assert_eq!(error.status(), Some(404));

    client.delete_device(&ghost).await.unwrap();
    let error = client.whoami(&ghost).await.unwrap_err();
    // Named, because the refusal alone does not say whose device is gone.
    assert!(matches!(error, Error::UnknownDevice(lost) if *lost == ghost));
    client.delete_device(&ghost).await.unwrap();
}

#[tokio::test]
async fn a_ghost_in_a_room() {
    let fake = fake().await;
    let client = client(&fake, 1);
    let ghost = ghost(&client, "g").await;
    let alias = room_alias_id!("#tea room/ü:b.example");
    let room = fake.public_room(BOB, "Tea");
    assert!(!room.as_str().contains(':'), "version 12 is the default");
    fake.alias(alias, &room);

    let (found, servers) = client.resolve_alias(&ghost, alias).await.unwrap();
    assert_eq!(
        (found.as_str(), servers[0].as_str()),
        (room.as_str(), "b.example")
    );
    let summary = client.summary(&ghost, alias.into(), &[]).await.unwrap();
    assert_eq!(summary.unwrap()["name"], "Tea");

    let extra = json!({"displayname": "Quiet Heron", "org.example.mapping": {"a": 1}});
    let joined = client.join(&ghost, alias.into(), &servers, &extra).await;
    assert_eq!(joined.unwrap(), room);
    let member = fake.state_of(&room, "m.room.member", ghost.user.as_str());
    assert_eq!(
        member.unwrap(),
        json!({"displayname": "Quiet Heron", "org.example.mapping": {"a": 1}, "membership": "join"})
    );
    assert_eq!(
        client.joined_rooms(&ghost).await.unwrap(),
        std::slice::from_ref(&room)
    );
    let members = client.joined_members(&ghost, &room).await.unwrap();
    assert_eq!(members.len(), 2);
    assert!(members.iter().any(|(user, profile)| *user == ghost.user
        && profile.displayname.as_deref() == Some("Quiet Heron")));
    let name = client
        .state_event(&ghost, &room, "m.room.name", "")
        .await
        .unwrap();
    assert_eq!(name.unwrap().get(), r#"{"name":"Tea"}"#);
    let none = client.state_event(&ghost, &room, "m.room.topic", "").await;
    assert!(none.unwrap().is_none());
    assert!(client.state(&ghost, &room).await.unwrap().len() >= 6);

    let notice = Scrubbed::notice("hello");
    let sent = client.send(&ghost, &room, &notice, "txn/1").await.unwrap();
    let again = client.send(&ghost, &room, &notice, "txn/1").await.unwrap();
    assert_eq!(sent, again);
    let event = fake.event(&sent).unwrap();
    assert_eq!(event["sender"], ghost.user.as_str());
    assert_eq!(event["content"]["body"], "hello");
    let past = ruma::MilliSecondsSinceUnixEpoch(ruma::uint!(12));
    let old = client
        .send_at(&ghost, &room, &notice, "txn2", Some(past))
        .await
        .unwrap();
    assert_eq!(fake.event(&old).unwrap()["origin_server_ts"], 12);

    client.read_receipt(&ghost, &room, &sent).await.unwrap();
    assert_eq!(fake.receipts()[0].event, sent.as_str());
    client.redact(&ghost, &room, &sent, "r").await.unwrap();
    assert_eq!(fake.event(&sent).unwrap()["content"], json!({}));
    let bobs = fake.text(BOB, &room, "mine").unwrap();
    let error = client.redact(&ghost, &room, &bobs, "r2").await.unwrap_err();
    assert_eq!(error.status(), Some(403));

    client.leave(&ghost, &room).await.unwrap();
    client.leave(&ghost, &room).await.unwrap();
    let error = client.send(&ghost, &room, &notice, "t").await.unwrap_err();
    assert_eq!(error.status(), Some(403));
}

#[tokio::test]
async fn a_portal_is_made_and_filled() {
    let fake = fake().await;
    let client = client(&fake, 1);
    let host = ghost(&client, "p_1").await;
    let mirror = ghost(&client, "m_1").await;
    let alice = user_id!("@alice:a.example");
    let body = json!({
        "preset": "private_chat", "name": "Tea", "is_direct": true, "invite": [alice],
        "initial_state": [{"type": "m.bridge", "state_key": "k", "content": {"a": 1}}],
        "power_level_content_override": {"invite": 50},
    });
    let room = client.create_room(&host, &body).await.unwrap();
    assert_eq!(fake.membership(&room, alice).as_deref(), Some("invite"));
    assert_eq!(fake.state_of(&room, "m.bridge", "k").unwrap()["a"], 1);
    fake.join(alice, &room).unwrap();

    let error = client.invite(&mirror, &room, bob()).await.unwrap_err();
    assert_eq!(error.status(), Some(403));
    client.invite(&host, &room, &mirror.user).await.unwrap();
    client.invite(&host, &room, alice).await.unwrap();
    client
        .join(&mirror, (&*room).into(), &[], &json!({}))
        .await
        .unwrap();
    let topic = Scrubbed::portal_state(PortalEvent::Topic("x"));
    client.send_state(&host, &room, &topic, "").await.unwrap();
    assert_eq!(
        fake.state_of(&room, "m.room.topic", "").unwrap()["topic"],
        "x"
    );
    let error = client.send_state(&mirror, &room, &topic, "").await;
    assert_eq!(error.unwrap_err().status(), Some(403));

    client.kick(&host, &room, &mirror.user).await.unwrap();
    client.kick(&host, &room, &mirror.user).await.unwrap();
    assert_eq!(
        fake.membership(&room, &mirror.user).as_deref(),
        Some("leave")
    );
    let error = client.kick(&mirror, &room, alice).await.unwrap_err();
    assert_eq!(error.status(), Some(403));
}

#[tokio::test]
async fn history_is_walked_back() {
    let fake = fake().await;
    let client = client(&fake, 1);
    let ghost = ghost(&client, "g").await;
    let room = fake.public_room(BOB, "Tea");
    client
        .join(&ghost, (&*room).into(), &[], &json!({}))
        .await
        .unwrap();
    for number in 0..25 {
        fake.text(BOB, &room, &number.to_string()).unwrap();
    }
    let mut from = None;
    let mut seen = Vec::new();
    loop {
        let page = client
            .messages(&ghost, &room, from.as_deref(), 7)
            .await
            .unwrap();
        assert!(page.chunk.len() <= 7);
        for event in page.chunk {
            seen.push(serde_json::from_str::<Value>(event.get()).unwrap());
        }
        match page.end {
            Some(end) => from = Some(end),
            None => break,
        }
    }
    seen.reverse();
    assert_eq!(seen, fake.events(&room));
    let error = client.messages(&ghost, &room, Some("x"), 7).await;
    assert_eq!(error.unwrap_err().status(), Some(400));
}

#[tokio::test]
async fn media_goes_up_and_down() {
    let fake = fake().await;
    let client = client(&fake, 1);
    let ghost = ghost(&client, "g").await;
    let mxc = client.reserve_media(&ghost).await.unwrap();
    // Reserved, not there yet: that may pass.
    let early = client.download(&ghost, &mxc, 10).await.unwrap_err();
    assert!(matches!(early, Error::Retry { .. }), "{early:?}");
    for _ in 0..2 {
        client
            .upload(&ghost, &mxc, vec![1, 2, 3], "image/png")
            .await
            .unwrap();
    }
    let media = client.download(&ghost, &mxc, 3).await.unwrap();
    assert_eq!(
        (media.bytes, media.content_type.as_deref()),
        (vec![1, 2, 3], Some("image/png"))
    );
    let large = client.download(&ghost, &mxc, 2).await.unwrap_err();
    assert!(matches!(large, Error::TooLarge { max: 2 }));
    let unknown = mxc_uri!("mxc://b.example/none");
    let error = client.download(&ghost, unknown, 9).await.unwrap_err();
    assert_eq!(error.status(), Some(404));
}

#[tokio::test]
async fn the_homeserver_itself() {
    let fake = fake().await;
    let client = client(&fake, 1);
    let versions = client.versions().await.unwrap();
    assert!(versions.versions.contains(&"v1.11".to_owned()));
    let date = client.server_time().await.unwrap();
    assert!(date.is_some_and(|seconds| seconds > 1_600_000_000));
    let ghost: Actor = ghost(&client, "g").await;
    let gone = client
        .leave(&ghost, ruma::room_id!("!none:b.example"))
        .await;
    gone.unwrap();
    let room = fake.public_room(BOB, "Tea");
    let error = client.read_receipt(&ghost, &room, event_id!("$x")).await;
    assert_eq!(error.unwrap_err().status(), Some(403));
}
