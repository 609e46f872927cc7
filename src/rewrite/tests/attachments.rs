//! Messages with files: what is fetched, and what is said of the copies.

use ruma::events::room::EncryptedFile;
use serde_json::{Value, json};

use super::{checks, outbound};
use crate::{
    media::Kind,
    rewrite::{Attachment, Copied, Location, Placed, Rewritten},
};

const OLD: &str = "mxc://old.example/secret";

fn key(url: &str) -> Value {
    json!({"v": "v2", "url": url, "iv": "i0DovxYdJEcAAAAAAAAAAA",
        "key": {"kty": "oct", "alg": "A256CTR", "ext": true, "key_ops": ["decrypt", "encrypt"],
            "k": "Voq2nkPme_x8no5-Tjq_laDAdxE6iDbxnlQXxwFPgE4"},
        "hashes": {"sha256": "ANdt819a8bZl4jKy3Z+jcqtiNICa2y0AW4BBJ/iQRAU"}})
}

fn attachment(event_type: &str, content: &Value) -> Attachment {
    match outbound(event_type, content, &checks::translations()) {
        Rewritten::Media(attachment) => *attachment,
        other => panic!("{other:?}"),
    }
}

fn copied(kind: Kind) -> Placed {
    let copy = |url: &str, kind| Copied {
        location: Location::Plain(url.into()),
        kind,
        size: 42,
    };
    Placed {
        file: copy("mxc://new.example/file", kind),
        thumbnail: None,
    }
}

fn sent(content: &Value, kind: Kind) -> Value {
    let attachment = attachment("m.room.message", content);
    let content = attachment.place(&copied(kind)).unwrap();
    assert_eq!(content.event_type(), "m.room.message");
    serde_json::from_str(content.content().get()).unwrap()
}

fn image() -> Value {
    json!({
        "msgtype": "m.image", "body": "IMG_Alice_Berlin.jpg", "url": OLD, "com.alice": 1,
        "info": {"w": 640, "h": 480, "size": 9, "mimetype": "image/png", "xyz.amorgan.blurhash": "L6Pj0^",
            "duration": -4, "thumbnail_url": "mxc://old.example/small", "thumbnail_info": {"w": 6, "h": "x", "alice": 1}},
    })
}

#[test]
fn only_what_is_known_passes() {
    assert_eq!(
        sent(&image(), Kind::Jpeg),
        json!({
            "msgtype": "m.image", "body": "image.jpg", "filename": "image.jpg", "url": "mxc://new.example/file",
            "info": {"w": 640, "h": 480, "size": 42, "mimetype": "image/jpeg"}, "m.mentions": {},
        })
    );
    let attachment = attachment("m.room.message", &image());
    assert_eq!(attachment.file().mxc(), OLD);
    assert_eq!(attachment.name(), "an image");
    assert!(attachment.words().is_none());
    let mut placed = copied(Kind::Jpeg);
    placed.thumbnail = Some(copied(Kind::Png).file);
    let content = attachment.place(&placed).unwrap();
    let content: Value = serde_json::from_str(content.content().get()).unwrap();
    assert_eq!(content["info"]["thumbnail_url"], "mxc://new.example/file");
    assert_eq!(
        content["info"]["thumbnail_info"],
        json!({"w": 6, "mimetype": "image/png", "size": 42})
    );
}

