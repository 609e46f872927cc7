//! Endpoints: keys of devices, which are taken and forgotten.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::{
    Fake, Refused, kept,
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
    /// It keeps keys, and gives them to whoever asks.
    Kept,
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
            Keys::WithoutSync | Keys::BrokenSync | Keys::Taken | Keys::Kept
        )
    {
        return Ok(());
    }
    Err(unrecognized(world.config.keys))
}

/// What is said where keys are kept.
fn kept(world: &mut World, req: &Req, parts: &[&str]) -> Option<Value> {
    if world.config.keys != Keys::Kept {
        return None;
    }
    let device = req.device.clone().unwrap_or_default();
    let body = req.json().unwrap_or_default();
    let parts = [&["client", "v3"], parts].concat();
    let (user, nowhere) = (req.user.as_str(), HashMap::new());
    let who = (user, device.as_str(), None);
    let (_, _, answer) = kept::answer(&mut world.kept, &nowhere, "POST", &parts, who, &body)?;
    Some(answer)
}

pub(super) fn upload(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    known(world, true)?;
    let body = req.json()?;
    world.uploads.push((req.user.clone(), body));
    let taken = json!({ "one_time_key_counts": { "signed_curve25519": ONE_TIME_KEYS } });
    let kept = kept(world, req, &["keys", "upload"]);
    Ok(Answer::Json(kept.unwrap_or(taken)))
}

pub(super) fn query(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    known(world, true)?;
    let nothing = json!({ "device_keys": {}, "failures": {} });
    let kept = kept(world, req, &["keys", "query"]);
    Ok(Answer::Json(kept.unwrap_or(nothing)))
}

pub(super) fn claim(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let kept = kept(world, req, &["keys", "claim"]);
    kept.map(Answer::Json)
        .ok_or_else(|| unrecognized(world.config.keys))
}

/// Of an identity, or of signatures.
pub(super) fn sign(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    known(world, true)?;
    let what = if req.path.contains("device_signing") {
        "device_signing"
    } else {
        "signatures"
    };
    let kept = kept(world, req, &["keys", what, "upload"]);
    Ok(Answer::Json(kept.unwrap_or_else(|| json!({}))))
}

/// What waits for a device; and whether that is anything.
pub(super) fn kept_for(world: &mut World, req: &Req) -> (Value, bool) {
    let mut joined: HashMap<String, BTreeSet<String>> = HashMap::new();
    for (id, room) in &world.rooms {
        for user in room.joined() {
            let rooms = joined.entry(user.to_owned()).or_default();
            rooms.insert(id.clone());
        }
    }
    let device = req.device.clone().unwrap_or_default();
    let who = (req.user.as_str(), device.as_str(), req.query("since"));
    let (parts, body) = (["client", "v3", "sync"], Value::Null);
    let answer = kept::answer(&mut world.kept, &joined, "GET", &parts, who, &body);
    let (_, _, answer) = answer.unwrap();
    let waits = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    let any = waits(&answer["to_device"]["events"]) || waits(&answer["device_lists"]["changed"]);
    (answer, any)
}

impl World {
    /// Nobody shall use a device's keys any more.
    pub(super) fn log_out(&mut self, user: &str, device: &str) {
        let (parts, nowhere) = (["client", "v3", "devices", device], HashMap::new());
        let who = (user, "", None);
        kept::answer(
            &mut self.kept,
            &nowhere,
            "DELETE",
            &parts,
            who,
            &Value::Null,
        );
    }
}

impl Fake {
    /// Lets somebody use the keys that are kept.
    pub fn keys<T>(&self, work: impl FnOnce(&mut kept::Keys) -> T) -> T {
        self.inner.change(|world| work(&mut world.kept))
    }

    /// A person logs a device out.
    pub fn log_out(&self, user: &str, device: &str) {
        self.inner.change(|world| world.log_out(user, device));
    }

    /// Puts up account data, as if it had been another process.
    pub fn set_account_data(&self, user: &str, kind: &str, content: Value) {
        let key = (user.to_owned(), kind.to_owned());
        self.inner
            .change(|world| world.account_data.insert(key, content));
    }
}

fn of_account(req: &Req) -> (String, String) {
    let kind = req.path.rsplit('/').next().unwrap_or_default();
    (req.user.clone(), kind.to_owned())
}

pub(super) fn account_data(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let found = world.account_data.get(&of_account(req)).cloned();
    found
        .map(Answer::Json)
        .ok_or_else(|| Refused::not_found("Account data not found"))
}

pub(super) fn set_account_data(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    world.account_data.insert(of_account(req), req.json()?);
    Ok(Answer::Json(json!({})))
}
