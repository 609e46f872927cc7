//! Real servers: two users talk across federation, and nothing is left behind.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::testkit::{
    audit::{Finding, Needle, audit, linkage},
    client::{Client, Source, picture},
    process::runs,
    python::Python,
    site::Site,
    synapse::{Options, Synapse, SynapsePair},
};

const SOON: Duration = Duration::from_mins(2);

#[tokio::test]
async fn two_users_talk_across_federation_and_are_found_by_the_audit() {
    Python::shared().unwrap();
    let since = Instant::now();
    let mut pair = SynapsePair::stock().await.unwrap();
    eprintln!("both servers answered after {:?}", since.elapsed());
    let alice = Client::register(&pair.a, "alice-in-hiding").await.unwrap();
    let bob = Client::register(&pair.b, "bob").await.unwrap();
    let avatar = alice.set_avatar(&picture("alice")).await.unwrap();
    alice.set_display_name("Alice Łiddell").await.unwrap();

    let room = converse(&alice, &bob).await;
    let mut needles = Needle::user("MXID", alice.id());
    needles.push(Needle::text("display name", "Alice Łiddell"));
    needles.extend(Needle::id("avatar", &avatar));
    expose(&pair.b, &needles).await;
    let links = linkage(&pair.b.database(), &[alice.id(), bob.id()])
        .await
        .unwrap();
    assert!(
        !links.is_empty(),
        "two members of one room are linked by it"
    );
    plant(&pair.b, &bob, &room).await;

    // A restart in good order and a kill, both survived by the data.
    pair.b.restart().await.unwrap();
    pair.a.kill();
    pair.a.resume().await.unwrap();
    let last = alice.say(&room, "still there?").await.unwrap();
    bob.wait_for(
        "a message after the restarts",
        |seen| seen.id() == last,
        SOON,
    )
    .await
    .unwrap();

    let ids = [pair.a.id().unwrap(), pair.b.id().unwrap()];
    let directories = [pair.a.directory(), pair.b.directory()];
    assert!(ids.into_iter().all(runs));
    pair.b.stop().await.unwrap();
    drop(pair);
    assert!(!ids.into_iter().any(runs));
    assert!(!directories.iter().any(|directory| directory.exists()));
}

/// Everything two people do in a room of Bob's, and a private one; returns the room.
async fn converse(alice: &Client, bob: &Client) -> String {
    // Bob's room is public; Alice comes by alias, without hiding.
    let (room, alias) = bob.create_public_room("tea", "Tea").await.unwrap();
    assert_eq!(alice.join(&alias, &[]).await.unwrap(), room);
    let first = bob.say(&room, "one").await.unwrap();
    let seen = alice
        .wait_for("one", |seen| seen.id() == first, SOON)
        .await
        .unwrap();
    assert_eq!(
        (seen.source, seen.sender(), seen.body()),
        (Source::Timeline, bob.id(), "one")
    );
    let answer = alice.reply(&room, &first, "two").await.unwrap();
    bob.wait_for(
        "two",
        |seen| seen.id() == answer && seen.body() == "two",
        SOON,
    )
    .await
    .unwrap();
    let edit = alice.edit(&room, &answer, "three").await.unwrap();
    bob.wait_for(
        "three",
        |seen| seen.id() == edit && seen.body() == "three",
        SOON,
    )
    .await
    .unwrap();
    let like = bob.react(&room, &answer, "👍").await.unwrap();
    alice
        .wait_for(
            "a reaction",
            |seen| seen.id() == like && seen.relates_to() == answer,
            SOON,
        )
        .await
        .unwrap();
    let gone = bob.redact(&room, &first, "").await.unwrap();
    alice
        .wait_for("a redaction", |seen| seen.id() == gone, SOON)
        .await
        .unwrap();
    alice.read(&room, &like).await.unwrap();
    let receipt = |seen: &crate::testkit::client::Received| {
        seen.kind() == "m.receipt" && seen.event["content"][&like].is_object()
    };
    bob.wait_for("Alice's receipt", receipt, SOON)
        .await
        .unwrap();
    assert_eq!(bob.texts(&room).await.last().unwrap(), "two");
    assert_eq!(
        bob.history(&room).await.unwrap().last().unwrap()["event_id"],
        gone
    );
    assert_eq!(bob.joined_members(&room).await.unwrap().len(), 2);
    assert!(bob.state(&room, "m.room.name", "").await.unwrap().is_some());
    assert!(
        bob.state(&room, "org.example.none", "")
            .await
            .unwrap()
            .is_none()
    );

    // A time-out says what it waited for and what came.
    let error = bob
        .wait_for(
            "Godot",
            |seen| seen.body() == "Godot",
            Duration::from_millis(50),
        )
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("Godot") && error.to_string().contains("m.reaction"),
        "{error}"
    );

    // An invite across federation, found and accepted.
    let private = bob
        .create_room(json!({"name": "Private", "invite": [alice.id()]}))
        .await
        .unwrap();
    let joined = alice
        .accept_invite("from Bob", |seen| seen.sender() == bob.id(), SOON)
        .await
        .unwrap();
    assert_eq!(joined, private);

    room
}

