//! See `checks.rs`. Run with `cargo +nightly fuzz run outbound`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vizard::rewrite;

#[expect(dead_code, reason = "each target uses one of the checks")]
#[path = "../checks.rs"]
mod checks;

fuzz_target!(|data: &str| checks::outbound(data));
