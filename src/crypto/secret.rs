//! Values that are wiped when dropped and never printed.

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// Holds a secret: wiped from memory on drop, printed as `…`.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps a secret.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The secret itself; the name is meant to be seen in a review.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The secret itself, to be filled in.
    pub fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// The seed of a key as it stands in a record: wiped when dropped, and with it every copy of the record; never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed([u8; 32]);

impl From<[u8; 32]> for Seed {
    fn from(seed: [u8; 32]) -> Self {
        Self(seed)
    }
}

impl Deref for Seed {
    type Target = [u8; 32];

    fn deref(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// Counts how often it was wiped.
    #[derive(Clone, Default)]
    struct Told(Arc<AtomicUsize>);

    impl Zeroize for Told {
        fn zeroize(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn each_copy_of_a_secret_is_wiped() {
        let wiped = Told::default();
        let secret = Secret::new(wiped.clone());
        let copy = secret.clone();
        drop(secret);
        assert_eq!(wiped.0.load(Ordering::SeqCst), 1);
        drop(copy);
        assert_eq!(wiped.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_seed_is_written_as_its_bytes_and_never_printed() {
        let seed = Seed::from([7; 32]);
        let json = serde_json::to_string(&seed).unwrap();
        // As records had it before.
        assert_eq!(json, serde_json::to_string(&[7; 32]).unwrap());
        assert_eq!(serde_json::from_str::<Seed>(&json).unwrap(), seed);
        assert_eq!(format!("{seed:?}"), "…");
    }
}
