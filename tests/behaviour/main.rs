//! What Vizard does in situations that real homeservers bring about seldom or slowly: against the fake homeserver, with a clock
//! that runs fast.

#[path = "../testkit/fake/mod.rs"]
mod fake;
#[path = "../simulation/service.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod service;
#[path = "../bad_input/world.rs"]
#[allow(dead_code, reason = "bad input uses more of it")]
mod world;

mod addresses;
mod again;
mod answering;
mod arriving;
mod asking;
mod bridge;
#[cfg(debug_assertions)]
mod broken;
mod creating;
mod crowd;
mod departures;
mod devices;
mod ending;
mod fairness;
mod fates;
mod gaps;
mod guarding;
mod halfway;
mod hostile;
mod idle;
mod inviter;
mod keys;
mod late;
mod lost;
mod member;
mod members;
mod moved;
mod older;
mod overheard;
mod peer;
mod pictures;
mod quotas;
mod ready;
mod secrecy;
mod settings;
mod sharing;
mod silence;
mod steps;
mod stickers;
mod strangers;
mod stuck;
mod times;
mod trust;
mod unwanted;
mod vouching;
mod whispers;
mod whois;
