//! The stolen database: what somebody sees who has all of it but the master key.

use std::collections::{BTreeMap, HashMap, HashSet};

use data_encoding::BASE64;
use vizard::store::{Created, Portal, Store};

use crate::{
    backend::{Backend, Row},
    machine,
    notes::Remark,
    samples::{ALICE, BOB, ROOM_X, ROOM_Y, held, job, link, links, mirror, portal},
};

const CAROL: &str = "@carol-the-member:b.example.org";
const MESSAGE: &str = "the treasure is buried under the oak";

/// Columns whose values may be equal in rows that have nothing to do with each other: small numbers.
const MAY_BE_EQUAL: [(&str, &str); 10] = [
    ("crypto", "kind"),
    ("link_packs", "links"),
    ("link_segments", "seq"),
    ("routes", "kind"),
    ("jobs", "due"),
    ("escrow", "due"),
    ("inbox", "seq"),
    ("notes", "kind"),
    ("notes", "due"),
    ("keyring", "id"),
];

/// No name, id, key or word of a message stands anywhere, neither in a cell nor in a file; and rows that
/// share any eight bytes are of one portal, or of portals of *different* users into one room.
pub async fn stolen_database_says_nothing(backend: Backend) {
    let store = backend.open().await;
    let alice = [ROOM_X, ROOM_Y].map(|room| portal(&backend.rng, ALICE, room));
    let bob = portal(&backend.rng, BOB, ROOM_X);
    for portal in alice.iter().chain([&bob]) {
        fill(&backend, &store, portal).await;
    }
    let gone = portal(&backend.rng, ALICE, "!a-room-to-forget:b.example.org");
    fill(&backend, &store, &gone).await;
    let until = backend.clock.now() * 2;
    store.destroy_crypto(&gone.ghost.id).await.unwrap();
    store.forget_portal(&gone, Some(until)).await.unwrap();
    // These are not merged.
    for portal in alice.iter().chain([&bob]) {
        let recent = link(
            "$an-event-of-carol-too",
            Some("$its-twin-in-the-portal-too"),
        );
        store.commit(&links(portal.id, [recent])).await.unwrap();
    }
    for _ in 0..2 {
        let body = format!(r#"{{"sender":"{CAROL}","body":"{MESSAGE}"}}"#);
        store.push_inbox(body.into()).await.unwrap();
    }

    let needles = needles(&[&alice[0], &alice[1], &bob, &gone]);
    let rows = backend.cells().await;
    for (table, row) in &rows {
        for (column, value) in row {
            assert_eq!(find(&needles, value), None, "in {table}.{column}");
        }
    }
    // With the log still there, and after it was folded in.
    for _ in 0..2 {
        for (path, bytes) in backend.files().await {
            assert_eq!(find(&needles, &bytes), None, "in {}", path.display());
        }
        store.close().await;
    }
    nothing_is_shared(&rows, &alice, &bob);
}

async fn fill(backend: &Backend, store: &Store, portal: &Portal) {
    assert_eq!(store.create_portal(portal).await.unwrap(), Created::New);
    // The same member and the same events in every portal.
    store
        .save_mirror(portal.id, &mirror(&backend.rng, CAROL))
        .await
        .unwrap();
    let batch = [
        link("$an-event-of-carol", Some("$its-twin-in-the-portal")),
        link("$another-event", None),
    ];
    store.commit(&links(portal.id, batch)).await.unwrap();
    let mut held = held("$a-held-event", Some("$a-question-about-it"), 5);
    held.json = format!(r#"{{"body":"{MESSAGE}"}}"#);
    store.hold(portal.id, &held).await.unwrap();
    let note = Remark(format!("{CAROL} {MESSAGE}"));
    store.set_note(&portal.id.0, Some(5), &note).await.unwrap();
    store
        .add_job(&job(&backend.rng, portal.id, 5))
        .await
        .unwrap();
    // The same people and the same room.
    machine::live(store, &portal.ghost.id, "GHOSTDEVICE".into()).await;
    store
        .update_user(&portal.user, |user| {
            user.display_name = Some("Alice or Bob by Name".to_owned());
        })
        .await
        .unwrap();
}

/// What must not be found: each in the forms in which it could stand there.
fn needles(portals: &[&Portal]) -> Vec<Vec<u8>> {
    let mut texts: Vec<String> = [
        "alice-wonderland",
        "bob-the-builder",
        "carol-the-member",
        "Carol the Member",
        "Alice or Bob by Name",
        "room-of-many-xylophones",
        "room-of-yellow-yaks",
        "a-room-to-forget",
        "Xylophonists",
        "an-event-of-carol",
        "its-twin-in-the-portal",
        "another-event",
        "a-held-event",
        "a-question-about-it",
        "progress-report",
        "the treasure is buried",
        "example.org",
        "_vizard_",
        "GHOSTDEVICE",
        "member-0001",
        "m.olm.v1.",
        "curve25519",
        "HOSTDEVICE",
    ]
    .map(str::to_owned)
    .into();
    let mut needles = Vec::new();
    for portal in portals {
        texts.push(portal.ghost.nick.clone());
        texts.push(portal.ghost.id.localpart().to_owned());
        texts.push(portal.portal_room.as_ref().unwrap().as_str()[1..].to_owned());
        let seed = &portal.ghost.seed;
        let json = serde_json::to_string(seed).unwrap();
        texts.extend([BASE64.encode(&seed[..]), json[1..20].to_owned()]);
        needles.push(seed.to_vec());
    }
    needles.extend(texts.into_iter().map(String::into_bytes));
    needles
}

/// The first needle that occurs in `hay`. One pass: looks up each eight bytes among the needles' starts.
fn find<'n>(needles: &'n [Vec<u8>], hay: &[u8]) -> Option<&'n [u8]> {
    let starts: HashMap<&[u8], Vec<&[u8]>> =
        needles.iter().fold(HashMap::new(), |mut starts, needle| {
            starts.entry(&needle[..8]).or_default().push(needle);
            starts
        });
    let firsts: [bool; 256] =
        std::array::from_fn(|byte| needles.iter().any(|needle| usize::from(needle[0]) == byte));
    for (at, &byte) in hay.iter().enumerate() {
        if !firsts[usize::from(byte)] {
            continue;
        }
        let Some(candidates) = hay.get(at..at + 8).and_then(|start| starts.get(start)) else {
            continue;
        };
        if let Some(found) = candidates
            .iter()
            .find(|needle| hay[at..].starts_with(needle))
        {
            return Some(found);
        }
    }
    None
}

