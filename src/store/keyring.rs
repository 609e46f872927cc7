//! The keyring: the data keys, wrapped under the master key, in one row.

use sqlx::AnyConnection;

use super::StoreError;
use crate::{
    crypto::{DataKeys, MasterKey},
    rng::Rng,
};

/// The data keys; made the first time.
pub(super) async fn open_or_create(
    connection: &mut AnyConnection,
    master: &MasterKey,
    rng: &Rng,
) -> Result<DataKeys, StoreError> {
    sqlx::query("INSERT INTO keyring (id, keys) VALUES (1, $1) ON CONFLICT (id) DO NOTHING")
        .bind(DataKeys::generate(rng).wrap(master, rng))
        .execute(&mut *connection)
        .await?;
    open(connection, master).await
}

/// The data keys, which must be there.
pub(super) async fn open(
    connection: &mut AnyConnection,
    master: &MasterKey,
) -> Result<DataKeys, StoreError> {
    let wrapped: Vec<u8> = sqlx::query_scalar("SELECT keys FROM keyring WHERE id = 1")
        .fetch_one(connection)
        .await?;
    DataKeys::unwrap(master, &wrapped).map_err(|_| StoreError::WrongMasterKey)
}

/// Puts other keys in their place.
pub(super) async fn replace(
    connection: &mut AnyConnection,
    keys: &DataKeys,
    master: &MasterKey,
    rng: &Rng,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE keyring SET keys = $1 WHERE id = 1")
        .bind(keys.wrap(master, rng))
        .execute(connection)
        .await?;
    Ok(())
}
