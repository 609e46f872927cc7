//! Users: one sealed record each, the only place that knows which pseudonyms belong together.

use std::sync::atomic::Ordering;

use ruma::UserId;
use sqlx::{AnyConnection, AnyExecutor};

use super::{
    Store, StoreError, User,
    db::write_tx,
    seal::{Cell, Hash},
};

/// Padded so that its size hardly tells the number of pseudonyms.
pub(super) const USERS: Cell = Cell::new("users", 1024);

impl Store {
    /// The record of a user.
    pub async fn user(&self, user: &UserId) -> Result<Option<User>, StoreError> {
        self.read_user(&self.0.database.readers, user).await
    }

    /// Reads, changes and writes a user's record in one transaction; a missing one starts as `User::new`.
    /// `change` may run more than once. Returns the new record.
    pub async fn update_user(
        &self,
        user: &UserId,
        change: impl Fn(&mut User) + Send + Sync,
    ) -> Result<User, StoreError> {
        let after = write_tx!(self.0.database, "update_user", |tx| self
            .change_user(tx, user, &change));
        self.users_changed();
        after
    }

    /// Rises whenever some user's record may have changed: what was made from one is then made anew.
    #[must_use]
    pub fn users_epoch(&self) -> u64 {
        self.0.users_epoch.load(Ordering::SeqCst)
    }

    pub(super) fn users_changed(&self) {
        self.0.users_epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// [`Store::update_user`] within a transaction. Writes only what changed.
    pub(super) async fn change_user(
        &self,
        tx: &mut AnyConnection,
        user: &UserId,
        change: impl Fn(&mut User) + Send + Sync,
    ) -> Result<User, StoreError> {
        let before = self.read_user(&mut *tx, user).await?;
        let mut after = before.clone().unwrap_or_else(|| User::new(user.to_owned()));
        change(&mut after);
        if before.as_ref() != Some(&after) {
            let id = self.user_hash(user);
            sqlx::query(
                "INSERT INTO users (id, sealed) VALUES ($1, $2) \
                 ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed",
            )
            .bind(id.as_slice())
            .bind(self.0.vault.seal(USERS, &id, &after)?)
            .execute(tx)
            .await?;
        }
        Ok(after)
    }

    pub(super) async fn read_user<'e>(
        &self,
        executor: impl AnyExecutor<'e>,
        user: &UserId,
    ) -> Result<Option<User>, StoreError> {
        let id = self.user_hash(user);
        let sealed: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM users WHERE id = $1")
            .bind(id.to_vec())
            .fetch_optional(executor)
            .await?;
        sealed
            .map(|sealed| self.0.vault.open(USERS, &id, &sealed))
            .transpose()
    }

    fn user_hash(&self, user: &UserId) -> Hash {
        self.0.vault.hash("user", &[user.as_bytes()])
    }
}
