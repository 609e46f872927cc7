//! Any file: there is an answer, and what was cleaned is clean. Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run media`.
#![cfg_attr(fuzzing, no_main)]

#[macro_use]
#[path = "../target.rs"]
mod target;

use vizard::{
    media::{Kind, strip},
    rng::Rng,
};

fuzz_target!(|data: &[u8]| {
    let mut out = Vec::new();
    let mut file = std::io::Cursor::new(data);
    if strip(
        &mut file,
        Kind::claimed(None, None),
        &Rng::seeded(1),
        &mut out,
    )
    .is_ok()
    {
        assert!(out.len() <= 2 * data.len() + 4096);
    }
});
