//! The whole of Vizard in this process against a homeserver that misbehaves, over random lists of operations.
//!
//! A run draws a list of operations from a seed (`operation`): people join, talk, edit, answer, react, redact and show
//! pictures on both sides, name themselves and decide what becomes of it, are removed and muted; requests are limited, fail
//! before or after their work was done, or break off; pushes come twice, late, or again after newer ones; Vizard is stopped,
//! or killed at any instant and started on the same database; the homeserver restarts, and with a power cut forgets what it
//! owed. Then all disturbance ends, and the run waits until
//! nothing is missing. **It is a failure when**, at the end or at any time,
//!
//! - a message that was acknowledged does not arrive on the other side, or arrives twice (unless its ghost was removed or
//!   muted: then it arrives at most once, and its sender was told);
//! - messages of one portal arrive in another order than they were sent in, in either direction;
//! - a message is said by another ghost than the portal's, or two members share a mirror, or one has two;
//! - an edit, reaction, reply or thread refers to another event than its source does, or a redaction removes another;
//! - two sends of one lane overlap in time;
//! - a picture arrives as the same file, as another picture, or with what it told besides;
//! - a message that names its user is sent without the user's word, or after `discard`, or the user is asked twice; or the
//!   user's word itself goes to the room;
//! - a message of the user has no fate: neither a read receipt of the host that covers it nor a notice in reply to it; or
//!   a message has both fates (unless its ghost's rights changed in between); or a receipt stands at a message that was not sent;
//! - anybody but a host sends a receipt, of whatever kind;
//! - a ghost says or does what nobody asked it for, above all when something happens to another ghost;
//! - a user's Matrix ID, localpart or display name, the id of a host or mirror, or the id of a portal room or of an event in
//!   one stands in anything that a ghost sent;
//! - a command stays without an answer; a portal room is made that nobody knows;
//! - at the end the inbox holds a transaction, a job is left, a lane has not ended, or a further message does not get through.
//!
//! A seed names a list of operations, and not how the threads meet: a run that failed may pass the next time.
//!
//! A failing run prints its seed and the shortest list that was found to fail. `VIZARD_SIM_SEED=n` runs one seed,
//! `VIZARD_SIM_RUNS=n` changes the number of runs, and with `VIZARD_SIM_ALL=1` all are made, whatever fails, and none is
//! shortened. `VIZARD_SIM_TRACE=1` prints what stands in the rooms after each failure.

#[path = "../testkit/fake/mod.rs"]
mod fake;
#[path = "../testkit/postgres.rs"]
#[allow(dead_code, reason = "the kit serves others too")]
mod postgres;

mod check;
mod operation;
mod service;
mod side;
mod speech;
mod story;

use std::{
    panic::AssertUnwindSafe,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use operation::Op;
use story::{Setting, Story};
use vizard::rng::Rng;

const RUNS: u64 = 1_000;
const RUNS_ON_POSTGRES: u64 = 12;
/// How often a shorter list is tried, and for how long: one that waits in vain takes a minute.
const SHRINKS: usize = 60;
const SHRINK_FOR: Duration = Duration::from_mins(5);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Memory, where there is such a directory: what a run writes is not to outlive it.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// One run. What went wrong, if anything.
fn run(setting: &Setting, ops: &[Op], runtime: &tokio::runtime::Runtime) -> Option<String> {
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut story = Story::begin(setting, runtime);
        for op in ops {
            story.act(*op);
        }
        let wrong = story.end();
        if wrong.is_some() && std::env::var_os("VIZARD_SIM_TRACE").is_some() {
            story.fake.look(check::print);
        }
        if let Some(service) = story.service.take() {
            service.kill(&story.fake);
        }
        wrong
    }));
    outcome.unwrap_or_else(|_| Some("a panic".to_owned()))
}

