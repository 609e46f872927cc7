//! The endpoints of keys and devices' messages.

use ruma::{
    OneTimeKeyAlgorithm,
    api::client::keys::{claim_keys, upload_keys, upload_signatures},
    device_id, user_id,
};

use super::*;

fn counts(count: u64) -> Reply {
    says(
        200,
        &json!({"one_time_key_counts": {"signed_curve25519": count}}),
    )
}

impl Test {
    fn body(&self, index: usize) -> Value {
        serde_json::from_str(&self.script.seen.lock().unwrap()[index].body).unwrap()
    }
}

#[tokio::test]
async fn keys_go_up_as_the_device() {
    let test = Test::new([
        counts(50),
        says(200, &json!({})),
        says(200, &json!({"failures": {}})),
        refuses(404, "M_UNRECOGNIZED"),
    ])
    .await;
    let nothing = upload_keys::v3::Request::new();
    let answer = test.client.upload_keys(&actor(), &nothing).await.unwrap();
    let counted = answer.one_time_key_counts[&OneTimeKeyAlgorithm::SignedCurve25519];
    assert_eq!(u64::from(counted), 50);
    let identity = json!({"master_key": {"keys": {}}});
    test.client
        .upload_cross_signing(&actor(), &identity)
        .await
        .unwrap();
    let signatures = upload_signatures::v3::Request::new([].into());
    test.client
        .upload_signatures(&actor(), &signatures)
        .await
        .unwrap();
    let error = test.client.upload_keys(&actor(), &nothing).await;
    assert_eq!(error.unwrap_err().errcode(), Some("M_UNRECOGNIZED"));

    let path = "POST /_matrix/client/v3/keys";
    assert_eq!(
        test.lines()[..3],
        [
            format!("{path}/upload?{ACTING}"),
            format!("{path}/device_signing/upload?{ACTING}"),
            format!("{path}/signatures/upload?{ACTING}"),
        ]
    );
    // Without `device_keys`: an empty one would replace those that are there.
    assert_eq!(
        test.body(0),
        json!({"one_time_keys": {}, "fallback_keys": {}})
    );
    assert_eq!(test.body(1), identity);
    assert_eq!(test.body(2), json!({}));
}

#[tokio::test]
async fn others_keys_are_asked_for_and_claimed() {
    let bob = user_id!("@bob:y");
    let test = Test::new([
        says(
            200,
            &json!({"device_keys": {bob.as_str(): {}}, "failures": {}}),
        ),
        says(200, &json!({"one_time_keys": {}, "failures": {"z": {}}})),
        says(200, &json!({"device_keys": 3})),
    ])
    .await;
    let users = [(bob.to_owned(), Vec::new())].into();
    let answer = test.client.query_keys(&actor(), &users).await.unwrap();
    assert!(answer.device_keys.contains_key(bob));
    let wanted = [(
        bob.to_owned(),
        [(
            device_id!("B").to_owned(),
            OneTimeKeyAlgorithm::SignedCurve25519,
        )]
        .into(),
    )];
    let claim = claim_keys::v3::Request::new(wanted.into());
    test.client.claim_keys(&actor(), &claim).await.unwrap();
    let nonsense = test.client.query_keys(&actor(), &users).await;
    assert!(matches!(nonsense, Err(Error::Answer(_))), "{nonsense:?}");

    assert_eq!(
        test.body(0),
        json!({"device_keys": {"@bob:y": []}, "timeout": 10_000})
    );
    assert_eq!(
        test.body(1),
        json!({"one_time_keys": {"@bob:y": {"B": "signed_curve25519"}}, "timeout": 10_000})
    );
    let lines = test.lines();
    assert!(lines[0].starts_with("POST /_matrix/client/v3/keys/query?user_id="));
    assert!(lines[1].starts_with("POST /_matrix/client/v3/keys/claim?user_id="));
}

