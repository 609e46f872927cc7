//! The suite that `matrix-sdk-crypto` has for stores, on both engines.

// The macros are the crate's.
#![allow(unexpected_cfgs, clippy::pedantic)]

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use vizard::{
    clock::Clock,
    store::{CryptoStore, Store},
};

use crate::backend::Backend;

/// The suite's databases, by the names that it gives them.
static BACKENDS: LazyLock<Mutex<HashMap<String, Arc<Backend>>>> = LazyLock::new(Mutex::default);

/// Opens the store of the suite's one device.
async fn open(name: String, fresh: Option<Backend>) -> CryptoStore {
    let backend = {
        let mut backends = BACKENDS.lock().unwrap();
        if let Some(fresh) = fresh {
            backends.insert(name.clone(), Arc::new(fresh));
        }
        Arc::clone(&backends[&name])
    };
    let store = Store::open(
        &backend.url,
        &backend.master,
        Clock::system(),
        backend.rng.clone(),
    );
    let user = ruma::user_id!("@alice:example.org");
    store.await.unwrap().crypto(user, "ALICEDEVICE".into())
}

mod on_sqlite {
    use super::{Backend, CryptoStore, open};

    async fn get_store(name: &str, _passphrase: Option<&str>, clear: bool) -> CryptoStore {
        let fresh = clear.then(Backend::sqlite);
        open(format!("sqlite {name}"), fresh).await
    }

    matrix_sdk_crypto::cryptostore_integration_tests!();
    matrix_sdk_crypto::cryptostore_integration_tests_time!();
}

mod on_postgres {
    use super::{Backend, CryptoStore, open};

    async fn get_store(name: &str, _passphrase: Option<&str>, clear: bool) -> CryptoStore {
        let fresh = if clear {
            Some(Backend::postgres().await)
        } else {
            None
        };
        open(format!("postgres {name}"), fresh).await
    }

    matrix_sdk_crypto::cryptostore_integration_tests!();
    matrix_sdk_crypto::cryptostore_integration_tests_time!();
}
