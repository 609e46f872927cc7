//! Files that are sent and received without being held in memory.

use std::io::{Read as _, Write as _};

use ruma::mxc_uri;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{homeserver::Class, spool::Spool};

fn spool() -> (tempfile::TempDir, Spool) {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::new(directory.path().to_owned(), Rng::seeded(2));
    (directory, spool)
}

#[tokio::test]
async fn an_upload_says_its_length_and_begins_anew_when_it_fails() {
    let (_directory, spool) = spool();
    let test = Test::new([reply(502, ""), broken(), says(200, &json!({}))]).await;
    let sent = "0123456789".repeat(100_000);
    let mut file = spool.create();
    file.write_all(sent.as_bytes()).unwrap();
    let file = file.finish().unwrap();
    let mxc = mxc_uri!("mxc://x/abc");
    test.client
        .upload_file(&actor(), mxc, file, "image/png")
        .await
        .unwrap();
    let seen = test.script.seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    for request in &*seen {
        assert!(request.body == sent);
        assert_eq!(request.length.as_deref(), Some("1000000"));
    }
}

#[tokio::test]
async fn a_download_begins_anew_when_it_fails() {
    let (_directory, spool) = spool();
    let torn = [Ok(vec![1; 400_000]), Err(std::io::Error::other("torn"))];
    let torn = Body::from_stream(futures_util::stream::iter(torn));
    let test = Test::new([reply(200, torn), reply(200, vec![7; 500_000])]).await;
    let mxc = mxc_uri!("mxc://x/abc");
    let file = test
        .client
        .download_file(&actor(), mxc, 500_000, &spool)
        .await
        .unwrap();
    let mut all = Vec::new();
    file.reader().read_to_end(&mut all).unwrap();
    assert!(all == vec![7; 500_000]);
}

#[tokio::test]
async fn a_length_that_is_a_lie() {
    let (_directory, spool) = spool();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    // More than is allowed; more than comes; less than comes.
    let answers = ["10000000", "600000", "300000", "300000", "300000", "300000"];
    let server = tokio::spawn(async move {
        for length in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&vec![7; 400_000]).await;
        }
    });
    let test = Test::at(&url, Script::default(), PATIENCE);
    let mxc = mxc_uri!("mxc://x/abc");
    let actor = actor();
    let get = || test.client.download_file(&actor, mxc, 500_000, &spool);
    assert!(matches!(get().await, Err(Error::TooLarge { .. })));
    // 600,000 were announced too.
    assert!(matches!(get().await, Err(Error::TooLarge { .. })));
    let short = get().await.unwrap();
    assert_eq!(short.length(), 300_000);
    server.abort();
    assert_eq!(get().await.unwrap_err().class(), Class::Retry);
}
