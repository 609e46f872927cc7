//! Which of the documents that are found is relied on.

use super::*;

fn key(seed: u64) -> ServerKey {
    ServerKey::generate(&Rng::seeded(seed))
}

/// A document of B under these keys, for which these former ones vouch.
fn document(sequence: u64, keys: &[u64], former: &[u64], hpke: u64) -> KeyDocument {
    let b = b();
    let keys: Vec<_> = keys.iter().map(|seed| key(*seed)).collect();
    let old: Vec<_> = former
        .iter()
        .map(|seed| OldKey {
            key: key(*seed).public(),
            expired_ts: NOW,
            signs: Some(key(*seed)),
        })
        .collect();
    let hpke = [listed(&HpkeKey::generate(&Rng::seeded(hpke)), NOW + DAY)];
    let mut draft = draft(&b.namespace, &keys, &hpke, sequence);
    draft.old_verify_keys = &old;
    draft.sign(NOW).expect("valid")
}

fn at(tls: Option<&KeyDocument>, federation: Option<&KeyDocument>) -> Found {
    Found {
        tls: tls.cloned().map(Ok),
        federation: federation.cloned().map(Ok),
    }
}

fn trust(anchor: Anchor, pin: Option<&Pin>) -> Trust<'_> {
    Trust {
        anchor,
        by_hand: None,
        only: None,
        pin,
    }
}

fn outcome(trust: Trust<'_>, found: Found) -> Result<(u64, Anchored, Change), Refusal> {
    accept(trust, found).map(|it| (it.document.sequence(), it.anchored, it.change))
}

#[test]
fn a_first_sight_is_anchored() {
    let one = document(1, &[1], &[], 1);
    let (tls, federation) = (trust(Anchor::Tls, None), trust(Anchor::Federation, None));
    for (trust, found, expected) in [
        (tls, at(None, None), Err(Refusal::NotFound)),
        (tls, at(None, Some(&one)), Err(Refusal::NotAnchored)),
        (
            tls,
            at(Some(&one), None),
            Ok((1, Anchored::Tls, Change::First)),
        ),
        (
            tls,
            at(Some(&one), Some(&one)),
            Ok((1, Anchored::Tls, Change::First)),
        ),
        (federation, at(None, None), Err(Refusal::NotFound)),
        (
            federation,
            at(None, Some(&one)),
            Ok((1, Anchored::Federation, Change::First)),
        ),
        (
            federation,
            at(Some(&one), None),
            Ok((1, Anchored::Tls, Change::First)),
        ),
    ] {
        assert_eq!(outcome(trust, found), expected);
    }
}

#[test]
fn two_places_must_belong_together() {
    let one = document(1, &[1], &[], 1);
    let swapped = document(1, &[66], &[], 66);
    let higher_swapped = document(9, &[66], &[], 66);
    let other_hpke = document(1, &[1], &[], 2);
    let next = document(2, &[1], &[], 2);
    let rotated = document(3, &[2], &[1], 3);
    let differ = Err(Refusal::PlacesDiffer);
    for anchor in [Anchor::Tls, Anchor::Federation] {
        let trust = trust(anchor, None);
        let newest = |sequence| Ok((sequence, Anchored::Tls, Change::First));
        for (left, right, expected) in [
            // A homeserver in the middle that puts in its own.
            (&one, &swapped, differ.clone()),
            (&one, &higher_swapped, differ.clone()),
            (&one, &other_hpke, differ.clone()),
            (&one, &next, newest(2)),
            (&one, &rotated, newest(3)),
            (&next, &rotated, newest(3)),
        ] {
            assert_eq!(outcome(trust, at(Some(left), Some(right))), expected);
            assert_eq!(outcome(trust, at(Some(right), Some(left))), expected);
        }
    }
}

#[test]
fn something_invalid_is_not_passed_over() {
    let one = document(1, &[1], &[], 1);
    for (found, place) in [
        (
            Found {
                tls: Some(Ok(one.clone())),
                federation: Some(Err(DocumentError::Signers)),
            },
            Place::Federation,
        ),
        (
            Found {
                tls: Some(Err(DocumentError::Signers)),
                federation: Some(Ok(one)),
            },
            Place::Tls,
        ),
    ] {
        let error = DocumentError::Signers;
        assert_eq!(
            outcome(trust(Anchor::Federation, None), found),
            Err(Refusal::Invalid { place, error })
        );
    }
}

