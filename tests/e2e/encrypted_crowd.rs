//! A room of many members with two devices each; those who left read nothing new, those who come read nothing old.

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;

use crate::{
    encrypted::heard,
    ratchets::{no_step_is_used_twice, parlour},
    testkit::e2ee::{E2eeClient, Options, Report},
    world::{PATIENCE, World},
};

/// Members beside the ghost, each on two devices.
const MEMBERS: usize = 10;
const MESSAGES: usize = 200;

/// A member's two devices, both signed by their owner.
struct Member {
    devices: [E2eeClient; 2],
}

impl Member {
    async fn register(world: &World, name: &str) -> Result<Self> {
        let first = E2eeClient::register(&world.servers.b, name).await?;
        let second = first.second_device().await?;
        first.sign_device(second.device()).await?;
        Ok(Self {
            devices: [first, second],
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_members_with_two_devices_come_talk_and_go() -> Result<()> {
    let world = World::encrypted("encrypted-crowd").await?;
    let names: Vec<String> = (0..MEMBERS).map(|one| format!("guest{one}")).collect();
    // Two at a time, as each client keeps a processor busy while it starts.
    let mut members = Vec::new();
    for pair in names.chunks(2) {
        members.extend(try_join_all(pair.iter().map(|name| Member::register(&world, name))).await?);
    }
    let owner = &members[0].devices[0];
    let room = parlour(owner).await?;
    for member in &members[1..] {
        member.devices[0].join(&room, &[]).await?;
    }
    let via = format!("{room} {}", world.servers.b.server_name());
    let alice = world.veil("alice", &via, Options::default()).await?;
    let devices = || members.iter().flat_map(|one| &one.devices);
    try_join_all(devices().map(|one| one.await_encryption(&room))).await?;
    try_join_all(devices().map(|one| one.await_member(&room, &alice.ghost, "join"))).await?;

    // Every tenth is the ghost's; the others come from all devices in turn.
    let all: Vec<&E2eeClient> = devices().collect();
    for number in 0..MESSAGES {
        let text = format!("message {number}");
        if number % 10 == 0 {
            alice.user.say(&alice.portal, &text).await?;
        } else {
            all[number % all.len()].say(&room, &text).await?;
        }
    }
    for number in 0..MESSAGES {
        let text = format!("message {number}");
        if number % 10 == 0 {
            for one in &all {
                heard(one, &room, &text).await?.assert_trusted();
            }
        } else {
            alice.hears(&text).await?.assert_trusted();
        }
    }

    // One leaves, another comes.
    let leaver = &members[MEMBERS - 1].devices;
    leaver[0].leave(&room).await?;
    owner.await_member(&room, leaver[0].id(), "leave").await?;
    alice.user.say(&alice.portal, "among ourselves").await?;
    let ours = heard(owner, &room, "among ourselves").await?;
    ours.assert_trusted();
    let newcomer = Member::register(&world, "newcomer").await?;
    let newcomer = &newcomer.devices;
    newcomer[0].join(&room, &[]).await?;
    newcomer[1].await_encryption(&room).await?;
    alice.user.say(&alice.portal, "welcome").await?;
    let welcome = heard(owner, &room, "welcome").await?;
    for one in newcomer {
        heard(one, &room, "welcome").await?.assert_trusted();
        // The history is open to them, its keys are not.
        one.wait_unreadable(&ours.event_id, PATIENCE).await?;
    }
    // The room key of before was not used on; and who comes back gets none of those of between.
    let last = MESSAGES - 10;
    let before = heard(owner, &room, &format!("message {last}")).await?;
    let session = |event: &Report| event.wire_content["session_id"].clone();
    ensure!(
        session(&before) != session(&ours),
        "the room key outlived the leave"
    );
    leaver[0].join(&room, &[]).await?;
    for one in leaver {
        one.wait_unreadable(&ours.event_id, PATIENCE).await?;
        one.wait_unreadable(&welcome.event_id, PATIENCE).await?;
    }
    no_step_is_used_twice(&world).await.map(drop)
}