fn run_on_sqlite(
    seed: u64,
    ops: &[Op],
    deduplicate: bool,
    runtime: &tokio::runtime::Runtime,
) -> Option<String> {
    let dir = scratch();
    let setting = Setting {
        seed,
        url: format!("sqlite:{}", dir.path().join("db").display()),
        deduplicate,
    };
    run(&setting, ops, runtime)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn lines(ops: &[Op]) -> String {
    let lines: Vec<String> = ops.iter().map(|op| format!("    {op:?}")).collect();
    lines.join("\n")
}

/// Leaves operations out for as long as the rest still fails.
fn shrink(
    seed: u64,
    mut ops: Vec<Op>,
    mut wrong: String,
    runtime: &tokio::runtime::Runtime,
) -> (Vec<Op>, String) {
    let (mut tries, mut size) = (0, ops.len().div_ceil(2));
    let began = Instant::now();
    while size > 0 {
        let mut at = 0;
        while at < ops.len() && tries < SHRINKS && began.elapsed() < SHRINK_FOR {
            let mut shorter = ops.clone();
            shorter.drain(at..(at + size).min(ops.len()));
            tries += 1;
            if let Some(now) = run_on_sqlite(seed, &shorter, true, runtime) {
                (ops, wrong) = (shorter, now);
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    (ops, wrong)
}

#[test]
fn random_lists_of_operations() {
    let one = number("VIZARD_SIM_SEED");
    let runs = number("VIZARD_SIM_RUNS").unwrap_or(if one.is_some() { 20 } else { RUNS });
    let first = one.unwrap_or(1);
    let all = number("VIZARD_SIM_ALL").is_some();
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let failures: Mutex<Vec<String>> = Mutex::default();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let threads = if one.is_some() { 1 } else { cores * 3 };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let runtime = runtime();
                while !failed.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= runs {
                        return;
                    }
                    // A single seed is repeated: threads and sockets keep times of their own.
                    let seed = if one.is_some() { first } else { first + number };
                    let ops = operation::list(&Rng::seeded(seed));
                    let Some(wrong) = run_on_sqlite(seed, &ops, true, &runtime) else {
                        continue;
                    };
                    eprintln!(
                        "VIZARD_SIM_SEED={seed}: {} operations\n  {wrong}",
                        ops.len()
                    );
                    let is_first = !failed.fetch_or(!all, Ordering::SeqCst);
                    if all || !is_first {
                        failures.lock().unwrap().push(seed.to_string());
                        continue;
                    }
                    let (shorter, last) = shrink(seed, ops, wrong.clone(), &runtime);
                    failures.lock().unwrap().push(format!(
                        "VIZARD_SIM_SEED={seed}:\n  {wrong}\nthe shortest list that failed:\n{}\nwith\n  {last}",
                        lines(&shorter)
                    ));
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// The simulation can fail: against a homeserver that knows no transaction id again, some message comes twice, a picture too,
/// and somebody is asked twice.
#[test]
fn a_homeserver_that_forgets_is_found_out() {
    use fake::faults::Fault;
    use operation::How;
    std::thread::scope(|scope| {
        for how in [How::Text, How::File, How::Telling] {
            let ops = [
                // The bot is in the chat.
                Op::Rest,
                Op::Join { user: 0, room: 0 },
                // There is a portal, and the greeting in it is not the send that fails.
                Op::Rest,
                Op::Fail("send", Fault::DropAfter),
                Op::Say {
                    portal: 0,
                    how,
                    pick: 0,
                },
                Op::Wait(50),
            ];
            scope.spawn(move || {
                let wrong = run_on_sqlite(1, &ops, false, &runtime()).expect("a double");
                assert!(wrong.contains("times"), "{how:?}: {wrong}");
                let wrong = run_on_sqlite(1, &ops, true, &runtime());
                assert_eq!(wrong, None, "{how:?}");
            });
        }
    });
}

#[test]
fn random_lists_on_postgres() {
    let server = postgres::Postgres::start().expect("a PostgreSQL for the tests");
    let runtime = runtime();
    for seed in 1..=RUNS_ON_POSTGRES {
        let url = runtime.block_on(server.create_database()).unwrap();
        let setting = Setting {
            seed,
            url,
            deduplicate: true,
        };
        let ops = operation::list(&Rng::seeded(seed));
        let wrong = run(&setting, &ops, &runtime);
        assert_eq!(wrong, None, "on Postgres, seed {seed}:\n{}", lines(&ops));
    }
}