/// Alice did not hide, so B is full of her. Looked for while B runs.
async fn expose(server: &Synapse, needles: &[Needle]) {
    let report = audit(&server.evidence(), needles).await.unwrap();
    for place in [
        "event_json.json",
        "events.sender",
        "homeserver.log:",
        "homeserver.db",
    ] {
        let there = report.findings.iter().any(|one| one.place.contains(place));
        assert!(there, "nothing in {place}: {report}");
    }
    for needle in needles {
        let found = report.findings.iter().any(|one| one.needle == needle.shown);
        assert!(found, "{needle:?} not found in {report}");
    }
}

/// Somebody the server never heard of is not found, until a message gives them away.
async fn plant(server: &Synapse, bob: &Client, room: &str) {
    let needles = Needle::user("MXID", "@somebody-else:a.example");
    let report = audit(&server.evidence(), &needles).await.unwrap();
    report.assert_clean();
    let searched = report.searched;
    assert!(
        searched.tables > 100 && searched.cells > 1000 && searched.files > 2,
        "{report}"
    );
    bob.say(
        room,
        &data_encoding::BASE64.encode(b"it is @somebody-else:a.example!"),
    )
    .await
    .unwrap();
    let report = audit(&server.evidence(), &needles).await.unwrap();
    let found = |one: &Finding| one.place.starts_with("event_json.json") && one.form == "base64";
    assert!(report.findings.iter().any(found), "{report}");
}

#[tokio::test]
async fn a_gap_in_the_sync_is_filled_in_order() {
    let options = Options {
        extra: json!({"filter_timeline_limit": 5}),
        ..Options::default()
    };
    let server = Synapse::start(Site::reserve("gap").unwrap(), &options)
        .await
        .unwrap();
    let (one, two) = (
        Client::register(&server, "one").await.unwrap(),
        Client::register(&server, "two").await.unwrap(),
    );
    let (room, _) = one.create_public_room("gap", "Gap").await.unwrap();
    two.join(&room, &[]).await.unwrap();
    two.poll(Duration::ZERO).await.unwrap();
    let said: Vec<String> = (0..40).map(|number| format!("number {number}")).collect();
    for text in &said {
        one.say(&room, text).await.unwrap();
    }
    two.wait_for("the last", |seen| seen.body() == "number 39", SOON)
        .await
        .unwrap();
    assert_eq!(two.texts(&room).await, said);
    let again = Client::login(&server.url(), two.id(), &two.account.password)
        .await
        .unwrap();
    assert_eq!(again.joined_rooms().await.unwrap(), [room]);
    assert_ne!(again.account.device_id, two.account.device_id);
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let options = Options {
        extra: json!({"server_name": "not a name"}),
        ..Options::default()
    };
    let site = Site::reserve("broken").unwrap();
    let directory = site.path("");
    let error = Synapse::start(site, &options).await.unwrap_err();
    assert!(
        error.to_string().contains("ended") && error.to_string().contains("not a name"),
        "{error:#}"
    );
    assert!(directory.exists(), "the data of a failure is kept");
    std::fs::remove_dir_all(directory).unwrap();
}
