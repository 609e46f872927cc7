//! The part of a homeserver that carries keys: devices, one-time keys, cross-signing, messages to devices, and a `/sync`
//! that brings a device what is its own. It looks into nothing, and checks no signature.
//!
//! Vizard reaches it by HTTP (see [`answer`]), the people of the bench by its functions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use serde_json::{Map, Value, json};

/// Messages that a device receives at once.
const AT_ONCE: usize = 100;

/// A user and a device.
type Device = (String, String);

/// Everything about keys.
#[derive(Debug, Default)]
pub struct Keys {
    devices: HashMap<String, BTreeMap<String, Value>>,
    one_time: HashMap<Device, VecDeque<(String, Value)>>,
    fallback: HashMap<Device, Fallback>,
    /// Cross-signing keys by the name of their list in `/keys/query`.
    identities: HashMap<String, Map<String, Value>>,
    inboxes: HashMap<Device, VecDeque<(u64, Value)>>,
    /// Whose devices changed, and when.
    changes: Vec<(u64, String)>,
    /// Transactions of messages to devices that were taken.
    taken: HashSet<String>,
    account_data: HashMap<String, Value>,
    position: u64,
}

#[derive(Debug)]
struct Fallback {
    id: String,
    key: Value,
    used: bool,
}

/// What a device receives.
#[derive(Debug)]
pub struct Received {
    pub events: Vec<Value>,
    /// The `since` that acknowledges it.
    pub upto: u64,
    /// One-time keys that are left.
    pub left: usize,
    /// Whether the fallback key was not used yet.
    pub unused: bool,
}

/// Answers what belongs here: the kind of request, the status, the body.
pub fn answer(
    keys: &mut Keys,
    joined: &HashMap<String, BTreeSet<String>>,
    method: &str,
    parts: &[&str],
    (user, device, since): (&str, &str, Option<&str>),
    body: &Value,
) -> Option<(&'static str, u16, Value)> {
    let ok = |kind, body| Some((kind, 200, body));
    match (method, parts) {
        ("POST", ["client", _, "keys", "upload"]) => {
            ok("upload keys", keys.upload(user, device, body))
        }
        ("POST", ["client", _, "keys", "query"]) => ok("query keys", keys.query(user, body)),
        ("POST", ["client", _, "keys", "claim"]) => ok("claim keys", keys.claim(body)),
        ("POST", ["client", _, "keys", "device_signing", "upload"]) => {
            keys.cross_sign(user, body);
            ok("upload identity", json!({}))
        }
        ("POST", ["client", _, "keys", "signatures", "upload"]) => {
            keys.sign(body);
            ok("upload signatures", json!({"failures": {}}))
        }
        ("PUT", ["client", _, "sendToDevice", kind, transaction]) => {
            if keys.taken.insert(format!("{user} {kind} {transaction}")) {
                keys.send(user, kind, &body["messages"]);
            }
            ok("send to device", json!({}))
        }
        ("GET", ["client", _, "sync"]) => ok("sync", keys.sync(user, device, since, joined)),
        ("DELETE", ["client", _, "devices", id]) => {
            if let Some(devices) = keys.devices.get_mut(user) {
                devices.remove(*id);
            }
            keys.changed(user);
            ok("device", json!({}))
        }
        ("PUT", ["client", _, "user", _, "account_data", _]) => {
            keys.account_data.insert(parts.join("/"), body.clone());
            ok("account data", json!({}))
        }
        ("GET", ["client", _, "user", _, "account_data", _]) => {
            match keys.account_data.get(&parts.join("/")) {
                Some(content) => ok("account data", content.clone()),
                None => Some(("account data", 404, json!({"errcode": "M_NOT_FOUND"}))),
            }
        }
        _ => None,
    }
}

impl Keys {
    fn next(&mut self) -> u64 {
        self.position += 1;
        self.position
    }

    /// Whoever shares a room with `user` hears that their devices may be others.
    pub fn changed(&mut self, user: &str) {
        let at = self.next();
        self.changes.push((at, user.to_owned()));
    }

    /// `POST /keys/upload`.
    pub fn upload(&mut self, user: &str, device: &str, body: &Value) -> Value {
        let name = (user.to_owned(), device.to_owned());
        if body["device_keys"].is_object() {
            let devices = self.devices.entry(user.to_owned()).or_default();
            devices.insert(device.to_owned(), body["device_keys"].clone());
            self.changed(user);
        }
        for (id, key) in body["one_time_keys"].as_object().into_iter().flatten() {
            let keys = self.one_time.entry(name.clone()).or_default();
            keys.push_back((id.clone(), key.clone()));
        }
        for (id, key) in body["fallback_keys"].as_object().into_iter().flatten() {
            let fallback = Fallback {
                id: id.clone(),
                key: key.clone(),
                used: false,
            };
            self.fallback.insert(name.clone(), fallback);
        }
        json!({"one_time_key_counts": {"signed_curve25519": self.left(&name)}})
    }

    fn left(&self, name: &Device) -> usize {
        self.one_time.get(name).map_or(0, VecDeque::len)
    }

