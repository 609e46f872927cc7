//! What makes a program a fuzz target.

/// A target of libFuzzer, which `cargo fuzz` brings. Everywhere else a program that runs the same code once, so that lints see it.
macro_rules! fuzz_target {
    (|$data:ident: &$type:ty| $body:expr) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|$data: &$type| $body);

        #[cfg(not(fuzzing))]
        fn main() {
            let $data: &$type = Default::default();
            $body;
        }
    };
}
