//! Whatever comes in, there is an answer, and it is not much larger than the file.

use proptest::prelude::*;

use super::{clean, nothing, samples};
use crate::{
    media::{Kind, StripError},
    rng::Rng,
};

/// What passes is not much larger than before, no two copies are the same, and they differ in nothing but their noise.
fn answers(file: &[u8], seed: u64) {
    let rng = Rng::seeded(seed);
    let one = match clean(file, nothing(), &rng) {
        Ok((kind, clean)) => (kind, clean),
        Err(StripError::Unstrippable { .. }) => return,
        Err(StripError::Disk(error)) => panic!("{error}"),
    };
    assert!(one.1.len() <= 2 * file.len() + 4096);
    let other = clean(file, nothing(), &rng).expect("as before");
    assert_ne!(one, other);
    if one.0 != Kind::Pdf {
        let alike = |copy: &[u8]| clean(copy, nothing(), &Rng::seeded(1)).expect("a clean file");
        assert_eq!(alike(&one.1), alike(&other.1), "{:?}", one.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes(magic in 0_usize..14, rest in proptest::collection::vec(any::<u8>(), 0..600), seed in any::<u64>()) {
        let samples = samples::all();
        let head = samples[magic].1.iter().take(rest.first().map_or(0, |n| usize::from(n % 40)));
        let file: Vec<u8> = head.copied().chain(rest.iter().copied()).collect();
        answers(&file, seed);
    }

    #[test]
    fn mutated_samples(
        which in 0_usize..14,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        seed in any::<u64>(),
    ) {
        let mut file = samples::all().swap_remove(which).1;
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        answers(&file, seed);
    }

    #[test]
    fn whole_samples(which in 0_usize..14, seed in any::<u64>()) {
        answers(&samples::all().swap_remove(which).1, seed);
    }
}