    /// `POST /keys/query`.
    pub fn query(&self, asker: &str, body: &Value) -> Value {
        let mut answer = json!({"device_keys": {}, "failures": {}});
        for user in body["device_keys"].as_object().into_iter().flatten() {
            let user = user.0;
            answer["device_keys"][user] =
                json!(self.devices.get(user).cloned().unwrap_or_default());
            for (list, key) in self.identities.get(user).into_iter().flatten() {
                if list != "user_signing_keys" || user == asker {
                    answer[list][user] = key.clone();
                }
            }
        }
        answer
    }

    /// `POST /keys/claim`.
    pub fn claim(&mut self, body: &Value) -> Value {
        let mut answer = json!({"one_time_keys": {}, "failures": {}});
        for (user, devices) in body["one_time_keys"].as_object().into_iter().flatten() {
            for device in devices.as_object().into_iter().flatten() {
                let name = (user.clone(), device.0.clone());
                let one_time = self.one_time.get_mut(&name).and_then(VecDeque::pop_front);
                let key = one_time.or_else(|| {
                    let fallback = self.fallback.get_mut(&name)?;
                    fallback.used = true;
                    Some((fallback.id.clone(), fallback.key.clone()))
                });
                if let Some((id, key)) = key {
                    answer["one_time_keys"][user][device.0] = json!({ id: key });
                }
            }
        }
        answer
    }

    /// `POST /keys/device_signing/upload`.
    pub fn cross_sign(&mut self, user: &str, body: &Value) {
        let keys = self.identities.entry(user.to_owned()).or_default();
        for name in ["master_key", "self_signing_key", "user_signing_key"] {
            if body[name].is_object() {
                keys.insert(format!("{name}s"), body[name].clone());
            }
        }
        self.changed(user);
    }

    /// `POST /keys/signatures/upload`: adds signatures to what is there.
    pub fn sign(&mut self, body: &Value) {
        for (user, objects) in body.as_object().into_iter().flatten() {
            for (id, signed) in objects.as_object().into_iter().flatten() {
                let device = self
                    .devices
                    .get_mut(user)
                    .and_then(|devices| devices.get_mut(id));
                let target = device.or_else(|| {
                    let keys = self.identities.get_mut(user)?;
                    keys.values_mut()
                        .find(|key| key["keys"].get(format!("ed25519:{id}")).is_some())
                });
                let Some(target) = target else { continue };
                for (signer, signatures) in signed["signatures"].as_object().into_iter().flatten() {
                    for (key, signature) in signatures.as_object().into_iter().flatten() {
                        target["signatures"][signer][key] = signature.clone();
                    }
                }
            }
            self.changed(user);
        }
    }

    /// `PUT /sendToDevice`.
    pub fn send(&mut self, sender: &str, kind: &str, messages: &Value) {
        for (user, devices) in messages.as_object().into_iter().flatten() {
            for (device, content) in devices.as_object().into_iter().flatten() {
                let targets: Vec<String> = if device == "*" {
                    let devices = self.devices.get(user);
                    devices
                        .into_iter()
                        .flat_map(BTreeMap::keys)
                        .cloned()
                        .collect()
                } else {
                    vec![device.clone()]
                };
                for target in targets {
                    let event = json!({"type": kind, "sender": sender, "content": content});
                    let at = self.next();
                    let inbox = self.inboxes.entry((user.clone(), target)).or_default();
                    inbox.push_back((at, event));
                }
            }
        }
    }

    /// What waits for a device, a hundred at a time as Synapse does; what waited before `since` is forgotten.
    pub fn receive(&mut self, user: &str, device: &str, since: u64) -> Received {
        let name = (user.to_owned(), device.to_owned());
        let inbox = self.inboxes.entry(name.clone()).or_default();
        while inbox.front().is_some_and(|(at, _)| *at <= since) {
            inbox.pop_front();
        }
        let upto = inbox.get(AT_ONCE - 1).map_or(self.position, |(at, _)| *at);
        let events = inbox.iter().take(AT_ONCE);
        let events = events.map(|(_, event)| event.clone()).collect();
        let fallback = self.fallback.get(&name);
        Received {
            events,
            upto,
            left: self.left(&name),
            unused: fallback.is_some_and(|fallback| !fallback.used),
        }
    }

    fn sync(
        &mut self,
        user: &str,
        device: &str,
        since: Option<&str>,
        joined: &HashMap<String, BTreeSet<String>>,
    ) -> Value {
        let begun = since
            .and_then(|since| since.strip_prefix('k')?.parse().ok())
            .unwrap_or(0);
        let received = self.receive(user, device, begun);
        let upto = received.upto;
        let mut changed = BTreeSet::new();
        let first = self.changes.partition_point(|(at, _)| *at <= begun);
        if let (Some(rooms), true) = (joined.get(user), since.is_some()) {
            for (_, other) in self.changes[first..].iter().filter(|(at, _)| *at <= upto) {
                let shares = |rooms_of: &BTreeSet<String>| !rooms_of.is_disjoint(rooms);
                if other == user || joined.get(other).is_some_and(shares) {
                    changed.insert(other.clone());
                }
            }
        }
        let unused: &[&str] = if received.unused {
            &["signed_curve25519"]
        } else {
            &[]
        };
        json!({
            "next_batch": format!("k{upto}"),
            "to_device": {"events": received.events},
            "device_lists": {"changed": changed, "left": []},
            "device_one_time_keys_count": {"signed_curve25519": received.left},
            "device_unused_fallback_key_types": unused,
        })
    }
}
