//! Parsing of commands and of the rooms they name. Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run command`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vizard::{bot::parse, portal::JoinTarget};

fuzz_target!(|data: &str| {
    let _ = parse::line(data, "!vizard");
    let _ = parse::join(&parse::words(data));
    let _ = JoinTarget::parse(data);
});
