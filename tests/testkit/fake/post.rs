//! Messages from device to device: taken, recorded, and kept for users of the application service until their `/sync` has seen them.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Fake, Inner, Keys, Refused,
    keys::{kept_for, unrecognized},
    lock,
    serve::{Answer, Req},
    world::World,
};

/// A message to a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    /// From whom.
    pub sender: String,
    /// To whom.
    pub to: String,
    /// To which of their devices; `*` is all.
    pub device: String,
    /// Its type.
    pub kind: String,
    /// Its content.
    pub content: Value,
    /// The transaction id under which it was sent.
    pub txn_id: String,
}

/// As many as a device uploads at first.
const ONE_TIME_KEYS: u64 = 50;

/// `PUT /sendToDevice/{type}/{txn}`. One whose transaction id is known is not sent again.
pub(super) fn send(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let (kind, txn_id) = (&req.args[0], &req.args[1]);
    let known = |old: &Posted| old.sender == req.user && old.txn_id == *txn_id;
    if world.posted.iter().any(known) {
        return Ok(Answer::Json(json!({})));
    }
    let body = req.json()?;
    world.kept.send(&req.user, kind, &body["messages"]);
    for (to, devices) in body["messages"].as_object().into_iter().flatten() {
        for (device, content) in devices.as_object().into_iter().flatten() {
            world.posted.push(Posted {
                sender: req.user.clone(),
                to: to.clone(),
                device: device.clone(),
                kind: kind.clone(),
                content: content.clone(),
                txn_id: txn_id.clone(),
            });
        }
    }
    Ok(Answer::Json(json!({})))
}

/// What waits for a user's device after `since`.
fn waiting(world: &World, req: &Req) -> (usize, Vec<Value>) {
    let since = req.query("since").and_then(|it| it.strip_prefix('s'));
    let since: usize = since.and_then(|it| it.parse().ok()).unwrap_or(0);
    let messages = world.posted.iter().skip(since);
    let messages = messages.filter(|message| message.to == req.user);
    let messages: Vec<_> = messages
        .map(|message| {
            json!({"sender": message.sender, "type": message.kind, "content": message.content})
        })
        .collect();
    // As the stream of a homeserver, it moves for the device alone.
    let next = if messages.is_empty() {
        since
    } else {
        world.posted.len()
    };
    (next, messages)
}

impl Inner {
    /// `GET /sync`, which waits if it is asked to.
    pub(super) async fn sync(self: &Arc<Self>, req: &Req) -> Result<Answer, Refused> {
        match self.config.keys {
            Keys::Taken | Keys::Unused | Keys::Kept => {}
            Keys::BrokenSync => return Err(Refused::new(500, "M_UNKNOWN", "Internal error")),
            keys => return Err(unrecognized(keys)),
        }
        let clock = &self.config.clock;
        let timeout: u64 = req
            .query("timeout")
            .and_then(|it| it.parse().ok())
            .unwrap_or(0);
        let until = clock.now() + timeout;
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let left = until.saturating_sub(clock.now());
            let (next, messages) = waiting(&lock(&self.world), req);
            if self.config.keys == Keys::Kept {
                let (answer, any) = kept_for(&mut lock(&self.world), req);
                if any || left == 0 || req.query("since").is_none() {
                    return Ok(Answer::Json(answer));
                }
            } else if !messages.is_empty() || left == 0 || req.query("since").is_none() {
                return Ok(Answer::Json(json!({
                    "next_batch": format!("s{next}"),
                    "to_device": { "events": messages },
                    "device_one_time_keys_count": { "signed_curve25519": ONE_TIME_KEYS },
                    "device_unused_fallback_key_types": ["signed_curve25519"],
                })));
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = clock.sleep(Duration::from_millis(left)) => {}
            }
        }
    }
}

impl Fake {
    /// All messages from device to device, in order.
    #[must_use]
    pub fn posted(&self) -> Vec<Posted> {
        self.look(|world| world.posted.clone())
    }

    /// Somebody sends a message to the devices of a user.
    pub fn post(&self, sender: &str, to: &str, kind: &str, content: Value) {
        self.inner.change(|world| {
            let txn_id = format!("by hand {}", world.posted.len());
            world.posted.push(Posted {
                sender: sender.to_owned(),
                to: to.to_owned(),
                device: "*".to_owned(),
                kind: kind.to_owned(),
                content,
                txn_id,
            });
        });
    }
}