#[test]
fn a_pin_is_followed_and_never_left() {
    let pinned = document(5, &[1, 2], &[], 1);
    let pin = Pin::of(&pinned);
    let same = Ok((5, Anchored::Pin, Change::None));
    let changed = Err(Refusal::Changed { sequence: 5 });
    let back = |found| Err(Refusal::RolledBack { pinned: 5, found });
    for (document, expected) in [
        (pinned.clone(), same),
        (document(5, &[1, 2], &[], 2), changed.clone()),
        (document(5, &[66], &[], 1), changed),
        (document(4, &[1, 2], &[], 1), back(4)),
        (document(1, &[66], &[], 1), back(1)),
        (document(6, &[66], &[], 1), Err(Refusal::KeyChanged)),
        (
            document(6, &[2, 1], &[], 9),
            Ok((6, Anchored::Pin, Change::Newer)),
        ),
        (
            document(6, &[2, 3], &[], 9),
            Ok((6, Anchored::Pin, Change::NewKeys)),
        ),
        (
            document(6, &[2], &[], 9),
            Ok((6, Anchored::Pin, Change::NewKeys)),
        ),
        (
            document(7, &[3], &[2], 9),
            Ok((7, Anchored::Pin, Change::NewKeys)),
        ),
        (document(7, &[3], &[66], 9), Err(Refusal::KeyChanged)),
    ] {
        for anchor in [Anchor::Tls, Anchor::Federation] {
            let found = at(Some(&document), Some(&document));
            assert_eq!(outcome(trust(anchor, Some(&pin)), found), expected);
        }
        // A pin does not do away with the anchor.
        assert_eq!(
            outcome(trust(Anchor::Tls, Some(&pin)), at(None, Some(&document))),
            Err(Refusal::NotAnchored)
        );
    }
    // Naming a former key is not enough: it has to sign.
    let b = b();
    let keys = [key(3)];
    let hpke = [listed(&b.hpke, NOW + DAY)];
    let mut draft = draft(&b.namespace, &keys, &hpke, 8);
    let old = [OldKey {
        key: key(1).public(),
        expired_ts: NOW,
        signs: None,
    }];
    draft.old_verify_keys = &old;
    let claimed = draft.sign(NOW).expect("valid");
    assert_eq!(
        outcome(trust(Anchor::Tls, Some(&pin)), at(Some(&claimed), None)),
        Err(Refusal::KeyChanged)
    );
}

#[test]
fn a_key_written_by_hand_counts_from_either_place() {
    let one = document(1, &[1], &[], 1);
    let rotated = document(2, &[2], &[1], 1);
    let swapped = document(3, &[66], &[], 1);
    let pin = Pin::of(&one);
    for pin in [None, Some(&pin)] {
        let trust = Trust {
            anchor: Anchor::Tls,
            by_hand: Some(key(1).public()),
            only: None,
            pin,
        };
        for document in [&one, &rotated] {
            for found in [at(None, Some(document)), at(Some(document), None)] {
                let accepted = accept(trust, found).expect("accepted");
                assert_eq!(accepted.anchored, Anchored::ByHand);
            }
        }
        for found in [at(None, Some(&swapped)), at(Some(&swapped), None)] {
            assert_eq!(outcome(trust, found), Err(Refusal::NotByHand));
        }
        // What somebody puts at the other place is no reason to refuse.
        let junk = || Some(Err(DocumentError::Signers));
        for (tls, federation) in [
            (Some(Ok(one.clone())), Some(Ok(swapped.clone()))),
            (Some(Ok(swapped.clone())), Some(Ok(one.clone()))),
            (Some(Ok(one.clone())), junk()),
            (junk(), Some(Ok(one.clone()))),
        ] {
            let accepted = accept(trust, Found { tls, federation }).expect("accepted");
            assert_eq!(accepted.document, one);
        }
        let found = Found {
            tls: junk(),
            federation: Some(Ok(swapped.clone())),
        };
        assert_eq!(outcome(trust, found), Err(Refusal::NotByHand));
        let found = Found {
            tls: junk(),
            federation: None,
        };
        assert!(matches!(
            outcome(trust, found),
            Err(Refusal::Invalid { .. })
        ));
    }
}

#[test]
fn an_admin_may_say_which_place_counts() {
    let one = document(5, &[1], &[], 1);
    let other = document(9, &[66], &[], 66);
    let (pin_of_one, pin_of_other) = (Pin::of(&one), Pin::of(&other));
    let chosen = |place, pin| Trust {
        only: Some(place),
        ..trust(Anchor::Tls, pin)
    };
    let (tls, federation) = (Place::Tls, Place::Federation);
    let both = || at(Some(&one), Some(&other));
    let junk = || Found {
        tls: Some(Ok(one.clone())),
        federation: Some(Err(DocumentError::Signers)),
    };
    let invalid = Err(Refusal::Invalid {
        place: federation,
        error: DocumentError::Signers,
    });
    for (place, pin, found, expected) in [
        (tls, None, both(), Ok((5, Anchored::Chosen, Change::First))),
        (tls, None, junk(), Ok((5, Anchored::Chosen, Change::First))),
        (
            federation,
            None,
            both(),
            Ok((9, Anchored::Chosen, Change::First)),
        ),
        (federation, None, junk(), invalid),
        // From then on it is compared with what was there.
        (
            tls,
            Some(&pin_of_one),
            both(),
            Ok((5, Anchored::Chosen, Change::None)),
        ),
        (
            tls,
            Some(&pin_of_other),
            both(),
            Err(Refusal::RolledBack {
                pinned: 9,
                found: 5,
            }),
        ),
        (
            federation,
            Some(&pin_of_one),
            both(),
            Err(Refusal::KeyChanged),
        ),
        (tls, None, at(None, Some(&other)), Err(Refusal::NotFound)),
    ] {
        assert_eq!(outcome(chosen(place, pin), found), expected, "{place}");
    }
}

#[test]
fn refusals_say_what_to_do() {
    for refusal in [
        Refusal::NotFound,
        Refusal::NotAnchored,
        Refusal::NotByHand,
        Refusal::PlacesDiffer,
        Refusal::Invalid {
            place: Place::Tls,
            error: DocumentError::Signers,
        },
        Refusal::RolledBack {
            pinned: 2,
            found: 1,
        },
        Refusal::Changed { sequence: 2 },
        Refusal::KeyChanged,
    ] {
        let text = refusal.to_string();
        assert!(text.contains("admin") || text.contains("--plain"), "{text}");
        assert!(!text.contains("  "), "{text}");
        assert_eq!(
            refusal.can_be_accepted(),
            text.contains("keys accept"),
            "{text}"
        );
    }
}
