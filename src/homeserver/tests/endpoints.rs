//! Each endpoint's request, and what its answers mean.

use ruma::{OwnedRoomId, event_id, mxc_uri, room_id, user_id};

use super::*;
use crate::homeserver::Class;

#[tokio::test]
async fn users() {
    let test = Test::new([
        says(200, &json!({"user_id": "@_vizard_a:x"})),
        refuses(400, "M_USER_IN_USE"),
        refuses(400, "M_EXCLUSIVE"),
        says(201, &json!({})),
        refuses(404, "M_UNRECOGNIZED"),
        says(200, &json!({})),
        refuses(404, "M_UNRECOGNIZED"),
        says(200, &json!({})),
        says(200, &json!({"displayname": 5, "avatar_url": "mxc://x/1"})),
        refuses(404, "M_NOT_FOUND"),
    ])
    .await;
    let user = user_id!("@_vizard_a:x");
    test.client.register(user).await.unwrap();
    test.client.register(user).await.unwrap();
    assert!(test.client.register(user).await.is_err());
    test.client.create_device(user, "D/1".into()).await.unwrap();
    let value = json!({"a": 1});
    test.client
        .set_profile_field(&actor(), "org.example", &value)
        .await
        .unwrap();
    test.client
        .remove_profile_field(&actor(), "org.example")
        .await
        .unwrap();
    let profile = test.client.profile(&actor(), user).await.unwrap();
    assert_eq!(profile.displayname, None);
    assert_eq!(profile.avatar_url.as_deref(), Some(mxc_uri!("mxc://x/1")));
    test.client.delete_device(&actor()).await.unwrap();

    let seen = test.script.seen.lock().unwrap();
    assert_eq!(seen[0].line, "POST /_matrix/client/v3/register");
    assert_eq!(
        serde_json::from_str::<Value>(&seen[0].body).unwrap(),
        json!({"type": "m.login.application_service", "username": "_vizard_a", "inhibit_login": true})
    );
    assert_eq!(
        (seen[3].line.as_str(), seen[3].body.as_str()),
        (
            "PUT /_matrix/client/v3/devices/D%2F1?user_id=%40_vizard_a%3Ax",
            "{}"
        )
    );
    assert!(
        seen[4]
            .line
            .contains("/client/v3/profile/%40_vizard_a%3Ax/org.example")
    );
    assert!(
        seen[5]
            .line
            .contains("/uk.tcpip.msc4133/profile/%40_vizard_a%3Ax/org.example")
    );
    assert_eq!(seen[5].body, r#"{"org.example":{"a":1}}"#);
}

#[tokio::test]
async fn a_join_carries_servers_and_content() {
    let test = Test::new([
        reply(500, ""),
        says(200, &json!({"room_id": "!AbC"})),
        reply(500, ""),
        reply(500, ""),
    ])
    .await;
    let via = ["b.example".try_into().unwrap()];
    let extra = json!({"displayname": "Quiet Heron"});
    let room = room_id!("!AbC");
    let joined = test.client.join(&actor(), room.into(), &via, &extra).await;
    assert_eq!(joined.unwrap(), room);
    assert!(
        test.client
            .join(&actor(), room.into(), &[], &json!(null))
            .await
            .is_err()
    );
    let seen = test.script.seen.lock().unwrap();
    assert_eq!(seen.len(), 4);
    assert_eq!(
        seen[1].line,
        format!("POST /_matrix/client/v3/join/%21AbC?via=b.example&server_name=b.example&{ACTING}")
    );
    assert_eq!(seen[1].body, extra.to_string());
    assert_eq!(seen[3].body, "{}");
}

#[tokio::test]
async fn room_creation_is_tried_once() {
    let test = Test::new([reply(500, ""), says(200, &json!({"room_id": "!AbC"}))]).await;
    assert!(test.client.create_room(&actor(), &json!({})).await.is_err());
    assert_eq!(test.tries(), 1);
    let made: OwnedRoomId = test.client.create_room(&actor(), &json!({})).await.unwrap();
    assert_eq!(made, "!AbC");
}

#[tokio::test]
async fn leaving_what_one_is_not_in() {
    let room = room_id!("!r:x");
    let test = Test::new([
        // forbidden, the state cannot be seen, and the room is not in the list
        refuses(403, "M_FORBIDDEN"),
        refuses(403, "M_FORBIDDEN"),
        says(200, &json!({"joined_rooms": ["!other:x"]})),
        // forbidden, and still invited
        refuses(403, "M_FORBIDDEN"),
        says(200, &json!({"membership": "invite"})),
    ])
    .await;
    test.client.leave(&actor(), room).await.unwrap();
    let error = test.client.leave(&actor(), room).await.unwrap_err();
    assert_eq!(error.status(), Some(403));
}

#[tokio::test]
async fn inviting_who_is_there() {
    let room = room_id!("!r:x");
    let bob = user_id!("@bob:x");
    let test = Test::new([
        refuses(403, "M_FORBIDDEN"),
        says(200, &json!({"membership": "join"})),
        refuses(403, "M_FORBIDDEN"),
        refuses(404, "M_NOT_FOUND"),
    ])
    .await;
    test.client.invite(&actor(), room, bob).await.unwrap();
    assert!(test.client.invite(&actor(), room, bob).await.is_err());
}

#[tokio::test]
async fn media() {
    let mxc = mxc_uri!("mxc://x/abc");
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0; 1000]));
    let mut fits = reply(200, vec![7; 100]);
    fits.headers.push(("content-type", "image/png".to_owned()));
    let test = Test::new([
        says(
            200,
            &json!({"content_uri": "mxc://x/abc", "unused_expires_at": 1}),
        ),
        refuses(409, "M_CANNOT_OVERWRITE_MEDIA"),
        fits,
        reply(200, vec![0; 101]),
        reply(200, Body::from_stream(endless)),
    ])
    .await;
    assert_eq!(test.client.reserve_media(&actor()).await.unwrap(), mxc);
    test.client
        .upload(&actor(), mxc, vec![1, 2], "image/\n")
        .await
        .unwrap();
    let media = test.client.download(&actor(), mxc, 100).await.unwrap();
    assert_eq!(media.bytes, vec![7; 100]);
    assert_eq!(media.content_type.as_deref(), Some("image/png"));
    for _ in 0..2 {
        assert!(matches!(
            test.client.download(&actor(), mxc, 100).await,
            Err(Error::TooLarge { max: 100 })
        ));
    }
    for bad in ["mxc://../abc", "mxc://x/..", "http://x/abc"] {
        let error = test
            .client
            .download(&actor(), bad.into(), 100)
            .await
            .unwrap_err();
        assert_eq!(error.class(), Class::GiveUp);
    }
    assert_eq!(test.tries(), 5);
}