#[test]
fn captions_and_relations_pass() {
    let mut content = image();
    content["filename"] = content["body"].clone();
    assert_eq!(sent(&content, Kind::Png)["body"], "image.png");
    content["body"] = json!("> <@x:y> old\n\nlook at this");
    content["format"] = json!("org.matrix.custom.html");
    content["formatted_body"] = json!("<b>look</b> at this<img src=x>");
    content["m.relates_to"] = json!({"m.in_reply_to": {"event_id": "$here"}});
    let out = sent(&content, Kind::Png);
    assert_eq!(
        (&out["body"], &out["filename"]),
        (&json!("look at this"), &json!("image.png"))
    );
    assert_eq!(out["formatted_body"], "<b>look</b> at this");
    assert_eq!(out["m.relates_to"]["m.in_reply_to"]["event_id"], "$there");
    let words = attachment("m.room.message", &content).words().unwrap();
    assert_eq!(words.text().as_deref(), Some("look at this"));

    let mut edit = json!({"msgtype": "m.text", "body": "* x", "m.new_content": content,
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$here"}});
    let out = sent(&edit, Kind::Png);
    assert_eq!(
        out["m.relates_to"],
        json!({"rel_type": "m.replace", "event_id": "$there"})
    );
    assert_eq!(out["body"], "* look at this");
    assert_eq!(out["m.new_content"]["body"], "look at this");
    assert_eq!(out["m.new_content"]["url"], "mxc://new.example/file");
    assert!(out["m.new_content"].get("m.relates_to").is_none());
    edit["m.relates_to"]["event_id"] = json!("$nowhere");
    assert!(matches!(
        outbound("m.room.message", &edit, &checks::translations()),
        Rewritten::Unknown(_)
    ));
    content["body"] = json!("x".repeat(57_000));
    assert!(matches!(
        outbound("m.room.message", &content, &checks::translations()),
        Rewritten::Refused(_)
    ));
}

#[test]
fn encrypted_on_either_side() {
    let mut content = image();
    content["file"] = key("mxc://old.example/hidden");
    let attachment = attachment("m.room.message", &content);
    assert!(
        matches!(attachment.file(), Location::Encrypted(file) if file.url == "mxc://old.example/hidden")
    );
    assert!(!format!("{attachment:?}").contains("Voq2nk"));
    let file: EncryptedFile = serde_json::from_value(key("mxc://new.example/hidden")).unwrap();
    let mut placed = copied(Kind::Jpeg);
    placed.file.location = Location::Encrypted(Box::new(file));
    let out = attachment.place(&placed).unwrap();
    let out: Value = serde_json::from_str(out.content().get()).unwrap();
    assert_eq!(out["file"], key("mxc://new.example/hidden"));
    assert!(out.get("url").is_none());
}

#[test]
fn every_kind_may_be_encrypted_with_its_thumbnail() {
    let hidden = |url: &str, kind| Copied {
        location: Location::Encrypted(Box::new(serde_json::from_value(key(url)).unwrap())),
        kind,
        size: 42,
    };
    let message = "m.room.message";
    for (event_type, msgtype, kind) in [
        (message, "m.image", Kind::Jpeg),
        (message, "m.video", Kind::Mp4),
        (message, "m.audio", Kind::OggAudio),
        (message, "m.file", Kind::Pdf),
        ("m.sticker", "", Kind::Webp),
    ] {
        let mut content = json!({"body": "x", "file": key("mxc://old.example/hidden"), "info": {
            "thumbnail_file": key("mxc://old.example/small"), "thumbnail_info": {"w": 6, "alice": 1},
        }});
        if event_type == message {
            content["msgtype"] = json!(msgtype);
        }
        let attachment = attachment(event_type, &content);
        let is_of = |location: Option<&Location>, url: &str| matches!(location, Some(Location::Encrypted(file)) if file.url == url);
        assert!(is_of(Some(attachment.file()), "mxc://old.example/hidden"));
        assert!(is_of(attachment.thumbnail(), "mxc://old.example/small"));
        let placed = Placed {
            file: hidden("mxc://new.example/hidden", kind),
            thumbnail: Some(hidden("mxc://new.example/small", Kind::Jpeg)),
        };
        let out = attachment.place(&placed).unwrap();
        assert_eq!(out.event_type(), event_type);
        let out: Value = serde_json::from_str(out.content().get()).unwrap();
        assert_eq!(out["file"], key("mxc://new.example/hidden"), "{msgtype}");
        let info = &out["info"];
        assert_eq!(info["thumbnail_file"], key("mxc://new.example/small"));
        assert_eq!(
            info["thumbnail_info"],
            json!({"w": 6, "mimetype": "image/jpeg", "size": 42})
        );
        assert!(out["url"].is_null() && info["thumbnail_url"].is_null());
    }
}

#[test]
fn voice_messages_and_stickers() {
    let content = json!({"msgtype": "m.audio", "body": "Voice message", "url": OLD,
        "info": {"duration": 1000, "mimetype": "audio/ogg"},
        "org.matrix.msc3245.voice": {"alice": 1},
        "org.matrix.msc1767.audio": {"duration": 999, "waveform": [1, 2000, 3], "alice": 1}});
    let out = sent(&content, Kind::OggAudio);
    assert_eq!(out["org.matrix.msc3245.voice"], json!({}));
    assert_eq!(
        out["org.matrix.msc1767.audio"],
        json!({"duration": 1000, "waveform": [1, 1024, 3]})
    );
    assert_eq!(
        (&out["body"], &out["msgtype"]),
        (&json!("audio.ogg"), &json!("m.audio"))
    );

    let content = json!({"body": "a waving hand", "url": OLD, "info": {"w": 5}});
    let sticker = attachment("m.sticker", &content);
    let out = sticker.place(&copied(Kind::Webp)).unwrap();
    assert_eq!(out.event_type(), "m.sticker");
    let out: Value = serde_json::from_str(out.content().get()).unwrap();
    assert_eq!(
        out,
        json!({"body": "a waving hand", "url": "mxc://new.example/file",
            "info": {"w": 5, "size": 42, "mimetype": "image/webp"}, "m.mentions": {}})
    );
}

#[test]
fn the_bytes_say_how_it_is_shown() {
    for (msgtype, kind, becomes) in [
        ("m.image", Kind::Pdf, "m.file"),
        ("m.file", Kind::Jpeg, "m.file"),
        ("m.video", Kind::QuickTime, "m.video"),
        ("m.audio", Kind::Mp4, "m.audio"),
        ("m.audio", Kind::Jpeg, "m.file"),
    ] {
        let content = json!({"msgtype": msgtype, "body": "x", "url": OLD});
        assert_eq!(sent(&content, kind)["msgtype"], becomes, "{msgtype}");
    }
}
