//! Plants leaks and shows that the audit finds each.

use std::path::{Path, PathBuf};

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXUPPER};
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    testkit::{
        audit::{Evidence, Needle, Report, audit, linkage},
        client::picture,
    },
    verdict,
};

const USER: &str = "@melisande.k:127.0.0.9:8448";
const NAME: &str = "Mélisande \"Mel\" Ōkami";

/// A server's disk with some innocent things on it.
struct Disk {
    directory: tempfile::TempDir,
    connection: SqliteConnection,
}

impl Disk {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(directory.path().join("homeserver.db"))
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        for sql in [
            "CREATE TABLE event_json (event_id TEXT, json TEXT)",
            "CREATE TABLE presence_stream (stream_id BIGINT, user_id TEXT, state TEXT)",
            "CREATE TABLE \"odd \"\" name\" (\"a column\" BYTEA)",
            "CREATE VIRTUAL TABLE event_search USING fts4 (event_id, value)",
            "INSERT INTO event_json VALUES ('$one', '{\"sender\":\"@someone:else\",\"content\":{\"body\":\"hello\"}}')",
            "INSERT INTO presence_stream VALUES (1, '@someone:else', 'online')",
        ] {
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
        std::fs::create_dir_all(directory.path().join("media/local")).unwrap();
        std::fs::write(
            directory.path().join("media/local/one"),
            b"an innocent file",
        )
        .unwrap();
        std::fs::write(
            directory.path().join("homeserver.log"),
            "line one\nline two\n",
        )
        .unwrap();
        Self {
            directory,
            connection,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn run(&mut self, sql: &'static str, value: impl Into<Vec<u8>>, text: bool) {
        let value = value.into();
        let query = sqlx::query(sql);
        let query = if text {
            query.bind(String::from_utf8(value).unwrap())
        } else {
            query.bind(value)
        };
        query.execute(&mut self.connection).await.unwrap();
    }

    async fn audit(&self) -> Report {
        let mut needles = Needle::user("MXID", USER);
        needles.push(Needle::text("display name", NAME));
        needles.push(Needle::file("avatar", "avatar.png", &picture("mel")));
        needles.extend(Needle::id("portal", "!qwErTzuIopAsdFghJk:127.0.0.9:8448"));
        needles.push(Needle::text("short name", "mel.k"));
        audit(&evidence(self.directory.path()), &needles)
            .await
            .unwrap()
    }
}

fn evidence(directory: &Path) -> Evidence {
    Evidence {
        databases: vec![directory.join("homeserver.db")],
        directories: vec![directory.join("media")],
        logs: vec![directory.join("homeserver.log")],
    }
}

fn percent_throughout(text: &str) -> String {
    let hex = HEXUPPER.encode(text.as_bytes());
    let pairs: Vec<&str> = (0..hex.len())
        .step_by(2)
        .map(|at| &hex[at..at + 2])
        .collect();
    format!("%{}", pairs.join("%"))
}

fn found(report: &Report, place: &str, kind: &str) -> bool {
    report
        .findings
        .iter()
        .any(|one| one.place.contains(place) && one.kind.starts_with(kind))
}

#[tokio::test]
async fn an_innocent_disk_is_clean() {
    let report = Disk::new().await.audit().await;
    report.assert_clean();
    assert!(
        report.searched.tables >= 4 && report.searched.cells >= 5 && report.searched.files >= 3,
        "{report}"
    );
}

#[tokio::test]
async fn an_empty_search_is_not_clean() {
    assert!(!Report::default().is_clean());
    assert!(audit(&evidence(Path::new("/nowhere")), &[]).await.is_err());
}

#[tokio::test]
async fn the_demo_fails_over_a_planted_leak() {
    let clean = || async { Disk::new().await.audit().await };
    let mut disk = Disk::new().await;
    disk.run("INSERT INTO event_json VALUES ('$x', ?)", USER, true)
        .await;
    let leaking = disk.audit().await;
    let status = |reports| verdict::status(&Ok(reports));
    assert_eq!(status(vec![clean().await, clean().await]), 0);
    assert_eq!(status(vec![clean().await, leaking]), 1);
    assert_eq!(status(vec![Report::default()]), 1, "nothing was searched");
    assert_eq!(status(Vec::new()), 1);
    assert_eq!(verdict::status(&Err(anyhow::anyhow!("interrupted"))), 1);
}

#[tokio::test]
async fn finds_plain_text_in_every_place() {
    let mut disk = Disk::new().await;
    disk.run(
        "INSERT INTO presence_stream VALUES (2, ?, 'online')",
        USER,
        true,
    )
    .await;
    disk.run("INSERT INTO \"odd \"\" name\" VALUES (?)", USER, false)
        .await;
    disk.run(
        "INSERT INTO event_search VALUES ('$x', ?)",
        format!("said {USER} again"),
        true,
    )
    .await;
    std::fs::write(
        disk.path("media/local/two"),
        [b"\0\xff".as_slice(), USER.as_bytes()].concat(),
    )
    .unwrap();
    std::fs::write(disk.path("media/local/melisande.k.png"), "").unwrap();
    std::fs::write(
        disk.path("homeserver.log"),
        format!("one\ntwo\n3 {USER} x\n"),
    )
    .unwrap();
    let report = disk.audit().await;
    for place in [
        "presence_stream.user_id (row 2)",
        "odd \" name.a column",
        "event_search_content.",
        "media/local/two (byte 2)",
        "the name of",
        "homeserver.log:3",
        "homeserver.db-wal",
    ] {
        assert!(
            found(&report, place, "MXID"),
            "nothing found in {place}\n{report}"
        );
    }
}

#[tokio::test]
async fn finds_every_encoding() {
    let inside = |encoding: &data_encoding::Encoding, before: &str| {
        encoding.encode(format!("{before}{USER}!").as_bytes())
    };
    let planted = [
        USER.to_uppercase(),
        HEXUPPER.encode(USER.as_bytes()),
        inside(&BASE64_NOPAD, ""),
        inside(&BASE64_NOPAD, "a"),
        inside(&BASE64_NOPAD, "ab"),
        inside(&BASE64URL_NOPAD, "abc?>"),
        inside(&data_encoding::BASE32_NOPAD, "abc").to_lowercase(),
        "%40melisande.k%3A127.0.0.9%3A8448".to_owned(),
        "@melisande.k%3a127.0.0.9%3a8448".to_owned(),
        "%2540melisande.k%253A127.0.0.9%253A8448".to_owned(),
        percent_throughout(USER),
        NAME.to_lowercase(),
        serde_json::json!({ "displayname": NAME }).to_string(),
        "{\"displayname\":\"M\\u00e9lisande \\\"Mel\\\" \\u014ckami\"}".to_owned(),
        serde_json::json!(serde_json::json!({ "displayname": NAME }).to_string()).to_string(),
        "M%C3%A9lisande+%22Mel%22+%C5%8Ckami".to_owned(),
        "b'M\\xc3\\xa9lisande \"Mel\" \\xc5\\x8ckami'".to_owned(),
        "M\u{e9}lisande &quot;Mel&quot; Ōkami".to_owned(),
        "qwErTzuIopAsdFghJk".to_owned(),
        "(mel.k)".to_owned(),
    ];
    for (number, text) in planted.iter().enumerate() {
        let mut disk = Disk::new().await;
        disk.run(
            "INSERT INTO event_json VALUES ('$planted', ?)",
            text.as_str(),
            true,
        )
        .await;
        let report = disk.audit().await;
        assert!(
            found(&report, "event_json.json (row 2)", ""),
            "planted {number}: {text}\n{report}"
        );
    }
}

#[tokio::test]
async fn a_short_needle_is_a_whole_word() {
    let mut disk = Disk::new().await;
    disk.run(
        "INSERT INTO event_json VALUES ('$x', ?)",
        "9mel.k caramel.kart",
        true,
    )
    .await;
    disk.audit().await.assert_clean();
}

#[tokio::test]
async fn finds_a_file_and_its_hash() {
    use sha2::Digest as _;
    let disk = Disk::new().await;
    std::fs::write(disk.path("media/local/copy"), picture("mel")).unwrap();
    let digest = sha2::Sha256::digest(picture("mel"));
    std::fs::write(
        disk.path("homeserver.log"),
        format!("sha256={}\n", HEXUPPER.encode(&digest)),
    )
    .unwrap();
    let report = disk.audit().await;
    assert!(found(&report, "media/local/copy", "avatar"), "{report}");
    assert!(found(&report, "homeserver.log:1", "avatar"), "{report}");
    // Another user's picture, of the same format, is another file.
    std::fs::write(disk.path("media/local/copy"), picture("another")).unwrap();
    std::fs::write(disk.path("homeserver.log"), "").unwrap();
    disk.audit().await.assert_clean();
}

#[tokio::test]
async fn finds_what_was_deleted_but_not_erased() {
    let mut disk = Disk::new().await;
    disk.run("INSERT INTO event_json VALUES ('$x', ?)", USER, true)
        .await;
    disk.run("DELETE FROM event_json WHERE json = ?", USER, true)
        .await;
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut disk.connection)
        .await
        .unwrap();
    assert_eq!(row.get::<i64, _>(0), 0);
    let report = disk.audit().await;
    assert!(found(&report, "homeserver.db (byte", "MXID"), "{report}");
    assert!(!found(&report, "event_json", "MXID"), "{report}");
}

#[tokio::test]
async fn linkage_finds_what_only_two_ghosts_share() {
    let mut disk = Disk::new().await;
    let insert = "INSERT INTO event_json VALUES ('$x', ?)";
    let (one, two, three) = ("@_vizard_one1:a", "@_vizard_two2:a", "@_vizard_three3:a");
    for (sender, shared) in [
        (one, "DEVICEXYZ"),
        (two, "DEVICEXYZ"),
        (three, "OTHERDEVICE"),
    ] {
        let json = format!(
            r#"{{"sender":"{sender}","room":"room of {sender}","common":"m.room.member","keys":{{"ed25519:{shared}":1}}}}"#
        );
        disk.run(insert, json, true).await;
    }
    let links = linkage(&disk.path("homeserver.db"), &[one, two])
        .await
        .unwrap();
    let values: Vec<&str> = links.iter().map(|link| link.value.as_str()).collect();
    assert_eq!(values, ["ed25519:DEVICEXYZ"], "{links:?}");
    // Once a third has it, it says nothing about the two.
    disk.run(
        insert,
        r#"{"sender":"@x:b","key":"ed25519:DEVICEXYZ"}"#,
        true,
    )
    .await;
    assert_eq!(
        linkage(&disk.path("homeserver.db"), &[one, two])
            .await
            .unwrap(),
        []
    );
    disk.run(insert, format!("{one} moved with {two}"), true)
        .await;
    let links = linkage(&disk.path("homeserver.db"), &[one, two])
        .await
        .unwrap();
    assert!(
        links.iter().any(|link| link.places == ["event_json"]),
        "{links:?}"
    );
}
