//! See `checks.rs`. Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run references`.
#![cfg_attr(fuzzing, no_main)]

#[macro_use]
#[path = "../target.rs"]
mod target;

use vizard::rewrite;

#[expect(dead_code, reason = "each target uses one of the checks")]
#[path = "../checks.rs"]
mod checks;

fuzz_target!(|data: &str| checks::references(data));
