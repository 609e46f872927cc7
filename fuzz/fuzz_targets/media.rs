//! Any file: there is an answer, and what was cleaned is clean. Run with `cargo +nightly fuzz run media`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vizard::media::{Kind, strip};

fuzz_target!(|data: &[u8]| {
    let _ = strip(data.to_vec().into(), Kind::claimed(None, None));
});
