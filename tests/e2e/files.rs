//! Files between two real homeservers: what was written into them stays behind.

use anyhow::{Context as _, Result, ensure};
use lopdf::{Document, Object, dictionary};
use serde_json::{Value, json};

use crate::{
    testkit::client::{Client, picture},
    world::{Masked, sees},
};

/// What cameras and programs write into files: searched for by the leak audit too.
pub const PLANTED: &str = "Alice Liddell 52.5200N";

/// What the file is called at home.
pub const NAME: &str = "IMG_of_alicesecret";

/// What came of the files: `mxc` and bytes.
pub type Copies = Vec<(String, Vec<u8>)>;

/// The same of the other side, whose homeserver may well know it.
const OTHER: &str = "Bob 48.8566N at home";
const OTHER_NAME: &str = "IMG_of_bob";

/// A JPEG with EXIF, an XMP packet and a comment.
/// A JPEG whose EXIF data says `planted`.
pub fn photo(planted: &str) -> Vec<u8> {
    let mut file = b"\xff\xd8".to_vec();
    for (marker, head) in [
        (0xe1, &b"Exif\0\0MM\0*"[..]),
        (0xe1, b"http://ns.adobe.com/xap/1.0/\0"),
        (0xfe, b""),
    ] {
        let data = [head, planted.as_bytes()].concat();
        file.extend([0xff, marker]);
        file.extend(u16::try_from(data.len() + 2).unwrap_or(2).to_be_bytes());
        file.extend(data);
    }
    file.extend(b"\xff\xdb\0\x04qt\xff\xc0\0\x04fr\xff\xda\0\x04ssscan\xff\xd9");
    file
}

/// A film of sound and picture that says `planted` where films say where they were made.
pub fn film(planted: &str) -> Vec<u8> {
    let part = |kind: &[u8], data: &[u8]| {
        let length = u32::try_from(data.len() + 8).unwrap_or(8);
        [&length.to_be_bytes(), kind, data].concat()
    };
    let hdlr = part(b"hdlr", &[&[0; 8][..], b"vide", &[0; 12]].concat());
    let track = part(b"trak", &part(b"mdia", &hdlr));
    let place = part(b"udta", &part(b"\xa9xyz", planted.as_bytes()));
    let moov = part(b"moov", &[part(b"mvhd", &[1; 100]), track, place].concat());
    [
        part(b"ftyp", b"isom\0\0\0\0"),
        moov,
        part(b"mdat", b"pictures"),
    ]
    .concat()
}

/// A PDF with an author.
pub fn paper(planted: &str) -> Result<Vec<u8>> {
    let mut document = Document::with_version("1.5");
    let pages = document
        .add_object(dictionary! {"Type" => "Pages", "Kids" => Vec::<Object>::new(), "Count" => 0});
    let catalog = document.add_object(dictionary! {"Type" => "Catalog", "Pages" => pages});
    let info = document.add_object(dictionary! {"Author" => Object::string_literal(planted)});
    document.trailer.set("Root", catalog);
    document.trailer.set("Info", info);
    let mut bytes = Vec::new();
    document.save_to(&mut bytes)?;
    Ok(bytes)
}

/// A photo, a paper, and a picture with a caption and something after its end; from a portal into its room.
pub async fn outbound(alice: &Masked, bob: &Client, room: &str) -> Result<Copies> {
    send(&alice.user, &alice.portal, PLANTED, NAME).await?;
    let mut copies = Vec::new();
    for name in ["image.jpg", "file.pdf", "image.png"] {
        let seen = sees(bob, room, name, |one| {
            one.event["content"]["filename"] == name && one.sender() == alice.ghost
        })
        .await?;
        copies.push(checked(bob, &seen.event["content"]).await?);
    }
    Ok(copies)
}

/// The same in both directions.
pub async fn both_ways(alice: &Masked, bob: &Client, room: &str) -> Result<Copies> {
    let copies = outbound(alice, bob, room).await?;
    send(bob, room, OTHER, OTHER_NAME).await?;
    for name in ["image.jpg", "file.pdf", "image.png"] {
        let seen = alice
            .sees(name, |one| {
                one.event["content"]["filename"] == name && one.sender().starts_with("@_vizard_m_")
            })
            .await?;
        let (mxc, _) = checked(&alice.user, &seen.event["content"]).await?;
        let own = alice
            .user
            .id()
            .split_once(':')
            .map_or("", |(_, server)| server);
        ensure!(
            mxc.starts_with(&format!("mxc://{own}/")),
            "{mxc} is not local"
        );
    }

    // What is not known waits for Alice's word.
    let mxc = alice
        .user
        .upload(b"a list", "text/plain", "list.txt")
        .await?;
    let content = json!({"msgtype": "m.file", "body": "list.txt", "url": mxc});
    let event = alice
        .user
        .send(&alice.portal, "m.room.message", content)
        .await?;
    alice
        .sees("the question about the file", |one| {
            one.body().starts_with("Held back: this file")
                && one.event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"]
                    == event.as_str()
        })
        .await?;
    alice.user.reply(&alice.portal, &event, "send").await?;
    sees(bob, room, "the list", |one| one.body() == "file.txt").await?;

    // What is nowhere cannot be sent.
    let content = json!({"msgtype": "m.image", "body": "me.jpg", "url": "mxc://127.0.0.2/nowhere"});
    alice
        .user
        .send(&alice.portal, "m.room.message", content)
        .await?;
    alice
        .sees("the image's fate", |one| {
            one.body().starts_with("Not sent: an image")
        })
        .await?;
    Ok(copies)
}

/// No address and no bytes link two rooms, and thus no hash; what is not encrypted is the same picture, of course.
pub fn have_nothing_in_common(one: &Copies, other: &Copies) -> Result<()> {
    for (mxc, bytes) in one {
        ensure!(
            !other.iter().any(|(same, _)| same == mxc),
            "{mxc} in two rooms"
        );
        ensure!(
            !other.iter().any(|(_, same)| same == bytes),
            "the bytes of {mxc} in two rooms"
        );
    }
    Ok(())
}

async fn send(from: &Client, room: &str, planted: &str, name: &str) -> Result<()> {
    let face = [picture("x"), planted.as_bytes().to_vec()].concat();
    for (bytes, mime, msgtype, caption) in [
        (photo(planted), "image/jpeg", "m.image", None),
        (paper(planted)?, "application/pdf", "m.file", None),
        (face, "image/png", "m.image", Some("with a caption")),
    ] {
        let mxc = from.upload(&bytes, mime, "").await?;
        let mut content = json!({"msgtype": msgtype, "body": name, "url": mxc, "info": {"mimetype": mime, "size": bytes.len()}});
        if let Some(caption) = caption {
            content["filename"] = json!(name);
            content["body"] = json!(caption);
        }
        from.send(room, "m.room.message", content).await?;
    }
    Ok(())
}

/// The copy, in which nothing is left of what was planted.
async fn checked(reader: &Client, content: &Value) -> Result<(String, Vec<u8>)> {
    let text = content.to_string();
    ensure!(
        !text.contains(NAME) && !text.contains(OTHER_NAME),
        "{content}"
    );
    let mxc = content["url"].as_str().context("no mxc")?.to_owned();
    let bytes = reader.download(&mxc).await?;
    ensure!(content["info"]["size"] == bytes.len(), "{content}");
    for planted in [PLANTED, OTHER] {
        let found = bytes
            .windows(planted.len())
            .any(|window| window == planted.as_bytes());
        ensure!(!found, "metadata came along: {content}");
    }
    Ok((mxc, bytes))
}
