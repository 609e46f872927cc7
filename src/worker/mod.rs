//! What drives everything: transactions in, one ordered lane per portal, durable jobs, upkeep.
//!
//! ```text
//! http → Intake (durable) → Dispatcher → lane of each portal → relay / bot
//!           Hints (in memory) → e2ee
//!                                         jobs (joins, leaves) → portal
//! ```
//!
//! A transaction is stored before it is answered, and removed when every lane it concerned has durably noted what became of
//! its events. Lanes run concurrently; within one lane everything happens in order; one that does not go on keeps the others from
//! nothing (`queue`). Nothing here knows how a message is
//! rewritten or sent.

mod attempt;
mod backoff;
mod behind;
mod broken;
mod direct;
mod dispatcher;
mod end;
mod fetched;
mod handle;
mod hints;
mod intake;
mod job;
mod jobs;
mod lane;
mod lanes;
mod missed;
mod outcome;
mod queue;
mod seen;
mod ticket;
mod turns;
mod upkeep;

pub use dispatcher::Dispatcher;
pub use hints::Hints;
pub use intake::{Intake, Refused, decode};
pub use jobs::run as run_jobs;
pub use lanes::Lanes;
pub use upkeep::run as run_upkeep;
