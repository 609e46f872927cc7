//! What the encryption cannot be cheaper than: bare `matrix-sdk-crypto`, in memory, in one thread, doing for the same number
//! of messages what Vizard must do for each: one is decrypted, and one is encrypted.

use std::{fs, sync::Mutex, time::Duration};

use rand::{Rng as _, rngs::StdRng};

use crate::{
    event::text,
    ledger::Sealed,
    person::Person,
    stub::{
        keys::Keys,
        world::{member_id, room_id},
    },
};

/// Microseconds of CPU per message.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub encrypt: f64,
    pub decrypt: f64,
}

/// Encrypts and decrypts `messages` messages in `rooms` rooms, each by one of `members` and for another user in each room.
pub async fn measure(
    rooms: usize,
    members: u32,
    messages: u32,
    rng: &mut StdRng,
) -> anyhow::Result<Cost> {
    let server = Mutex::new(Keys::default());
    let mut senders = Vec::new();
    for member in 0..members {
        senders.push(Person::new(&server, &member_id(member)).await?);
    }
    let (mut readers, mut names) = (Vec::new(), Vec::new());
    for room in 0..rooms {
        let name = format!("@reader{room}:a.example");
        readers.push(Person::new(&server, &name).await?);
        names.push(ruma::OwnedUserId::try_from(name)?);
    }
    let body = "lane 12345 from 1 number 1234: some words of the usual length for a chat";
    let content = text(body);
    let mut said = Vec::new();
    // Everybody speaks once before the clock starts, as in the other runs.
    let everybody = (0..rooms).flat_map(|room| (0..members).map(move |member| (room, member)));
    let speakers: Vec<_> = everybody
        .chain((0..messages).map(|_| (rng.random_range(0..rooms), rng.random_range(0..members))))
        .collect();
    let first = speakers.len() - messages as usize;
    let mut begun = cpu();
    for (number, (room, member)) in speakers.into_iter().enumerate() {
        if number == first {
            begun = cpu();
        }
        let sender = &mut senders[member as usize];
        let id = room_id(room);
        let users = vec![names[room].clone()];
        let sealed = sender.seal(&server, &id, users, &content).await?;
        said.push((room, member, id, sealed));
    }
    let encrypt = cpu().saturating_sub(begun);
    let mut begun = cpu();
    for (number, (room, member, room_id, content)) in said.into_iter().enumerate() {
        if number == first {
            begun = cpu();
        }
        let sealed = Sealed {
            path: Box::default(),
            room: 0,
            room_id,
            user: member_id(member),
            at: std::time::Instant::now(),
            event: "$event".to_owned(),
            content,
        };
        let opened = readers[room].open(&server, &sealed).await?;
        anyhow::ensure!(opened.contains(body), "bare decryption gave {opened}");
    }
    let decrypt = cpu().saturating_sub(begun);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(messages.max(1));
    Ok(Cost {
        encrypt: each(encrypt),
        decrypt: each(decrypt),
    })
}

/// The CPU time of this thread.
fn cpu() -> Duration {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = schedstat
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
