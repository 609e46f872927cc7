//! Real servers: two users talk across federation, and nothing is left behind.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::testkit::{
    audit::{Needle, audit, linkage},
    client::{Client, Source, picture},
    python::Python,
    site::Site,
    synapse::{Options, Synapse, SynapsePair},
};

const SOON: Duration = Duration::from_secs(30);

/// Whether a process of this id is there (a zombie is not).
fn runs(id: u32) -> bool {
    let status = std::process::Command::new("ps")
        .args(["-o", "stat=", "-p", &id.to_string()])
        .output();
    match status {
        Ok(output) => !output.stdout.is_empty() && output.stdout[0] != b'Z',
        Err(_) => Path::new(&format!("/proc/{id}")).exists(),
    }
}

#[tokio::test]
async fn two_users_talk_across_federation_and_a_planted_leak_is_found() {
    Python::shared().unwrap();
    let since = Instant::now();
    let mut pair = SynapsePair::stock().await.unwrap();
    eprintln!("both servers answered after {:?}", since.elapsed());
    let alice = Client::register(&pair.a, "alice-in-hiding").await.unwrap();
    let bob = Client::register(&pair.b, "bob").await.unwrap();
    let avatar = alice.set_avatar(&picture("alice")).await.unwrap();
    alice.set_display_name("Alice Łiddell").await.unwrap();

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

    // Alice did not hide, so B is full of her; what B never saw is not found. Both while B runs.
    let mut needles = Needle::user("MXID", alice.id());
    needles.push(Needle::text("display name", "Alice Łiddell"));
    needles.extend(Needle::id("avatar", &avatar));
    let report = audit(&pair.b.evidence(), &needles).await.unwrap();
    for place in [
        "event_json.json",
        "events.sender",
        "homeserver.log:",
        "homeserver.db",
    ] {
        assert!(
            report.findings.iter().any(|one| one.place.contains(place)),
            "nothing in {place}: {report}"
        );
    }
    for needle in &needles {
        assert!(
            report.findings.iter().any(|one| one.needle == needle.shown),
            "{needle:?} not found in {report}"
        );
    }
    let never = audit(
        &pair.b.evidence(),
        &[Needle::text("unknown", "@somebody-else:a.example")],
    )
    .await
    .unwrap();
    never.assert_clean();
    assert!(
        never.searched.tables > 100 && never.searched.cells > 1000,
        "{never}"
    );
    assert!(
        !linkage(&pair.b.database(), &[alice.id(), bob.id()])
            .await
            .unwrap()
            .is_empty()
    );

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
    let error = Synapse::start(Site::reserve("broken").unwrap(), &options)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("ended") && error.to_string().contains("not a name"),
        "{error:#}"
    );
}
