//! Files go through a running Vizard without its memory growing with them. The process of its own is measured from
//! outside, between a small file and a large one.

#[path = "../testkit/fake/mod.rs"]
mod fake;

use std::{
    io::Read as _,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use fake::{Config, Fake, world::World};
use matrix_sdk_crypto::{AttachmentEncryptor, MediaEncryptionInfo};
use ruma::events::room::EncryptedFile;
use serde_json::{Value, json};

const ALICE: &str = "@alice:a.example";
const BOB: &str = "@bob:b.example";
const BOT: &str = "@vizard:a.example";

const MIB: usize = 1 << 20;
/// How large the film is.
const LARGE: usize = 200 * MIB;
/// How much the process may grow for it.
const MOST_KIB: u64 = 16 * 1024;

/// Written where a film says where it was made.
const PLACE: &[u8] = b"+52.5200+013.4050/";

struct Vizard(Child);

impl Drop for Vizard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Vizard {
    fn start(dir: &Path, fake: &Fake) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = free.local_addr().unwrap();
        drop(free);
        let program = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_vizard"));
            command
                .env("VIZARD__ENCRYPTION__ENABLED", "false")
                .env("VIZARD__MEDIA__MAX_SIZE", "300")
                .env("VIZARD__ACCESS__MEDIA_MIB_PER_DAY", "10000");
            command
        };
        let made = program()
            .args(["init", "--server-name", "a.example", "--dir"])
            .arg(dir)
            .args(["--homeserver-url", fake.url()])
            .args(["--listen", &listen.to_string()])
            .args(["--appservice-url", &format!("http://{listen}")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let config = fake.config();
        std::fs::write(dir.join("as_token"), &config.as_token).unwrap();
        std::fs::write(dir.join("hs_token"), &config.hs_token).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let child = program()
            .args(["run", "--config"])
            .arg(dir.join("vizard.toml"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        fake.set_appservice(Some(&format!("http://{listen}")));
        Self(child)
    }

    /// The most memory that it ever had.
    fn peak_kib(&self) -> u64 {
        peak_kib(self.0.id())
    }
}

fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

fn part(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len() + 8).unwrap().to_be_bytes();
    [&length, kind, data].concat()
}

/// A film with a picture track and its place, of about so many bytes.
fn film(size: usize) -> Vec<u8> {
    let hdlr = part(b"hdlr", &[&[0; 8][..], b"vide", &[0; 12]].concat());
    let track = part(b"trak", &part(b"mdia", &hdlr));
    let place = part(b"udta", &part(b"\xa9xyz", PLACE));
    let moov = part(b"moov", &[part(b"mvhd", &[1; 100]), track, place].concat());
    let data: Vec<u8> = (0..251).cycle().take(size).collect();
    [part(b"ftyp", b"isom\0\0\0\0"), moov, part(b"mdat", &data)].concat()
}

fn encrypted(plain: &[u8]) -> (Vec<u8>, MediaEncryptionInfo) {
    let mut from = plain;
    let mut encryptor = AttachmentEncryptor::new(&mut from);
    let mut hidden = Vec::with_capacity(plain.len());
    encryptor.read_to_end(&mut hidden).unwrap();
    (hidden, encryptor.finish())
}

/// A room with a portal, seen from the homeserver.
struct Stage {
    fake: Fake,
    room: String,
    portal: String,
    sent: u32,
}

impl Stage {
    async fn set(fake: Fake) -> Self {
        fake.user(ALICE, "Alice");
        fake.user(BOB, "Bob");
        let room = json!({"preset": "public_chat", "name": "Tearoom"});
        let room = fake.create_room(BOB, &room).unwrap().to_string();
        let chat = json!({"preset": "trusted_private_chat", "is_direct": true, "invite": [BOT]});
        let chat = fake.create_room(ALICE, &chat).unwrap().to_string();
        fake.until("the bot comes", |world| {
            world.rooms[&chat].membership(BOT) == "join"
        })
        .await;
        let join = format!("join {room} b.example");
        fake.text(ALICE, &chat, &join).unwrap();
        fake.until("there is a portal", |world| portal(world).is_some())
            .await;
        let portal = fake.look(|world| portal(world).unwrap());
        fake.join(ALICE, &portal).unwrap();
        Self {
            fake,
            room,
            portal,
            sent: 0,
        }
    }

    /// Sends a file from the portal and returns what arrives in the room, which is forgotten.
    async fn relay(&mut self, file: Vec<u8>, key: Option<MediaEncryptionInfo>) -> Vec<u8> {
        self.sent += 1;
        let mxc = format!("mxc://a.example/file{}", self.sent);
        self.fake.put_media(&mxc, file, "application/octet-stream");
        let mut content = json!({"msgtype": "m.video", "body": "film.mp4"});
        match key {
            Some(key) => {
                let url = mxc.as_str().into();
                let file = EncryptedFile::new(url, key.encryption_info, key.hashes);
                content["file"] = serde_json::to_value(file).unwrap();
            }
            None => content["url"] = json!(mxc),
        }
        self.fake.say(ALICE, &self.portal, content).unwrap();
        let found = |world: &World| {
            let events = &world.rooms[&self.room].events;
            let files: Vec<String> = events
                .iter()
                .filter_map(|event| {
                    let content: &Value = &event["content"];
                    Some(content["url"].as_str()?.to_owned())
                })
                .collect();
            files.get(self.sent as usize - 1).cloned()
        };
        let limit = Duration::from_mins(4);
        let wait = async {
            while self.fake.look(found).is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(limit, wait).await;
        let heard = || -> Vec<Value> {
            let events = self.fake.events(&self.portal);
            let last = events.iter().rev().take(3);
            last.map(|event| event["content"]["body"].clone()).collect()
        };
        assert!(waited.is_ok(), "nothing arrives: {:?}", heard());
        let copy = self.fake.look(found).unwrap();
        let bytes = self
            .fake
            .look(|world| world.media[&copy].clone())
            .unwrap()
            .0;
        self.fake.put_media(&mxc, Vec::new(), "");
        self.fake.put_media(&copy, Vec::new(), "");
        bytes
    }
}

fn portal(world: &World) -> Option<String> {
    let mut found = world.rooms.iter().filter(|(_, room)| {
        room.membership(ALICE) != "leave"
            && room.joined().any(|user| user.starts_with("@_vizard_p_"))
    });
    found.next().map(|(id, _)| id.clone())
}

fn has(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// What a process takes is seen, by this process.
fn the_measure_measures() {
    let before = peak_kib(std::process::id());
    let held = std::hint::black_box(vec![1_u8; 64 * MIB]);
    let grown = peak_kib(std::process::id()) - before;
    assert!(grown > 60 * 1024 && held.len() == 64 * MIB, "{grown} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_a_film() {
    the_measure_measures();
    let fake = Fake::start(Config {
        as_token: "as_token_of_more_than_thirty-two_characters".into(),
        hs_token: "hs_token_of_more_than_thirty-two_characters".into(),
        ..Config::default()
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("vizard");
    let vizard = Vizard::start(&home, &fake);
    let mut stage = Stage::set(fake).await;

    // All that a file needs, whatever its size, is in memory afterwards.
    for _ in 0..2 {
        let plain = film(4 * MIB);
        let (hidden, key) = encrypted(&plain);
        for (file, key) in [(plain.clone(), None), (hidden, Some(key))] {
            let copy = stage.relay(file, key).await;
            assert!(has(&plain, PLACE) && !has(&copy, PLACE));
        }
    }
    let before = vizard.peak_kib();

    let plain = film(LARGE);
    let (hidden, key) = encrypted(&plain);
    let copies = [
        stage.relay(plain.clone(), None).await,
        stage.relay(hidden, Some(key)).await,
    ];
    for copy in &copies {
        assert!(copy.len() > LARGE && copy.len() < plain.len() + 1000);
        let end = plain.len() - LARGE..plain.len();
        assert!(copy[end.clone()] == plain[end], "the film is another");
    }
    assert!(copies[0] != copies[1], "two copies are the same");
    let grown = vizard.peak_kib().saturating_sub(before);
    println!("{before} KiB, and {grown} KiB more for {} MiB", LARGE / MIB);
    assert!(grown < MOST_KIB, "memory grew by {grown} KiB");
    // Nothing is left of them.
    let left: Vec<_> = std::fs::read_dir(&home)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.metadata().unwrap().len() > 100 * MIB as u64)
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
