//! Whatever comes in, there is an answer, and it is not much larger than the file.

use bytes::Bytes;
use proptest::prelude::*;

use super::samples;
use crate::media::{Kind, strip};

fn answers(file: Vec<u8>) {
    let length = file.len();
    match strip(Bytes::from(file), Kind::claimed(None, None)) {
        Ok(stripped) => assert!(stripped.bytes.len() <= 2 * length + 4096),
        Err(refusal) => assert_eq!(refusal.bytes.len(), length),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes(magic in 0_usize..14, rest in proptest::collection::vec(any::<u8>(), 0..600)) {
        let samples = samples::all();
        let head = samples[magic].1.iter().take(rest.first().map_or(0, |n| usize::from(n % 40)));
        answers(head.copied().chain(rest.iter().copied()).collect());
    }

    #[test]
    fn mutated_samples(
        which in 0_usize..14,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = samples::all().swap_remove(which).1;
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        answers(file);
    }
}
