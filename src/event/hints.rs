//! What a transaction may say beside its events: that something waits for a device, that a device runs out of keys, that
//! somebody's devices changed (MSC2409, MSC3202).
//!
//! Read for the names alone. What is said in there is never used: half of it is lost on a healthy homeserver, and a device's
//! own `/sync` tells all of it. Used by `worker`.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedDeviceId, OwnedUserId};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A device of a user.
pub type DeviceOf = (OwnedUserId, OwnedDeviceId);

/// A device with fewer one-time keys than this shall upload some: half of those that it uploads at first.
const LOW: u64 = 25;

/// A field of a transaction that holds hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Messages to devices.
    ToDevice,
    /// Whose devices changed.
    DeviceLists,
    /// One-time keys that are left.
    OneTimeKeys,
    /// Fallback keys that nobody used yet.
    FallbackKeys,
}

impl Field {
    /// The field of this name, stable or not.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "to_device" | "de.sorunome.msc2409.to_device" => Self::ToDevice,
            "device_lists" | "org.matrix.msc3202.device_lists" => Self::DeviceLists,
            "device_one_time_keys_count"
            | "org.matrix.msc3202.device_one_time_keys_count"
            | "org.matrix.msc3202.device_one_time_key_counts" => Self::OneTimeKeys,
            "device_unused_fallback_key_types"
            | "org.matrix.msc3202.device_unused_fallback_key_types" => Self::FallbackKeys,
            _ => return None,
        })
    }
}

/// What a transaction hints at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Something waits for these devices.
    pub waiting: BTreeSet<DeviceOf>,
    /// These devices need new keys on the homeserver.
    pub low: BTreeSet<DeviceOf>,
    /// The devices of these users changed.
    pub changed: BTreeSet<OwnedUserId>,
    /// What could not be read.
    pub malformed: u64,
}

/// Something by user and device.
type ByDevice<'a> = BTreeMap<&'a str, &'a RawValue>;

impl Hints {
    /// Reads a field, as far as it can be read.
    pub fn read(&mut self, field: Field, raw: &RawValue) {
        match field {
            Field::ToDevice => self.messages(raw),
            Field::DeviceLists => self.device_lists(raw),
            Field::OneTimeKeys => self.by_device(raw, |left: &BTreeMap<String, u64>| {
                left.get("signed_curve25519").is_none_or(|left| *left < LOW)
            }),
            Field::FallbackKeys => self.by_device(raw, |left: &Vec<String>| {
                !left.iter().any(|kind| kind == "signed_curve25519")
            }),
        }
    }

    fn messages(&mut self, raw: &RawValue) {
        #[derive(Deserialize)]
        struct Message {
            to_user_id: OwnedUserId,
            to_device_id: OwnedDeviceId,
        }
        for raw in self.list(raw) {
            match serde_json::from_str::<Message>(raw.get()) {
                Ok(to) => {
                    self.waiting.insert((to.to_user_id, to.to_device_id));
                }
                Err(_) => self.malformed += 1,
            }
        }
    }

    /// `left` is not read: who left is known from the rooms.
    fn device_lists(&mut self, raw: &RawValue) {
        #[derive(Deserialize)]
        struct Lists<'a> {
            #[serde(borrow, default)]
            changed: Option<&'a RawValue>,
        }
        let Ok(lists) = serde_json::from_str::<Lists<'_>>(raw.get()) else {
            self.malformed += 1;
            return;
        };
        for raw in lists.changed.map(|raw| self.list(raw)).unwrap_or_default() {
            match serde_json::from_str(raw.get()) {
                Ok(user) => {
                    self.changed.insert(user);
                }
                Err(_) => self.malformed += 1,
            }
        }
    }

    fn by_device<'a, T: Deserialize<'a>>(&mut self, raw: &'a RawValue, low: impl Fn(&T) -> bool) {
        for (user, devices) in self.map(raw) {
            let Ok(user) = OwnedUserId::try_from(user) else {
                self.malformed += 1;
                continue;
            };
            for (device, left) in self.map(devices) {
                match serde_json::from_str(left.get()) {
                    Ok(left) if low(&left) => {
                        self.low.insert((user.clone(), device.into()));
                    }
                    Ok(_) => {}
                    Err(_) => self.malformed += 1,
                }
            }
        }
    }

    fn list<'a>(&mut self, raw: &'a RawValue) -> Vec<&'a RawValue> {
        serde_json::from_str(raw.get()).unwrap_or_else(|_| {
            self.malformed += 1;
            Vec::new()
        })
    }

    fn map<'a>(&mut self, raw: &'a RawValue) -> ByDevice<'a> {
        serde_json::from_str(raw.get()).unwrap_or_else(|_| {
            self.malformed += 1;
            BTreeMap::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str, json: &str) -> Hints {
        let mut hints = Hints::default();
        let raw: &RawValue = serde_json::from_str(json).expect("JSON");
        hints.read(Field::named(field).expect("a field"), raw);
        hints
    }

    fn names(devices: &BTreeSet<DeviceOf>) -> Vec<String> {
        devices
            .iter()
            .map(|(user, device)| format!("{user} {device}"))
            .collect()
    }

    #[test]
    fn messages_name_their_devices_and_nothing_else_counts() {
        let hints = read(
            "de.sorunome.msc2409.to_device",
            r#"[{"to_user_id":"@a:x","to_device_id":"A","type":"m.room.encrypted","content":{"ciphertext":{}}},
                {"to_user_id":"@a:x","to_device_id":"A"},{"to_user_id":"@b:x","to_device_id":"B"},
                {"to_user_id":"b","to_device_id":"B"},{"to_user_id":"@b:x"},{},null,3,"x"]"#,
        );
        assert_eq!(names(&hints.waiting), ["@a:x A", "@b:x B"]);
        assert_eq!(hints.malformed, 6);
        assert!(hints.low.is_empty() && hints.changed.is_empty());
        for broken in ["{}", "null", "3", r#""x""#] {
            assert_eq!(read("to_device", broken).malformed, 1, "{broken}");
        }
    }

    #[test]
    fn few_keys_and_no_fallback_key_are_low() {
        let hints = read(
            "org.matrix.msc3202.device_one_time_keys_count",
            r#"{"@a:x":{"FULL":{"signed_curve25519":50},"HALF":{"signed_curve25519":24},"NONE":{},
                "ODD":{"signed_curve25519":"x"},"NO":null},"@b:x":[],"b":{"B":{}},"@c:x":{}}"#,
        );
        assert_eq!(names(&hints.low), ["@a:x HALF", "@a:x NONE"]);
        assert_eq!(hints.malformed, 4);
        let hints = read(
            "device_unused_fallback_key_types",
            r#"{"@a:x":{"FULL":["signed_curve25519"],"NONE":[],"OTHER":["x"],"ODD":{}}}"#,
        );
        assert_eq!(names(&hints.low), ["@a:x NONE", "@a:x OTHER"]);
        assert_eq!(hints.malformed, 1);
    }

    #[test]
    fn changed_lists_are_read_and_left_is_not() {
        let hints = read(
            "org.matrix.msc3202.device_lists",
            r#"{"changed":["@a:x","a",3],"left":["@c:x"]}"#,
        );
        assert_eq!(hints.changed.len(), 1);
        assert_eq!(hints.malformed, 2);
        assert_eq!(read("device_lists", "{}"), Hints::default());
        assert_eq!(read("device_lists", "[3]").malformed, 1);
        assert_eq!(read("device_lists", r#"{"changed":{}}"#).malformed, 1);
    }
}