#[tokio::test]
async fn every_request_of_an_actor_names_its_device() {
    let test = Test::new([]).await;
    let (client, actor) = (&test.client, &actor());
    let room = room_id!("!r:x");
    let _ = client.set_displayname(actor, "n").await;
    let _ = client.set_avatar(actor, None).await;
    let _ = client.profile(actor, &actor.user).await;
    let _ = client
        .resolve_alias(actor, ruma::room_alias_id!("#a:x"))
        .await;
    let _ = client.join(actor, room.into(), &[], &json!({})).await;
    let _ = client.knock(actor, room, &[]).await;
    let _ = client.leave(actor, room).await;
    let _ = client.invite(actor, room, &actor.user).await;
    let _ = client.kick(actor, room, &actor.user).await;
    let _ = client.create_room(actor, &json!({})).await;
    let _ = client.joined_rooms(actor).await;
    let _ = client.joined_members(actor, room).await;
    let _ = client.state(actor, room).await;
    let _ = client.state_event(actor, room, "m.room.name", "").await;
    let _ = client.summary(actor, room.into(), &[]).await;
    let _ = test.send().await;
    let _ = client.redact(actor, room, event_id!("$e"), "t").await;
    let _ = client.read_receipt(actor, room, event_id!("$e")).await;
    let _ = client.messages(actor, room, Some("t1"), 10).await;
    let _ = client.reserve_media(actor).await;
    let _ = client.whoami(actor).await;
    let lines = test.lines();
    assert_eq!(lines.len(), 21);
    for line in lines {
        assert!(line.contains(ACTING), "{line}");
    }
}

#[tokio::test]
async fn the_homeserver_itself() {
    let versions = json!({"versions": ["v1.1"], "unstable_features": {"org.example": true}});
    let mut dated = says(200, &versions);
    dated
        .headers
        .push(("date", "Tue, 14 Nov 2023 22:13:20 GMT".to_owned()));
    let test = Test::new([
        says(200, &versions),
        dated,
        says(200, &json!({"duration_ms": 12})),
        refuses(502, "M_CONNECTION_FAILED"),
    ])
    .await;
    let versions = test.client.versions().await.unwrap();
    assert_eq!(versions.versions, ["v1.1"]);
    assert_eq!(
        test.client.server_time().await.unwrap(),
        Some(1_700_000_000)
    );
    assert_eq!(test.client.ping("viz/ard", "1").await.unwrap(), 12);
    assert!(test.client.ping("vizard", "2").await.is_err());
    let seen = test.script.seen.lock().unwrap();
    assert_eq!(seen[0].line, "GET /_matrix/client/versions");
    assert_eq!(seen[0].authorization, None);
    assert_eq!(
        seen[2].line,
        "POST /_matrix/client/v1/appservice/viz%2Fard/ping"
    );
    assert_eq!(seen.len(), 4);
}
