//! Runs the seeds of the fuzz targets for transactions, commands and files, so that they hold without a fuzzer too. (Those of the
//! rewriting run beside it.)

use std::{fs, io::Cursor, path::Path};

use vizard::{
    bot::{parse, whom},
    media,
    portal::JoinTarget,
    rng::Rng,
    worker,
};

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let seeds: Vec<_> = fs::read_dir(directory)
        .expect("the corpus is committed")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            (
                path.display().to_string(),
                fs::read(path).expect("readable"),
            )
        })
        .collect();
    assert!(!seeds.is_empty());
    seeds
}

#[test]
fn transactions() {
    let mut read = 0;
    for (path, bytes) in seeds("transaction") {
        let Some((events, skipped)) = worker::decode(&bytes) else {
            continue;
        };
        assert!(
            events.len() as u64 + skipped <= bytes.len() as u64,
            "{path}"
        );
        for event in events {
            let _ = (
                event.membership(),
                event.previous_membership(),
                event.redacted(),
            );
            read += 1;
        }
    }
    assert!(read > 0, "no seed holds an event");
}

#[test]
fn commands() {
    let mut rooms = 0;
    for (path, bytes) in seeds("command") {
        let text = String::from_utf8(bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
        let _ = parse::line(&text, "!vizard");
        let words = parse::words(&text);
        let _ = parse::join(&words);
        let target = text.strip_prefix("join ").unwrap_or(&text);
        rooms += usize::from(JoinTarget::parse(target).is_ok());
        let _ = (
            whom::user_in(&text),
            whom::read(&text, &[]),
            whom::split(&text),
        );
    }
    assert!(rooms > 1, "no seed names a room");
}

/// Made by common programs, with this word in every place for metadata that they offer.
const PLANTED: &[u8] = b"PLANTED";

#[test]
fn files() {
    for (path, bytes) in seeds("media") {
        let has = |bytes: &[u8]| bytes.windows(PLANTED.len()).any(|window| window == PLANTED);
        assert!(has(&bytes) || path.ends_with("pdf"), "{path}");
        let claimed = media::Kind::claimed(None, None);
        let rng = Rng::seeded(1);
        let copies: Vec<_> = (0..2)
            .map(|_| {
                let mut clean = Vec::new();
                media::strip(&mut Cursor::new(&bytes), claimed, &rng, &mut clean)
                    .unwrap_or_else(|refusal| panic!("{path}: {refusal}"));
                assert!(!has(&clean), "{path}");
                clean
            })
            .collect();
        assert!(copies[0] != copies[1], "{path}: two copies are the same");
    }
}
