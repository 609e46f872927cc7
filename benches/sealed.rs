//! Seals and opens per second, beside bare X25519 scalar multiplications in the same run.
//!
//! `cargo bench --bench sealed`. The three take turns, so that a busy machine slows all of them alike; medians are
//! reported. To reach: an `open` costs at most 1.5 times, a `seal` at most 2 times one scalar multiplication.

use std::{
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use curve25519_dalek::MontgomeryPoint;
use ruma::{room_id, server_name, user_id};
use vizard::{
    pseudonym::SenderKey,
    rng::Rng,
    sealed::{HpkeKey, HpkeKeys, InviterKey, Sealing, open, seal},
};

/// Of each, in each turn.
const TURN: u32 = 100;
const TURNS: usize = 301;

fn time(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..TURN {
        work();
    }
    start.elapsed() / TURN
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() -> ExitCode {
    let rng = Rng::os();
    let (server, room) = (server_name!("b.example"), room_id!("!room:a.example"));
    let key = HpkeKey::generate(&rng);
    let inviter: InviterKey = SenderKey::generate(&rng).id().into();
    let sealing = Sealing::Bound {
        user: user_id!("@bob:b.example"),
        room,
        inviter,
    };
    let public = key.public();
    // With keys that were replaced beside it, as after a year.
    let older = (0..12).map(|_| HpkeKey::generate(&rng));
    let keys = HpkeKeys::new(older.chain([key]).collect());
    let expires_ts = 1_800_000_000_000;
    let Ok(sealed) = seal(&rng, &public, sealing, expires_ts) else {
        eprintln!("nothing could be sealed");
        return ExitCode::FAILURE;
    };
    let (mut bare, mut seals, mut opens) = (Vec::new(), Vec::new(), Vec::new());
    let (point, scalar) = (MontgomeryPoint(*public.as_bytes()), rng.bytes());
    let mut failed = 0;
    for _ in 0..TURNS {
        bare.push(time(|| {
            black_box(black_box(point).mul_clamped(black_box(scalar)));
        }));
        seals.push(time(|| {
            failed += u32::from(black_box(seal(&rng, &public, sealing, expires_ts)).is_err());
        }));
        opens.push(time(|| {
            let opened = open(black_box(&sealed), server, &keys, room, &inviter);
            failed += u32::from(black_box(opened).is_err());
        }));
    }
    let (bare, seals, opens) = (median(bare), median(seals), median(opens));
    println!("median of {TURNS} turns of {TURN} each\n");
    println!("| what | µs | per second | of a scalar multiplication | to reach |");
    println!("|---|---|---|---|---|");
    for (what, took, to_reach) in [
        ("X25519 scalar multiplication", bare, ""),
        ("open", opens, "1.5"),
        ("seal", seals, "2.0"),
    ] {
        let (seconds, ratio) = (took.as_secs_f64(), took.as_secs_f64() / bare.as_secs_f64());
        let (micros, rate) = (seconds * 1e6, 1.0 / seconds);
        println!("| {what} | {micros:.1} | {rate:.0} | {ratio:.2} | {to_reach} |");
    }
    if failed > 0 {
        eprintln!("{failed} failed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
