//! Films with a thumbnail, voice messages and papers between two encrypted sides. Pictures are in `encrypted`.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    encrypted::Veiled,
    files::{film, paper, photo},
    testkit::e2ee::{E2eeClient, Report},
    world::PATIENCE,
};

/// What each of them says of whoever made it.
const PLANTED: &str = "+51.7520-001.2577/ Alice";

/// Sends one of each and looks at what arrives.
pub async fn of_all_kinds(alice: &Veiled, bob: &E2eeClient, room: &str) -> Result<()> {
    one_of_each(&alice.user, &alice.portal, bob, room).await?;
    one_of_each(bob, room, &alice.user, &alice.portal).await
}

async fn one_of_each(from: &E2eeClient, here: &str, to: &E2eeClient, there: &str) -> Result<()> {
    let video = json!({
        "msgtype": "m.video", "body": "me at home.mp4",
        "info": {"mimetype": "video/mp4", "w": 640, "h": 480, "duration": 1000,
            "thumbnail_info": {"mimetype": "image/jpeg", "w": 64, "h": 48},
            "thumbnail_file": from.upload_encrypted(&photo(PLANTED)).await?},
    });
    let shown = arrives(from, here, video, &film(PLANTED), to, there).await?;
    ensure!(shown.body() == "video.mp4", "its name: {}", shown.body());
    let info = &shown.content["info"];
    ensure!(
        info["thumbnail_file"].is_object() && info["thumbnail_url"].is_null(),
        "the thumbnail: {info:#}"
    );
    let small = to.thumbnail_of(&shown.event_id).await?;
    ensure!(small.starts_with(&[0xff, 0xd8]), "no thumbnail");
    is_clean(&small)?;
    ensure!(info["thumbnail_file"]["url"] != shown.content["file"]["url"]);

    let voice = json!({
        "msgtype": "m.audio", "body": "Voice message",
        "info": {"mimetype": "audio/mp4", "duration": 1000},
        "org.matrix.msc3245.voice": {},
        "org.matrix.msc1767.audio": {"duration": 1000, "waveform": [1, 2, 3]},
    });
    let shown = arrives(from, here, voice, &film(PLANTED), to, there).await?;
    ensure!(
        shown.content["org.matrix.msc3245.voice"].is_object()
            && shown.content["org.matrix.msc1767.audio"]["waveform"] == json!([1, 2, 3]),
        "no voice message: {shown:#?}"
    );

    let paper = paper(PLANTED)?;
    let content = json!({"msgtype": "m.file", "body": "me at home.pdf", "info": {"mimetype": "application/pdf"}});
    let shown = arrives(from, here, content, &paper, to, there).await?;
    ensure!(shown.body() == "file.pdf", "its name: {}", shown.body());
    Ok(())
}

/// A file of a kind arrives encrypted, from a device that is trusted, and says nothing of who made it.
async fn arrives(
    from: &E2eeClient,
    here: &str,
    content: Value,
    bytes: &[u8],
    to: &E2eeClient,
    there: &str,
) -> Result<Report> {
    let kind = content["msgtype"].clone();
    let sent = from.send_file(here, content, bytes).await?;
    let of_others =
        |one: &Report| one.room == there && one.sender != to.id() && one.content["msgtype"] == kind;
    let shown = to
        .wait_for(&format!("{kind}"), of_others, PATIENCE)
        .await
        .with_context(|| format!("{sent} does not arrive"))?;
    shown.assert_trusted();
    ensure!(
        shown.content["file"].is_object() && shown.content["url"].is_null(),
        "not encrypted: {shown:#?}"
    );
    let bytes = to.file_of(&shown.event_id).await?;
    ensure!(!bytes.is_empty(), "an empty file");
    is_clean(&bytes)?;
    Ok(shown)
}

fn is_clean(bytes: &[u8]) -> Result<()> {
    let found = bytes
        .windows(PLANTED.len())
        .any(|part| part == PLANTED.as_bytes());
    ensure!(!found, "a file says where it was made");
    Ok(())
}
