//! Parsing of commands and of the rooms and people they name. Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run command`.
#![cfg_attr(fuzzing, no_main)]

#[macro_use]
#[path = "../target.rs"]
mod target;

use vizard::{
    bot::{parse, whom},
    portal::JoinTarget,
};

fuzz_target!(|data: &str| {
    let _ = parse::line(data, "!vizard");
    let _ = parse::join(&parse::words(data));
    let _ = JoinTarget::parse(data);
    let _ = (
        whom::user_in(data),
        whom::read(data, &[]),
        whom::split(data),
    );
});
