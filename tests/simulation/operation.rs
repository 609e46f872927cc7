//! What can happen in a run, and lists of it drawn from a seed.
//!
//! Operations name people, rooms and messages by numbers that are resolved when they are carried out, so that any
//! part of a list is a list too.

use vizard::rng::Rng;

use crate::fake::faults::Fault;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// A user asks the bot to join a room.
    Join { user: u64, room: u64 },
    /// A user says something in a portal.
    Say { portal: u64, how: How, pick: u64 },
    /// A member says something in a room.
    Speak {
        room: u64,
        member: u64,
        how: How,
        pick: u64,
    },
    /// A user gives a command in a portal.
    Command { portal: u64, text: &'static str },
    /// A moderator removes a ghost.
    Kick { portal: u64 },
    /// A moderator takes a ghost's voice away, or gives it back.
    Mute { portal: u64, on: bool },
    /// Another member leaves and returns.
    ComeAndGo { room: u64, member: u64 },
    /// The homeserver delivers an event again.
    Duplicate(u64),
    /// The homeserver delivers an old transaction again.
    Redeliver(u64),
    /// Vizard dies after so many tenths of a millisecond, and is started again.
    Crash { after: u64 },
    /// Vizard is stopped and started again.
    Restart,
    /// How many in 1,000 requests meet each kind of fault.
    Faults(u64),
    /// The next request to an endpoint meets a fault.
    Fail(&'static str, Fault),
    /// The homeserver is restarted.
    HomeserverRestart,
    /// Homeserver and Vizard die together, and the homeserver forgets what it had not yet pushed.
    PowerCut,
    /// The homeserver holds its pushes back.
    Hold,
    /// It pushes again.
    Release,
    /// Nothing happens for so many milliseconds.
    Wait(u64),
    /// Nothing happens until nothing is under way. Not drawn.
    Rest,
}

/// How something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Text,
    Notice,
    Edit,
    Reply,
    Thread,
    React,
    Redact,
    /// A picture with a caption.
    File,
    /// A user's own name stands in it, so it is held; at once the user says `send` or `discard`, or leaves it there.
    Telling,
}

/// A list of operations.
pub fn list(rng: &Rng) -> Vec<Op> {
    let length = 10 + rng.below(51);
    let mut ops = vec![Op::Join { user: 0, room: 0 }];
    if rng.below(2) == 0 {
        ops.push(Op::Join { user: 1, room: 0 });
    }
    // Mostly there are portals to talk in; sometimes the talk begins while they are made.
    if rng.below(4) > 0 {
        ops.push(Op::Wait(60 + rng.below(60)));
    }
    ops.extend((0..length).map(|_| one(rng)));
    ops
}

fn one(rng: &Rng) -> Op {
    let any = |bound| rng.below(bound);
    match any(100) {
        0..=3 => Op::Join {
            user: any(2),
            room: any(2),
        },
        4..=33 => Op::Say {
            portal: any(4),
            how: how(rng),
            pick: any(1000),
        },
        34..=63 => Op::Speak {
            room: any(2),
            member: any(2),
            how: how(rng),
            pick: any(1000),
        },
        64 => Op::Command {
            portal: any(4),
            text: ["rejoin", "whoami", "leave", "nonsense"][choice(rng, 4)],
        },
        65 => Op::Kick { portal: any(4) },
        66..=67 => Op::Mute {
            portal: any(4),
            on: any(2) == 0,
        },
        68 => Op::ComeAndGo {
            room: any(2),
            member: any(2),
        },
        69..=72 => Op::Duplicate(any(1000)),
        73..=75 => Op::Redeliver(any(1000)),
        76..=80 => Op::Crash { after: any(300) },
        81 => Op::Restart,
        82..=83 => Op::Faults([0, 10, 40][choice(rng, 3)]),
        84..=88 => fail(rng),
        89 => Op::HomeserverRestart,
        90 => Op::PowerCut,
        91..=92 => Op::Hold,
        93..=95 => Op::Release,
        _ => Op::Wait(any(20)),
    }
}

fn how(rng: &Rng) -> How {
    match rng.below(14) {
        0 => How::Notice,
        1 => How::Edit,
        2 => How::Reply,
        3 => How::Thread,
        4 => How::React,
        5 => How::Redact,
        6 => How::File,
        7 => How::Telling,
        _ => How::Text,
    }
}

fn fail(rng: &Rng) -> Op {
    let endpoints = [
        "send",
        "send",
        "redact",
        "read_receipt",
        "register",
        "create_device",
        "set_profile",
        "join",
        "invite",
        "create_room",
        "joined_rooms",
        "state",
        "messages",
        "download",
        "reserve_media",
        "upload",
    ];
    let faults = [
        Fault::Limited(50),
        Fault::ErrorBefore,
        Fault::ErrorAfter,
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::Delay(500),
    ];
    Op::Fail(
        endpoints[choice(rng, endpoints.len())],
        faults[choice(rng, faults.len())],
    )
}

fn choice(rng: &Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap()
}
