//! A lane whose task panicked. That is a bug, and one event must not end a portal for it: the event is left out, and the lane begins
//! anew with what the inbox holds for it, as after a crash.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;

use super::{
    attempt::persist,
    direct,
    lanes::{LaneKey, Lanes, lock},
    queue::Begun,
};
use crate::{
    bot, relay,
    store::{Batch, Link},
};

/// How long a lane rests after it broke off: what breaks it at once is not to keep the machine busy.
const REST: Duration = Duration::from_secs(1);

impl Lanes {
    /// Carries out the work of a lane, and begins anew if it breaks off.
    pub(super) async fn guard<F: Future<Output = ()>>(
        self: &Arc<Self>,
        key: &LaneKey,
        work: impl Fn() -> F,
    ) {
        while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
            metrics::counter!("vizard_failures_total", "class" => "bug").increment(1);
            tracing::error!(
                "a lane broke off at an event: this is a bug, please report it; the event is left out"
            );
            // What it handed over to be written is written meanwhile.
            let rest = self.deps.clock.sleep(REST);
            if self.stop.run_until_cancelled(rest).await.is_none() {
                return;
            }
            let Some(begun) = self.begin_anew(key) else {
                return; // it had ended
            };
            for begun in begun {
                self.leave_out(key, &begun).await;
            }
        }
    }

    /// Throws out of memory what waits in a lane that broke off, so that it is read from the inbox; what it was about, one event
    /// or none. `None`: there is no such lane.
    fn begin_anew(&self, key: &LaneKey) -> Option<Vec<Begun>> {
        let (gone, begun) = lock(&self.queues).get_mut(key)?.break_off();
        self.finished(gone);
        // What its relay had seen is gone with it: what was dispatched until now is not to be trusted.
        self.forget_relay(key);
        Some(begun.into_iter().collect())
    }

    /// Says that an event is left out, and writes down that it was handled.
    async fn leave_out(self: &Arc<Self>, key: &LaneKey, begun: &Begun) {
        let (event, direction) = (&*begun.event, begun.direction);
        let (id, portal) = match key {
            LaneKey::Portal(portal) => (*portal, Some(*portal)),
            LaneKey::Direct(room) => (direct::lane_id(self, room), None),
        };
        let prefix = &self.deps.config.portal.command_prefix;
        let command = bot::text_of(event).and_then(|text| bot::strip_prefix(&text, prefix));
        let command = command.is_some();
        let tell = || async {
            match key {
                LaneKey::Portal(portal) => {
                    relay::left_out(&self.deps, *portal, direction, event, command).await
                }
                LaneKey::Direct(room) => bot::broke_off(&self.deps, room, event).await,
            }
        };
        let told = AssertUnwindSafe(Box::pin(persist(self, portal, tell)));
        // What breaks the telling as well is left out without a word.
        let _ = told.catch_unwind().await;
        if self.stop.is_cancelled() {
            return; // it may not have been told
        }
        let batch = Batch {
            links: vec![(id, Link::of(event, direction, None))],
            done: Vec::new(),
        };
        let write = || async { Ok(self.deps.store.commit(&batch).await?) };
        let _: Option<()> = Box::pin(persist(self, None, write)).await;
    }
}
