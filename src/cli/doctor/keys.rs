//! What end-to-end encryption needs of the homeserver, tried with a device that is made for it and deleted again.
//!
//! The device belongs to the user that `doctor` tries everything with, and who is in no room: nobody's client sees it come
//! or go. Of the bot's own keys it only asks what is there. No identity is ever replaced.

use ruma::device_id;

use super::{mend, probes::Probes, step};
use crate::{
    cli::report::{Report, Row},
    clock::Clock,
    e2ee::{
        E2eeError,
        trial::{self, Trial},
    },
    homeserver::Actor,
    rng::Rng,
};

/// The row that stands for all of it, where it is not tried.
pub(super) const ENCRYPTION: &str = "encryption";

/// The rows on encryption.
pub(super) async fn try_all(probes: &Probes, report: &mut Report) {
    if !probes.config.encryption.enabled {
        return report.add(Row::info(
            ENCRYPTION,
            "switched off (encryption.enabled = false): encrypted rooms are not entered, and nothing is encrypted",
        ));
    }
    let actor = Actor {
        user: probes.patient.clone(),
        device: Some(device_id!("VIZARDKEYS").to_owned()),
    };
    let made = step(report, "trial device", make(probes, &actor)).await;
    if made {
        if let Ok(mut trial) = Trial::new(probes.homeserver.clone(), actor.clone()).await {
            on_trial(probes, &actor, &mut trial, report).await;
        }
        step(report, "trial device", delete(probes, &actor)).await;
    }
    step(report, "bot's keys", bot(probes)).await;
}

async fn on_trial(probes: &Probes, actor: &Actor, trial: &mut Trial, report: &mut Report) {
    if !step(report, "device keys", upload(trial)).await {
        return report.add(Row::info("what needs them", "not tried"));
    }
    step(report, "device sync", sync(trial)).await;
    step(report, "device messages", message(trial)).await;
    step(report, "cross-signing", identity(probes, actor, trial)).await;
}

/// A device that nothing is left of from an earlier trial.
async fn make(probes: &Probes, actor: &Actor) -> Row {
    const CHECK: &str = "trial device";
    let Some(device) = &actor.device else {
        return Row::info(CHECK, "not tried");
    };
    if let Err(error) = probes.homeserver.delete_device(actor).await {
        return Row::failed(CHECK, error.to_string(), mend::devices(&error));
    }
    match probes.homeserver.create_device(&actor.user, device).await {
        Ok(_) => Row::ok(CHECK, "made, for what follows"),
        Err(error) => Row::failed(CHECK, error.to_string(), mend::devices(&error)),
    }
}

async fn delete(probes: &Probes, actor: &Actor) -> Row {
    const CHECK: &str = "trial device";
    match probes.homeserver.delete_device(actor).await {
        Ok(()) => Row::ok(CHECK, "deleted again"),
        Err(error) => Row::failed(CHECK, error.to_string(), mend::devices(&error)),
    }
}

async fn upload(trial: &Trial) -> Row {
    const CHECK: &str = "device keys";
    match trial.upload_keys().await {
        Ok(0) => Row::failed(
            CHECK,
            "the homeserver took one-time keys and has none",
            mend::NO_COUNT,
        ),
        Ok(count) => Row::ok(CHECK, format!("uploaded, with {count} one-time keys")),
        Err(error) => failed(CHECK, &error),
    }
}

async fn sync(trial: &mut Trial) -> Row {
    const CHECK: &str = "device sync";
    match trial.sync().await {
        Ok(0) => Row::failed(
            CHECK,
            "the device's /sync counts none of its one-time keys",
            mend::NO_COUNT,
        ),
        Ok(count) => Row::ok(
            CHECK,
            format!("/sync of one device counts its {count} one-time keys"),
        ),
        Err(error) => failed(CHECK, &error),
    }
}

async fn message(trial: &mut Trial) -> Row {
    const CHECK: &str = "device messages";
    let txn_id = format!("{:032x}", u128::from_be_bytes(Rng::os().bytes()));
    match trial.message(&Clock::system(), &txn_id).await {
        Ok(true) => Row::ok(CHECK, "a message to a device comes by its /sync"),
        Ok(false) => Row::failed(
            CHECK,
            "a message to a device does not come by its /sync",
            mend::NO_MESSAGE,
        ),
        Err(error) => failed(CHECK, &error),
    }
}

async fn identity(probes: &Probes, actor: &Actor, trial: &Trial) -> Row {
    const CHECK: &str = "cross-signing";
    match trial::published(&probes.homeserver, actor).await {
        Ok(published) if published.identity => {
            return Row::ok(CHECK, "the identity of an earlier trial is there");
        }
        Ok(_) => {}
        Err(error) => return failed(CHECK, &error),
    }
    match trial.upload_identity().await {
        Ok(()) => Row::ok(CHECK, "an identity can be uploaded, and a device signed"),
        Err(error) => failed(CHECK, &error),
    }
}

/// What the homeserver has of the bot's keys.
async fn bot(probes: &Probes) -> Row {
    const CHECK: &str = "bot's keys";
    let published = match trial::published(&probes.homeserver, &probes.bot).await {
        Ok(published) => published,
        Err(error) => return failed(CHECK, &error),
    };
    if published.devices.is_empty() {
        return Row::info(CHECK, "none yet: they are made at the first start");
    }
    if !published.identity {
        return Row::failed(
            CHECK,
            "a device with keys, and no cross-signing identity",
            mend::NO_IDENTITY,
        );
    }
    let mut count = 0;
    for device in published.devices {
        let actor = Actor {
            device: Some(device),
            ..probes.bot.clone()
        };
        match trial::one_time_keys(&probes.homeserver, &actor).await {
            Ok(more) => count += more,
            Err(error) => return failed(CHECK, &error),
        }
    }
    Row::ok(
        CHECK,
        format!("with a cross-signing identity; {count} one-time keys left"),
    )
}

fn failed(check: &'static str, error: &E2eeError) -> Row {
    let mend = match error {
        E2eeError::Homeserver(error) => mend::keys(error),
        _ => "this should not happen: report it",
    };
    Row::failed(check, error.to_string(), mend)
}
