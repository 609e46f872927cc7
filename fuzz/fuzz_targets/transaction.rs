//! Decoding of transactions. Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run transaction`.
#![cfg_attr(fuzzing, no_main)]

#[macro_use]
#[path = "../target.rs"]
mod target;

fuzz_target!(|data: &[u8]| {
    if let Some((events, skipped)) = vizard::worker::decode(data) {
        assert!(events.len() as u64 + skipped <= data.len() as u64);
        for event in events {
            let _ = (
                event.membership(),
                event.previous_membership(),
                event.redacted(),
            );
        }
    }
});
