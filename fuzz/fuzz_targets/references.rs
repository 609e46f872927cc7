//! See `checks.rs`. Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run references`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vizard::rewrite;

#[expect(dead_code, reason = "each target uses one of the checks")]
#[path = "../checks.rs"]
mod checks;

fuzz_target!(|data: &str| checks::references(data));