/// Joins rows that share any eight bytes into groups, and looks at what is in each.
fn nothing_is_shared(rows: &[Row], alice: &[Portal; 2], bob: &Portal) {
    let mut groups: Vec<usize> = (0..rows.len()).collect();
    let mut seen: HashMap<&[u8], usize> = HashMap::new();
    for (at, (table, row)) in rows.iter().enumerate() {
        for (column, value) in row {
            if MAY_BE_EQUAL.contains(&(*table, column.as_str())) {
                continue;
            }
            // A pack's number is mostly random.
            let long = value.len() >= 16 || column == "pack";
            assert!(long, "{table}.{column} could repeat by chance");
            for window in value.windows(8) {
                let first = *seen.entry(window).or_insert(at);
                let (from, to) = (groups[at], groups[first]);
                if from != to {
                    for group in &mut groups {
                        if *group == from {
                            *group = to;
                        }
                    }
                }
            }
        }
    }
    let group_of = |portal: &Portal| {
        let at = rows.iter().position(|(table, row)| {
            *table == "portals" && row.iter().any(|(_, value)| value == &portal.id.0)
        });
        groups[at.unwrap()]
    };
    assert_ne!(group_of(&alice[0]), group_of(&alice[1]), "one user's two");
    assert_eq!(group_of(&alice[0]), group_of(bob), "one room's two");
    let members = |group: usize| groups.iter().filter(|&&other| other == group).count();
    // portals 1, routes 3, packs of links 1, their ends 3, mirrors 1, held 1.
    assert_eq!(members(group_of(bob)), 2 * 10);
    assert_eq!(members(group_of(&alice[1])), 10);
    // Each ghost has the keys of its one device, and what all its devices share: the list of them and the identity.
    let keys: BTreeMap<usize, usize> = rows
        .iter()
        .zip(&groups)
        .filter(|((table, _), _)| *table == "crypto")
        .fold(BTreeMap::new(), |mut keys, (_, group)| {
            *keys.entry(*group).or_default() += 1;
            keys
        });
    let mut keys: Vec<usize> = keys
        .into_iter()
        .map(|(group, of_keys)| {
            assert_eq!(
                members(group),
                of_keys,
                "keys share something with other rows"
            );
            of_keys
        })
        .collect();
    keys.sort_unstable();
    assert_eq!(keys.len(), 6);
    assert_eq!(keys[..3], [2; 3]);
    // Every other row stands alone.
    let mut alone = HashSet::new();
    for (at, (table, _)) in rows.iter().enumerate() {
        if members(groups[at]) == 1 {
            alone.insert(*table);
        } else {
            let shared = [
                "portals",
                "routes",
                "link_packs",
                "link_ends",
                "mirrors",
                "held",
                "crypto",
            ];
            assert!(shared.contains(table), "{table}");
        }
    }
    assert_eq!(
        alone,
        HashSet::from([
            "users",
            "jobs",
            "inbox",
            "link_segments",
            "forgotten",
            "escrow",
            "keyring",
            "notes",
        ])
    );
}

/// The search itself is tested: what is planted is found.
#[test]
fn search_finds_what_is_planted() {
    let needles = vec![b"needle in it".to_vec(), b"needle-like".to_vec()];
    assert_eq!(find(&needles, b"a haystack with a needle in  it"), None);
    assert_eq!(
        find(&needles, b"a needle in a needle in it"),
        Some(b"needle in it".as_slice())
    );
    assert_eq!(
        find(&needles, b"needle-like"),
        Some(b"needle-like".as_slice())
    );
    assert_eq!(find(&needles, b"needle"), None);
}
