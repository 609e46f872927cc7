//! See `sealed.rs`. Run with `cargo +nightly fuzz run to_device`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vizard::{pseudonym, rng, sealed};

#[expect(dead_code, reason = "each target uses one of the checks")]
#[path = "../sealed.rs"]
mod checks;

fuzz_target!(|data: &[u8]| {
    checks::message(data);
    checks::reply(data);
});
