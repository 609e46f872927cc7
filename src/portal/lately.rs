//! Times of what happened lately, in memory: so many of them, and those used longest ago are forgotten first.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::{Mutex, PoisonError},
};

use lru::LruCache;

use crate::clock::UnixMillis;

/// What is remembered, of all portals together.
const REMEMBERED: usize = 4096;

/// Times by what they belong to, of which a hash is kept.
pub struct Lately(Mutex<LruCache<u64, UnixMillis>>);

impl Default for Lately {
    fn default() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }
}

impl fmt::Debug for Lately {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lately").finish_non_exhaustive()
    }
}

impl Lately {
    /// Notes a time, in the place of an earlier one.
    pub fn note(&self, what: impl Hash, at: UnixMillis) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.put(key(what), at);
        if known.len() > REMEMBERED {
            known.pop_lru();
        }
    }

    /// The time that was noted last, or 0.
    pub fn at(&self, what: impl Hash) -> UnixMillis {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.peek(&key(what)).copied().unwrap_or(0)
    }
}

fn key(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_bounds() {
        let lately = Lately::default();
        assert_eq!(lately.at("a"), 0);
        lately.note("a", 1);
        lately.note("a", 2);
        assert_eq!((lately.at("a"), lately.at("b")), (2, 0));
        for number in 0..=REMEMBERED {
            lately.note(number, 3);
        }
        assert_eq!((lately.at("a"), lately.at(REMEMBERED)), (0, 3));
    }
}
