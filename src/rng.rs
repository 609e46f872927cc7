//! Randomness, owned by the caller.
//!
//! Keys, ids and delays come from a [`Rng`] that is passed in: the operating system's in production, a
//! seeded one in tests. Nothing else in the crate draws random numbers.

use std::sync::{Arc, Mutex, PoisonError};

use rand::{Rng as _, RngCore as _, SeedableRng as _, rngs::StdRng};

/// A source of random bytes. Cheap to clone; clones share one stream.
#[derive(Clone)]
pub struct Rng(Arc<Mutex<StdRng>>);

impl std::fmt::Debug for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rng(…)")
    }
}

impl Rng {
    /// A cryptographic generator seeded by the operating system.
    #[must_use]
    pub fn os() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    /// A reproducible generator, for tests.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.lock().fill_bytes(&mut out);
        out
    }

    /// A uniform number in `0..bound` (0 for a bound of 0).
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            self.lock().random_range(0..bound)
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
