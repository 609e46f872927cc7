//! Endpoints: keys of devices, which are taken and forgotten.

use serde_json::json;

use super::{
    Refused,
    serve::{Answer, Req},
    world::World,
};

/// What the homeserver does about devices' keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// It knows no such request but `/sync`, and the application service is told not to encrypt.
    #[default]
    Unused,
    /// It knows no such request.
    Unknown,
    /// It knows none, and makes no devices for an application service either.
    WithoutDevices,
    /// What stands before it knows no such path, and says so in HTML.
    Foreign,
    /// It takes keys, and its `/sync` fails for ever.
    BrokenSync,
    /// It takes keys, and has no `/sync`.
    WithoutSync,
    /// It takes keys and forgets them; nothing waits for a device but what is posted.
    Taken,
}

/// As many as a device uploads at first.
const ONE_TIME_KEYS: u64 = 50;

/// What is said of an unknown request.
pub(super) fn unrecognized(keys: Keys) -> Refused {
    if keys == Keys::Foreign {
        return Refused::new(404, "", "");
    }
    Refused::new(404, "M_UNRECOGNIZED", "Unrecognized request")
}

fn known(world: &World, yes: bool) -> Result<(), Refused> {
    if yes
        && matches!(
            world.config.keys,
            Keys::WithoutSync | Keys::BrokenSync | Keys::Taken
        )
    {
        return Ok(());
    }
    Err(unrecognized(world.config.keys))
}

pub(super) fn upload(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    known(world, true)?;
    let body = req.json()?;
    world.uploads.push((req.user.clone(), body));
    Ok(Answer::Json(
        json!({ "one_time_key_counts": { "signed_curve25519": ONE_TIME_KEYS } }),
    ))
}

pub(super) fn query(world: &mut World, _req: &Req) -> Result<Answer, Refused> {
    known(world, true)?;
    Ok(Answer::Json(json!({ "device_keys": {}, "failures": {} })))
}

/// Of an identity, or of signatures.
pub(super) fn sign(world: &mut World, _req: &Req) -> Result<Answer, Refused> {
    known(world, true)?;
    Ok(Answer::Json(json!({})))
}

/// There is no account data, and none is kept.
pub(super) fn account_data(_world: &mut World, _req: &Req) -> Result<Answer, Refused> {
    Err(Refused::not_found("Account data not found"))
}

pub(super) fn set_account_data(_world: &mut World, _req: &Req) -> Result<Answer, Refused> {
    Ok(Answer::Json(json!({})))
}
