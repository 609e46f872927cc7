//! The fake's rooms keep Matrix's rules.

use serde_json::json;

use super::{BOB, client, fake, ghost};

const EVE: &str = "@eve:c.example";

#[tokio::test]
async fn join_rules_are_kept() {
    let fake = fake().await;
    let space = fake.public_room(BOB, "space");
    let closed = fake.create_room(BOB, &json!({})).unwrap();
    assert_eq!(fake.join(EVE, &closed).unwrap_err().status, 403);
    assert_eq!(fake.knock(EVE, &closed).unwrap_err().status, 403);
    assert_eq!(fake.text(EVE, &closed, "x").unwrap_err().status, 403);

    let rules = json!({"join_rule": "knock"});
    fake.send_state(BOB, &closed, "m.room.join_rules", "", rules)
        .unwrap();
    fake.knock(EVE, &closed).unwrap();
    assert_eq!(fake.join(EVE, &closed).unwrap_err().status, 403);
    fake.invite(BOB, &closed, EVE).unwrap();
    fake.join(EVE, &closed).unwrap();
    fake.leave(EVE, &closed).unwrap();

    let allow = json!([{"type": "m.room_membership", "room_id": space}]);
    let rules = json!({"join_rule": "restricted", "allow": allow});
    fake.send_state(BOB, &closed, "m.room.join_rules", "", rules)
        .unwrap();
    assert_eq!(fake.join(EVE, &closed).unwrap_err().status, 403);
    fake.join(EVE, &space).unwrap();
    fake.join(EVE, &closed).unwrap();

    fake.ban(BOB, &closed, EVE).unwrap();
    assert_eq!(fake.join(EVE, &closed).unwrap_err().status, 403);
    assert_eq!(fake.invite(BOB, &closed, EVE).unwrap_err().status, 403);
    fake.kick(BOB, &closed, EVE).unwrap();
    fake.join(EVE, &closed).unwrap();
    assert_eq!(fake.kick(EVE, &closed, BOB).unwrap_err().status, 403);
    assert_eq!(fake.join(EVE, "!none").unwrap_err().status, 404);
}

#[tokio::test]
async fn levels_are_kept_in_old_and_new_rooms() {
    let fake = fake().await;
    for version in ["1", "10", "12"] {
        let body = json!({"preset": "public_chat", "room_version": version});
        let room = fake.create_room(BOB, &body).unwrap();
        assert_eq!(room.as_str().contains(':'), version != "12");
        fake.join(EVE, &room).unwrap();
        let topic = json!({"topic": "t"});
        let refused = fake.send_state(EVE, &room, "m.room.topic", "", topic.clone());
        assert_eq!(refused.unwrap_err().status, 403);
        let first = fake.send_state(BOB, &room, "m.room.topic", "", topic.clone());
        let again = fake.send_state(BOB, &room, "m.room.topic", "", topic);
        assert_eq!(first, again, "the same state twice is one event");
        let bobs = fake.text(BOB, &room, "x").unwrap();
        assert_eq!(fake.redact(EVE, &room, &bobs).unwrap_err().status, 403);
        let eves = fake.text(EVE, &room, "y").unwrap();
        fake.redact(BOB, &room, &eves).unwrap();
        assert_eq!(
            fake.messages(&room),
            [
                (BOB.to_string(), "x".to_owned()),
                (EVE.to_string(), String::new())
            ]
        );
    }
}

#[tokio::test]
async fn a_profile_change_loses_the_mapping() {
    let fake = fake().await;
    let client = client(&fake, 1);
    let ghost = ghost(&client, "g").await;
    let room = fake.public_room(BOB, "Tea");
    let extra = json!({"displayname": "One", "org.example.mapping": 1});
    client
        .join(&ghost, (&*room).into(), &[], &extra)
        .await
        .unwrap();
    client.set_displayname(&ghost, "Two").await.unwrap();
    let member = fake.state_of(&room, "m.room.member", ghost.user.as_str());
    assert_eq!(
        member.unwrap(),
        json!({"displayname": "Two", "membership": "join"})
    );
}

#[tokio::test]
async fn too_large_is_refused() {
    let fake = fake().await;
    let room = fake.public_room(BOB, "Tea");
    let refused = fake.text(BOB, &room, &"x".repeat(70_000)).unwrap_err();
    assert_eq!((refused.status, refused.errcode), (413, "M_TOO_LARGE"));
}
