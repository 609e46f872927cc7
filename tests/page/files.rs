//! What the cleaning leaves of files of common programs is decoded by a browser as what they were: the same size, the same
//! pixels, the same sound.

use std::{fs, io::Cursor, path::Path};

use data_encoding::BASE64;
use serde_json::{Value, json};
use vizard::{media, rng::Rng};

use crate::testkit::browser::Browser;

/// The seeds of the fuzz target, and as what a page would show them. What this Chromium does not decode itself shows nothing;
/// the rest must not be less than this.
const FILES: [(&str, &str, bool); 12] = [
    ("jpg", "image/jpeg", true),
    ("png", "image/png", true),
    ("webp", "image/webp", true),
    ("gif", "image/gif", true),
    ("avif", "image/avif", true),
    ("heic", "image/heic", false),
    ("mp4", "video/mp4", true),
    ("mov", "video/mp4", true),
    ("mp3", "audio/mpeg", true),
    ("flac", "audio/flac", true),
    ("ogg", "audio/ogg", true),
    ("wav", "audio/wav", true),
];

#[test]
fn cleaned_files_are_decoded_as_what_they_were() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/media");
    let rng = Rng::seeded(1);
    let files: Vec<Value> = FILES
        .iter()
        .map(|(name, mime, _)| {
            let original = fs::read(seeds.join(name)).unwrap();
            let (claimed, mut cleaned) = (media::Kind::claimed(None, None), Vec::new());
            media::strip(&mut Cursor::new(&original), claimed, &rng, &mut cleaned).unwrap();
            assert_ne!(original, cleaned, "{name}");
            let (original, cleaned) = (BASE64.encode(&original), BASE64.encode(&cleaned));
            json!({"type": mime, "original": original, "cleaned": cleaned})
        })
        .collect();
    let browser = Browser::shared().unwrap();
    let report = browser
        .run(include_str!("files.mjs"), json!({ "files": files }))
        .unwrap();
    for ((name, _, decodes), results) in FILES.iter().zip(report.as_array().unwrap()) {
        let [original, cleaned] = [&results[0], &results[1]];
        let decoded = original.get("error").is_none();
        assert!(decoded || !decodes, "{name}: {original}");
        if decoded {
            assert_eq!(original, cleaned, "{name}");
            assert!(shows_something(original), "{name}: {original}");
        }
    }
}

/// Pixels of more than one colour, or sound of some length.
fn shows_something(decoded: &Value) -> bool {
    let colours = |pixels: &Value| pixels["colours"].as_u64().is_some_and(|count| count > 1);
    let frames = decoded["frames"].as_array();
    colours(&decoded["pixels"])
        || frames.is_some_and(|frames| frames.iter().all(colours))
        || decoded["sound"]["samples"]
            .as_u64()
            .is_some_and(|count| count > 1000)
}
