//! STUB until the real one is merged.
use std::{collections::HashMap, sync::{Arc, LazyLock, Mutex}};
use matrix_sdk_crypto::store::MemoryStore;
use ruma::{DeviceId, UserId};
use super::{Store, StoreError};
static ALL: LazyLock<Mutex<HashMap<String, Arc<MemoryStore>>>> = LazyLock::new(Mutex::default);
impl Store {
    pub fn crypto(&self, user: &UserId, device: &DeviceId) -> Arc<MemoryStore> {
        ALL.lock().unwrap().entry(format!("{user} {device}")).or_default().clone()
    }
    pub async fn destroy_crypto(&self, user: &UserId) -> Result<(), StoreError> {
        ALL.lock().unwrap().retain(|key, _| !key.starts_with(user.as_str()));
        Ok(())
    }
}
