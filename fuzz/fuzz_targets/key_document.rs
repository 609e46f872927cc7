//! See `sealed.rs`. Run with `cargo +nightly fuzz run key_document`.
#![cfg_attr(fuzzing, no_main)]

#[macro_use]
#[path = "../target.rs"]
mod target;

use vizard::{pseudonym, rng, sealed};

#[expect(dead_code, reason = "each target uses one of the checks")]
#[path = "../sealed.rs"]
mod checks;

fuzz_target!(|data: &[u8]| {
    checks::document(data);
});
