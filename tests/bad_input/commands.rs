//! Commands that are none.

use crate::world::{ALICE, World};

#[test]
fn every_line_has_an_answer() {
    let mut world = World::new();
    let long = "x".repeat(10_000);
    let lines = [
        "frobnicate",
        "HELP me",
        "join",
        "join !",
        "join #",
        "join #:",
        "join nowhere",
        "join https://matrix.to/#/@bob:b.example",
        "join https://matrix.to/#///x",
        "join \u{202e}#pub:b.example",
        "leave nobody",
        "nick \0",
        "nick \u{200b}",
        "prove",
        "forget \"",
        "send",
        "list list list",
        "version \u{335}\u{335}\u{335}",
        "\u{202e}pleh",
        long.as_str(),
    ];
    for line in lines {
        let in_chat = world.fake.text(ALICE, &world.chat, line).unwrap();
        let text = world.answer(&world.chat, in_chat.as_str());
        assert!(!text.trim().is_empty(), "{line}");
        assert!(text.len() < 8_000, "{line}");
        let in_portal = world
            .fake
            .text(ALICE, &world.portal, &format!("!vizard {line}"))
            .unwrap();
        let text = world.answer(&world.portal, in_portal.as_str());
        assert!(!text.trim().is_empty(), "!vizard {line}");
    }
    let bare = world.fake.text(ALICE, &world.portal, "!vizard").unwrap();
    assert!(!world.answer(&world.portal, bare.as_str()).is_empty());
    // Nothing of it reached the room.
    let room = world.fake.messages(&world.room);
    assert!(
        room.iter()
            .all(|(_, body)| !body.contains("vizard") && !body.contains("frobnicate"))
    );
    world.goes_on();
}
