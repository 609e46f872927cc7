//! Plants every fault in a ledger and looks whether it is found, before each bench: a check that was never seen to
//! fail proves nothing.

use std::time::Instant;

use anyhow::ensure;

use crate::{
    event::{Mark, text},
    ledger::Ledger,
};

const ROOM: u32 = 7;
const SPEAKER: u64 = 1;

fn mark(number: u32) -> Mark {
    Mark {
        stream: 3,
        sender: 2,
        number,
    }
}

/// A send and its answer, as the stub reports them.
fn send(ledger: &mut Ledger, path: &str, user: u64, number: u32) {
    let lane = (ROOM, 0);
    ledger.begin(lane, mark(number));
    ledger.send(
        path,
        ROOM,
        user,
        (mark(number), Instant::now()),
        true,
        || format!("${path}"),
    );
    ledger.end(lane, mark(number));
}

/// Two messages are expected; `sends` is what comes: transaction id, user, number.
fn faults(sends: &[(&str, u64, u32)]) -> Vec<&'static str> {
    let mut ledger = Ledger::default();
    ledger.expect(mark(0), &[ROOM]);
    ledger.expect(mark(1), &[ROOM]);
    for (path, user, number) in sends {
        send(&mut ledger, path, *user, *number);
    }
    ledger.close();
    ledger.faults.counts.keys().copied().collect()
}

/// Fails when a fault would go unnoticed, or when there is one where none is.
pub fn run() -> anyhow::Result<()> {
    let (good, other) = (("a", SPEAKER, 0), ("b", SPEAKER, 1));
    for (sends, expected) in [
        (vec![good, other], vec![]),
        (vec![good, good, other, other], vec![]),
        (vec![good], vec!["lost"]),
        (vec![good, ("c", SPEAKER, 0), other], vec!["doubled"]),
        (vec![other, good], vec!["out of order"]),
        (vec![good, ("a", 9, 1)], vec!["collided", "lost"]),
        (vec![good, ("b", 9, 1)], vec!["wrong speaker"]),
        (vec![good, other, ("c", SPEAKER, 2)], vec!["stray"]),
    ] {
        let found = faults(&sends);
        ensure!(
            found == expected,
            "the ledger found {found:?} in {sends:?}, not {expected:?}"
        );
    }
    let mut ledger = Ledger::default();
    ledger.begin((ROOM, 0), mark(0));
    ledger.begin((ROOM, 0), mark(1));
    ensure!(
        ledger.faults.counts.contains_key("overlapping"),
        "the ledger missed an overlap"
    );
    let mut ledger = Ledger::default();
    ledger.expect(mark(0), &[ROOM]);
    ledger.owe_receipt(ROOM + 1, ROOM, mark(0), "$user");
    ledger.receipt(ROOM + 1, "$user");
    send(&mut ledger, "a", SPEAKER, 0);
    ensure!(
        ledger.faults.counts.contains_key("early receipt"),
        "the ledger missed a receipt that came too early"
    );
    ledger.owe_receipt(ROOM + 1, ROOM, mark(0), "$user");
    ledger.close();
    ensure!(
        ledger.faults.counts.contains_key("no receipt"),
        "the ledger missed that a receipt is owed"
    );
    let found = Mark::find(text(&mark(41).body()).as_bytes());
    ensure!(found == Some(mark(41)), "a mark was read as {found:?}");
    Ok(())
}
