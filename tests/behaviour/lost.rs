//! The bot's device: left behind for another, and settled where its homeserver has bad days.

use serde_json::json;
use vizard::{homeserver::Actor, portal::PortalError};

use crate::{
    fake::{Keys, faults::Fault},
    steps::wait,
    world::World,
};

const BOT: &str = "@vizard:a.example";

fn bot(world: &World) -> Actor {
    world.deps().bot
}

fn has_keys(world: &World, actor: &Actor) -> bool {
    let deps = world.deps();
    world.ask(deps.e2ee.is_known(actor)).unwrap()
}

fn devices(world: &World) -> Vec<String> {
    let devices = |account: &crate::fake::world::User| account.devices.iter().cloned().collect();
    world.fake.look(|rooms| devices(&rooms.users[BOT]))
}

fn again(world: &mut World) {
    world.kill();
    world.start(|_| {});
}

/// Waits until the bot has settled, with encryption.
fn settled(world: &World) {
    let deps = world.deps();
    wait(world, "the bot has synced", |world| {
        world.ask(deps.e2ee.has_synced(&deps.bot)).unwrap()
    });
    assert_eq!(deps.e2ee.unavailable(), None);
}

#[test]
fn a_device_that_was_rolled_back_is_left_behind_whatever_fails() {
    let mut world = World::with_keys(Keys::Taken);
    let deps = world.deps();
    deps.e2ee.mark_used();
    world.ask(deps.advance_epoch()).unwrap();
    assert!(!world.ask(deps.check_epoch()).unwrap());
    // The homeserver remembers more than the database.
    let count = json!({ "count": 1_000 });
    world.fake.set_account_data(BOT, "org.vizard.epoch", count);
    let old = bot(&world);
    // What is noted stays noted: the same process may not go on.
    for _ in 0..2 {
        assert!(world.ask(deps.check_epoch()).unwrap());
    }
    again(&mut world);
    settled(&world);
    world.goes_on();
    let new = bot(&world);
    assert_ne!(old.device, new.device);
    assert!(has_keys(&world, &new) && !has_keys(&world, &old));
    assert_eq!(devices(&world), [new.device.unwrap().to_string()]);
    // And stays so.
    again(&mut world);
    settled(&world);
    assert_ne!(bot(&world).device, old.device);
}

/// Lets the homeserver lose the bot's device, and Vizard notice it. The device that it lost.
fn loses_the_bots(world: &World) -> Actor {
    let (old, deps) = (bot(world), world.deps());
    assert_eq!(world.fake.prune_devices(BOT), 1);
    let lost = world.ask(deps.e2ee.sync(&old)).unwrap_err();
    let lost = PortalError::from(lost);
    assert!(world.ask(deps.mend_device(&lost, &[])).unwrap());
    wait(world, "it begins anew", |world| {
        world.deps().renewed.is_cancelled()
    });
    old
}

#[test]
fn a_lost_device_of_the_bots_leaves_no_keys() {
    let mut world = World::with_keys(Keys::Taken);
    for _ in 0..2 {
        let old = loses_the_bots(&world);
        again(&mut world);
        settled(&world);
        world.goes_on();
        assert!(!has_keys(&world, &old) && has_keys(&world, &bot(&world)));
    }
}

/// A new device has not synced, which says nothing of a homeserver that gave what is needed to the old one.
#[test]
fn an_outage_after_a_renewal_passes() {
    for endpoint in ["sync", "create_device"] {
        let mut world = World::with_keys(Keys::Taken);
        loses_the_bots(&world);
        world.kill();
        for _ in 0..1_000 {
            world.fake.fail_next(endpoint, Fault::ErrorBefore);
        }
        let before = world.fake.count(endpoint);
        world.start(|_| {});
        // Three tries each.
        wait(&world, "it has failed for long", |world| {
            world.fake.count(endpoint) > before + 3 * 9
        });
        world.fake.forget_faults();
        settled(&world);
        world.goes_on();
    }
}

#[test]
fn one_odd_answer_is_no_reason_to_do_without() {
    let mut world = World::with_keys(Keys::Taken);
    world.kill();
    for fault in [Fault::Nonsense, Fault::Forbidden] {
        world.fake.fail_next("sync", fault);
    }
    world.start(|_| {});
    world.goes_on();
    assert_eq!(world.deps().e2ee.unavailable(), None);
}
