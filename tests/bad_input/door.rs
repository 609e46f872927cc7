//! What the listener refuses.

use serde_json::json;

use crate::{events::counted_alone, service::MAX_BODY, world::World};

const TRANSACTION: &str = "/_matrix/app/v1/transactions/1";

#[test]
fn only_the_homeservers_token_in_the_header_opens() {
    let mut world = World::new();
    let before = world.fake.transactions().1;
    let event = json!({"events": [{
        "event_id": "$planted", "room_id": world.room, "sender": "@bob:b.example",
        "type": "m.room.message", "content": {"msgtype": "m.text", "body": "planted"},
    }]});
    for (header, query, status, errcode) in [
        (None, "", 401, "M_UNAUTHORIZED"),
        (None, "?access_token=hs_token", 401, "M_UNAUTHORIZED"),
        (Some("Bearer"), "", 403, "M_FORBIDDEN"),
        (Some("Bearer "), "", 403, "M_FORBIDDEN"),
        (Some("Bearer as_token"), "", 403, "M_FORBIDDEN"),
        (Some("Bearer hs_token2"), "", 403, "M_FORBIDDEN"),
        (Some("Basic hs_token"), "", 403, "M_FORBIDDEN"),
        (Some("hs_token"), "", 403, "M_FORBIDDEN"),
        (
            Some("Bearer wrong"),
            "?access_token=hs_token",
            403,
            "M_FORBIDDEN",
        ),
    ] {
        for path in [
            TRANSACTION,
            "/_matrix/app/v1/ping",
            "/_matrix/app/v1/users/@x:y",
        ] {
            let (got, body) = world.request(|client, url| {
                let url = format!("{url}{path}{query}");
                let request = match path {
                    TRANSACTION => client.put(url).json(&event),
                    "/_matrix/app/v1/ping" => client.post(url).body("{}"),
                    _ => client.get(url),
                };
                match header {
                    Some(header) => request.header("authorization", header),
                    None => request,
                }
            });
            assert_eq!(got, status, "{header:?} {path}{query}");
            assert_eq!(body["errcode"], errcode, "{header:?} {path}{query}");
        }
    }
    let (status, _) = world.request(|client, url| {
        client
            .put(format!("{url}{TRANSACTION}"))
            .header("authorization", &b"Bearer \xff\xfe"[..])
            .json(&event)
    });
    assert_eq!(status, 403);
    assert_eq!(world.fake.transactions().1, before);
    world.goes_on();
    let portal = world.fake.messages(&world.portal);
    assert!(portal.iter().all(|(_, body)| body != "planted"));
}

#[test]
fn unknown_paths_methods_users_and_rooms() {
    let world = World::new();
    for (method, path, status, errcode) in [
        ("GET", "/", 404, "M_NOT_FOUND"),
        ("GET", "/_matrix/app/v1/nothing", 404, "M_NOT_FOUND"),
        (
            "GET",
            "/_matrix/app/v1/users/@_vizard_x:a.example",
            404,
            "M_NOT_FOUND",
        ),
        ("GET", "/_matrix/app/v1/users/%00%ff", 404, "M_NOT_FOUND"),
        (
            "GET",
            "/_matrix/app/v1/rooms/%23x:a.example",
            404,
            "M_NOT_FOUND",
        ),
        ("GET", TRANSACTION, 405, "M_UNRECOGNIZED"),
        ("PUT", "/_matrix/app/v1/ping", 405, "M_UNRECOGNIZED"),
    ] {
        let (got, body) = world.request(|client, url| {
            let url = format!("{url}{path}");
            let request = if method == "GET" {
                client.get(url)
            } else {
                client.put(url)
            };
            request.bearer_auth("hs_token")
        });
        assert_eq!(
            (got, body["errcode"].as_str()),
            (status, Some(errcode)),
            "{method} {path}"
        );
    }
}

#[test]
fn bodies_that_are_no_transactions() {
    let _alone = counted_alone();
    let mut world = World::new();
    // One event that is none.
    let deep = format!(
        "{{\"events\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let bodies: Vec<(Vec<u8>, u16, &str)> = vec![
        (vec![b'x'; MAX_BODY + 1], 413, "M_TOO_LARGE"),
        (Vec::new(), 400, "M_NOT_JSON"),
        (b"{".to_vec(), 400, "M_NOT_JSON"),
        (b"null".to_vec(), 400, "M_NOT_JSON"),
        (b"3".to_vec(), 400, "M_NOT_JSON"),
        (br#"{"events":3}"#.to_vec(), 400, "M_NOT_JSON"),
        (br#"{"events":{}}"#.to_vec(), 400, "M_NOT_JSON"),
        (br#"{"events":null}"#.to_vec(), 400, "M_NOT_JSON"),
        (b"{\"events\":[]}\0".to_vec(), 400, "M_NOT_JSON"),
        (b"{\"events\":[\"\xff\"]}".to_vec(), 400, "M_NOT_JSON"),
        (br#"{"events":[{]}"#.to_vec(), 400, "M_NOT_JSON"),
    ];
    for (body, status, errcode) in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let (got, answer) = world.request(|client, url| {
            client
                .put(format!("{url}{TRANSACTION}"))
                .bearer_auth("hs_token")
                .body(body)
        });
        assert_eq!(
            (got, answer["errcode"].as_str()),
            (status, Some(errcode)),
            "{shown}"
        );
    }
    for body in [
        &deep,
        "{}",
        r#"{"events":[]}"#,
        r#"{"ephemeral":[{}],"x":1}"#,
        r#"{"events":[[],{},3,null,"x",true]}"#,
    ] {
        let (got, _) = world.request(|client, url| {
            client
                .put(format!("{url}{TRANSACTION}"))
                .bearer_auth("hs_token")
                .body(body.to_owned())
        });
        assert_eq!(got, 200, "{body}");
    }
    world.goes_on();
}
