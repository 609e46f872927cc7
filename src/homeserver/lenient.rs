//! Answers that hold what other servers said: what of it does not parse is left out and counted, and the rest is taken. The
//! homeserver passes on what others answer about their users without a look at it; taken as one piece, one of them would spoil
//! what is said of everybody.

use std::collections::{BTreeMap, HashSet};

use ruma::{
    OwnedDeviceId, OwnedOneTimeKeyId, OwnedServerName, OwnedUserId, ServerName,
    api::client::{
        keys::{claim_keys, get_keys},
        sync::sync_events::DeviceLists,
    },
    encryption::{CrossSigningKey, DeviceKeys, OneTimeKey},
    serde::Raw,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

/// A map without the entries that do not parse.
#[derive(Debug)]
struct Map<K, V>(BTreeMap<K, V>);

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, K, V> Deserialize<'de> for Map<K, V>
where
    K: for<'a> TryFrom<&'a str> + Ord,
    V: DeserializeOwned,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::<String, Box<RawValue>>::deserialize(deserializer)?;
        let parsed = entries.into_iter().filter_map(|(key, value)| {
            let key = K::try_from(&key).ok();
            counted(key.zip(serde_json::from_str(value.get()).ok()))
        });
        Ok(Self(parsed.collect()))
    }
}

/// A thing, if it parses.
#[derive(Debug)]
struct Perhaps<T>(Option<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Perhaps<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(counted(serde_json::from_str(raw.get()).ok())))
    }
}

/// A list without the items that do not parse.
#[derive(Debug)]
struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::<Box<RawValue>>::deserialize(deserializer)?;
        let parsed = items
            .iter()
            .filter_map(|item| counted(serde_json::from_str(item.get()).ok()));
        Ok(Self(parsed.collect()))
    }
}

fn counted<T>(parsed: Option<T>) -> Option<T> {
    if parsed.is_none() {
        metrics::counter!("vizard_failures_total", "class" => "nonsense").increment(1);
    }
    parsed
}

/// Servers that could not be asked; what they said instead is not looked at.
type Failures = BTreeMap<String, Box<RawValue>>;

fn failures(failures: Failures) -> BTreeMap<String, Value> {
    let names = failures.into_keys();
    names.map(|name| (name, Value::Null)).collect()
}

/// An answer to `/keys/query`.
#[derive(Deserialize)]
pub(super) struct Queried {
    #[serde(default)]
    failures: Failures,
    #[serde(default)]
    device_keys: Map<OwnedUserId, Perhaps<Map<OwnedDeviceId, Raw<DeviceKeys>>>>,
    #[serde(default)]
    master_keys: Map<OwnedUserId, Raw<CrossSigningKey>>,
    #[serde(default)]
    self_signing_keys: Map<OwnedUserId, Raw<CrossSigningKey>>,
    #[serde(default)]
    user_signing_keys: Map<OwnedUserId, Raw<CrossSigningKey>>,
}

impl Queried {
    /// The answer to somebody of the server `own`. Another server that says nothing but nonsense failed, and what is known of its users
    /// stands until it is asked again, less and less often. Where it says sense of others, or is the own one, of whom nonsense is said
    /// has no devices: one who is left out altogether would be asked about again and again.
    pub(super) fn response(self, own: &ServerName) -> get_keys::v3::Response {
        let mut response = get_keys::v3::Response::new();
        response.failures = failures(self.failures);
        let said = self.device_keys.0.iter();
        let sound = said.filter(|(_, devices)| devices.0.is_some());
        let sound: HashSet<OwnedServerName> = sound
            .map(|(user, _)| user.server_name().to_owned())
            .collect();
        for (user, devices) in self.device_keys.0 {
            let server = user.server_name();
            if server != own && !sound.contains(server) {
                response.failures.insert(server.to_string(), Value::Null);
            } else {
                let devices = devices.0.unwrap_or_default();
                response.device_keys.insert(user, devices.0);
            }
        }
        response.master_keys = self.master_keys.0;
        response.self_signing_keys = self.self_signing_keys.0;
        response.user_signing_keys = self.user_signing_keys.0;
        response
    }
}

/// One-time keys of one device.
type Keys = Map<OwnedOneTimeKeyId, Raw<OneTimeKey>>;

/// An answer to `/keys/claim`.
#[derive(Deserialize)]
pub(super) struct Claimed {
    #[serde(default)]
    failures: Failures,
    #[serde(default)]
    one_time_keys: Map<OwnedUserId, Map<OwnedDeviceId, Keys>>,
}

impl From<Claimed> for claim_keys::v3::Response {
    fn from(answer: Claimed) -> Self {
        let of_user = |devices: Map<OwnedDeviceId, Keys>| {
            let devices = devices.0.into_iter();
            devices.map(|(device, keys)| (device, keys.0)).collect()
        };
        let users = answer.one_time_keys.0.into_iter();
        let users = users.map(|(user, devices)| (user, of_user(devices)));
        let mut response = Self::new(users.collect());
        response.failures = failures(answer.failures);
        response
    }
}

/// Whose devices changed, by a `/sync`.
pub(super) fn device_lists<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<DeviceLists, D::Error> {
    #[derive(Deserialize)]
    struct Lists {
        #[serde(default)]
        changed: List<OwnedUserId>,
        #[serde(default)]
        left: List<OwnedUserId>,
    }
    let said = Lists::deserialize(deserializer)?;
    let mut lists = DeviceLists::new();
    lists.changed = said.changed.0;
    lists.left = said.left.0;
    Ok(lists)
}
