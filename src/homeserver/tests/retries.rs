//! What is tried again, how long is waited, and what is final.

use super::*;
use crate::homeserver::Class;

#[tokio::test]
async fn send_is_one_exact_request() {
    let test = Test::new([sent()]).await;
    assert_eq!(test.send().await.unwrap(), "$e");
    let seen = test.script.seen.lock().unwrap();
    assert_eq!(
        seen[0].line,
        format!("PUT /_matrix/client/v3/rooms/%21r%2Fo%3Ax/send/m.room.message/t%2F1?{ACTING}")
    );
    assert_eq!(seen[0].authorization.as_deref(), Some("Bearer as_secret"));
    assert_eq!(seen[0].body, r#"{"body":"é  ","msgtype":"m.text"}"#);
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let slow = Reply {
        slow: Duration::from_secs(5),
        ..sent()
    };
    let replies = [
        reply(502, "<html>Bad Gateway</html>"),
        broken(),
        slow,
        sent(),
    ];
    let test = Test::impatient(Duration::from_secs(1), replies).await;
    assert_eq!(test.send().await.unwrap(), "$e");
    let lines = test.lines();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| *line == lines[0]));
    // Pauses of 100 to 200, 200 to 400 and 400 to 800 ms, and whatever the tries took.
    assert!((700..=1400).contains(&test.waited()), "{}", test.waited());
}

#[tokio::test]
async fn tries_end() {
    let test = Test::new((0..9).map(|_| reply(503, ""))).await;
    let error = test.send().await.unwrap_err();
    assert_eq!(error.class(), Class::Retry);
    assert_eq!(
        error.to_string(),
        "the homeserver does not answer (503 M_UNKNOWN)"
    );
    assert_eq!(test.tries(), 4);
}

#[tokio::test]
async fn nobody_there() {
    let test = Test::at("http://127.0.0.1:9", Script::default(), PATIENCE);
    let error = test.send().await.unwrap_err();
    assert!(
        matches!(&error, Error::Retry { reason, after: None } if reason == "cannot connect"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_rate_limit_is_waited_out() {
    let by_body = json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 7000});
    let mut by_header = reply(429, "slow down");
    by_header.headers.push(("retry-after", "5".to_owned()));
    let test = Test::new([says(429, &by_body), by_header, sent()]).await;
    test.send().await.unwrap();
    assert_eq!(test.waited(), 12_000);
}

#[tokio::test]
async fn a_long_rate_limit_is_handed_on() {
    let mut far = reply(429, "");
    let date = "Tue, 14 Nov 2023 22:23:20 GMT"; // ten minutes after START
    far.headers.push(("retry-after", date.to_owned()));
    let test = Test::new([far]).await;
    let error = test.send().await.unwrap_err();
    assert!(
        matches!(error, Error::Retry { after: Some(after), .. } if after.as_secs() == 600),
        "{error:?}"
    );
    assert_eq!((test.tries(), test.waited()), (1, 0));
}

#[tokio::test]
async fn refusals_are_final() {
    let test = Test::new([
        refuses(403, "M_FORBIDDEN"),
        refuses(401, "M_UNKNOWN_TOKEN"),
        reply(413, "<html>too big</html>"),
    ])
    .await;
    let error = test.send().await.unwrap_err();
    assert_eq!(
        (error.status(), error.errcode(), error.class()),
        (Some(403), Some("M_FORBIDDEN"), Class::GiveUp)
    );
    let error = test.send().await.unwrap_err();
    // Final here, but not for a message: the admin mends it, and then it goes through.
    assert_eq!(error.class(), Class::Retry);
    assert!(error.to_string().contains("registration file"), "{error}");
    let error = test.send().await.unwrap_err();
    assert_eq!(
        (error.status(), error.errcode()),
        (Some(413), Some("M_UNKNOWN"))
    );
    assert_eq!(test.tries(), 3);
}

#[tokio::test]
async fn what_speaks_no_matrix_is_not_the_homeserver() {
    for (status, body) in [(302, ""), (404, "<html>no such page</html>"), (405, "")] {
        let test = Test::new([reply(status, body), sent()]).await;
        assert!(test.send().await.is_ok(), "{status}");
    }
}

#[tokio::test]
async fn nonsense_is_said_to_be_nonsense() {
    let test = Test::new([
        reply(200, "{"),
        says(200, &json!([])),
        says(200, &json!({"event_id": "no sigil"})),
        refuses(503, "@alice:x is not a code"),
    ])
    .await;
    for _ in 0..3 {
        assert!(matches!(test.send().await, Err(Error::Answer(_))));
    }
    test.script
        .replies
        .lock()
        .unwrap()
        .extend((0..3).map(|_| refuses(503, "@alice:x is not a code")));
    let error = test.send().await.unwrap_err();
    assert!(!format!("{error:?}").contains("alice"));
}