/// Synapse passes what another server says of its users on as it is.
#[tokio::test]
async fn one_server_does_not_spoil_what_others_say() {
    let (bob, mallory) = (user_id!("@bob:y"), user_id!("@mallory:z"));
    let key = json!({"key": "x", "signatures": {}});
    let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
    let deep: Box<serde_json::value::RawValue> = serde_json::from_str(&deep).unwrap();
    let odd = [
        "[]",
        "3",
        "null",
        r#""x""#,
        r#"{"DEV":[]}"#,
        r#"{"DEV":{"nocolon":{}}}"#,
        r#"{"\ud800":{}}"#,
        deep.get(),
    ];
    let mut answers = Vec::new();
    for odd in odd {
        let good = json!({"BOB": {"signed_curve25519:AA": key}});
        let text = format!(
            r#"{{"one_time_keys":{{"@bob:y":{good},"@mallory:z":{odd},"mallory":{odd}}},"failures":{{"z":{odd}}}}}"#
        );
        answers.push(reply(200, text));
        let good = json!({"BOB": {"user_id": "@bob:y"}});
        let text = format!(
            r#"{{"device_keys":{{"@bob:y":{good},"@mallory:z":{odd},"@trudy:z":{{}},"@all:w":{odd}}},"master_keys":{{"@bob:y":{key},"m":{odd}}},"failures":{{"z":{odd}}}}}"#
        );
        answers.push(reply(200, text));
        let text = format!(
            r#"{{"next_batch":"s","device_lists":{{"changed":[{odd},"@bob:y","mallory:z"],"left":[{odd}]}},"to_device":{{"events":[{odd}]}}}}"#
        );
        answers.push(reply(200, text));
    }
    let test = Test::new(answers).await;
    let nobody = claim_keys::v3::Request::new([].into());
    for odd in odd {
        let claimed = test.client.claim_keys(&actor(), &nobody).await.unwrap();
        assert_eq!(claimed.one_time_keys[bob].len(), 1, "{odd}");
        let mallorys = claimed.one_time_keys.get(mallory);
        let mut mallorys = mallorys.into_iter().flat_map(|devices| devices.values());
        assert!(mallorys.all(std::collections::BTreeMap::is_empty), "{odd}");
        assert!(claimed.failures.contains_key("z"));
        let none = std::collections::BTreeMap::new();
        let queried = test.client.query_keys(&actor(), &none).await.unwrap();
        assert_eq!(queried.device_keys[bob].len(), 1, "{odd}");
        // Whoever is not named counts as one who was not asked about.
        let mallorys = queried.device_keys.get(mallory);
        let nothing = mallorys.is_some_and(|devices| devices.len() <= 1);
        assert!(nothing, "{odd}");
        // Of all of whose server nonsense is said nothing new is known; it is asked again, later.
        let is_map = odd.starts_with(r#"{"DEV""#);
        let all = user_id!("@all:w");
        assert_eq!(queried.device_keys.contains_key(all), is_map, "{odd}");
        assert_eq!(queried.failures.contains_key("w"), !is_map, "{odd}");
        assert!(queried.master_keys.keys().eq([bob]), "{odd}");
        assert!(queried.failures.contains_key("z"));
        let synced = test.client.sync_device(&actor(), None).await.unwrap();
        assert_eq!(synced.device_lists.changed, [bob], "{odd}");
        assert!(synced.device_lists.left.is_empty(), "{odd}");
    }
}

#[tokio::test]
async fn a_message_to_a_device_keeps_its_id() {
    let test = Test::new([reply(500, ""), says(200, &json!({}))]).await;
    let messages = json!({"@bob:y": {"B": {"a": 1}}});
    test.client
        .send_to_device(&actor(), "m.room.encrypted", "t/1", &messages)
        .await
        .unwrap();
    let line = format!("PUT /_matrix/client/v3/sendToDevice/m.room.encrypted/t%2F1?{ACTING}");
    assert_eq!(test.lines(), [line.clone(), line]);
    assert_eq!(test.body(1), json!({"messages": messages}));
}

#[tokio::test]
async fn a_device_syncs_without_rooms_and_unseen() {
    let test = Test::new([
        says(
            200,
            &json!({
                "next_batch": "s2",
                "to_device": {"events": [{"type": "m.dummy", "sender": "@bob:y", "content": {}}]},
                "device_lists": {"changed": ["@bob:y"]},
                "device_one_time_keys_count": {"signed_curve25519": 7},
                "org.matrix.msc2732.device_unused_fallback_key_types": ["signed_curve25519"],
            }),
        ),
        says(200, &json!({"next_batch": "s3"})),
        says(200, &json!({})),
    ])
    .await;
    let first = test.client.sync_device(&actor(), None).await.unwrap();
    assert_eq!(first.next_batch, "s2");
    assert_eq!(first.to_device.events.len(), 1);
    assert_eq!(first.device_lists.changed, [user_id!("@bob:y")]);
    assert_eq!(
        first.device_unused_fallback_key_types,
        Some(vec![OneTimeKeyAlgorithm::SignedCurve25519])
    );
    let second = test.client.sync_device(&actor(), Some("s2")).await.unwrap();
    // Not told is not the same as none left.
    assert_eq!(second.device_unused_fallback_key_types, None);
    assert!(second.to_device.events.is_empty());
    assert!(test.client.sync_device(&actor(), None).await.is_err());

    let lines = test.lines();
    assert!(lines[0].contains("set_presence=offline&timeout=0&filter="));
    assert!(lines[0].contains("rooms%22%3A%5B%5D"), "{}", lines[0]);
    assert!(!lines[0].contains("since="));
    assert!(lines[1].contains("since=s2"));
    assert!(lines[1].ends_with(ACTING));
}
