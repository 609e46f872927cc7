//! See `sealed.rs`. Run with `cargo +nightly fuzz run sealed_address`.
#![cfg_attr(fuzzing, no_main)]

#[macro_use]
#[path = "../target.rs"]
mod target;

use vizard::{pseudonym, rng, sealed};

#[expect(dead_code, reason = "each target uses one of the checks")]
#[path = "../sealed.rs"]
mod checks;

fuzz_target!(|data: &str| {
    checks::address(data);
    checks::inside(data.as_bytes());
});
