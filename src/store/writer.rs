//! The group commit: acknowledged transactions, links and keys of whoever waits share one durable transaction.
//!
//! Callers seal their rows themselves and hand them over in the order of their calls; one task gathers
//! what has come, writes it, and answers each caller when it is durable, or with the error if it is not.
//! Every write here may be repeated without harm, so a lost connection is simply tried again.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    StoreError,
    db::Database,
    group::{CryptoRow, Work, write},
    links::{log::LinkLog, look},
    log::Log,
    seal::Hash,
};
use crate::clock::Clock;

/// How many calls may wait before further ones are slowed down.
const QUEUE: usize = 1024;
/// What one transaction takes at most (the call that reaches it is still taken whole). Larger ones gain
/// nothing: the pages that they touch no longer fit SQLite's cache.
const MOST_ROWS: usize = 512;
const MOST_BYTES: usize = 8 << 20;
/// So many rows that wait for others wait no more. Their readers keep many more of them in memory.
const ENOUGH_KEPT: usize = 64;
/// A group of links of this size waits for no more.
const ENOUGH_ROWS: usize = 384;
/// After a group of this size, the next group of links waits [`LINGER`] for more: a commit then serves several. Nobody waits for links to be durable but to go on after a good many of them.
const BUSY_ROWS: usize = 16;
const LINGER: Duration = Duration::from_millis(5);

enum Request {
    Write(Work, oneshot::Sender<Result<(), StoreError>>),
    Keep(Vec<CryptoRow>),
    Look(Vec<Hash>, oneshot::Sender<Result<Vec<Hash>, StoreError>>),
    Merge(oneshot::Sender<Result<(), StoreError>>),
    Close(oneshot::Sender<()>),
    #[cfg(debug_assertions)]
    BreakOff,
}

/// The way to the writing task.
#[derive(Debug)]
pub(super) struct Writer(mpsc::Sender<Request>);

impl Writer {
    /// Starts the task. It ends with [`Writer::close`] or when the last handle is gone. If it panics, which is a bug, `broken` is
    /// cancelled.
    pub(super) fn start(
        database: Arc<Database>,
        clock: Clock,
        links: LinkLog,
        broken: CancellationToken,
    ) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let task = AssertUnwindSafe(run(database, clock, links, queue));
            if task.catch_unwind().await.is_err() {
                broken.cancel();
            }
        });
        Self(requests)
    }

    /// Lets the task panic.
    #[cfg(debug_assertions)]
    pub(super) async fn break_off(&self) {
        let _ = self.0.send(Request::BreakOff).await;
    }

    /// Hands over `work`. Its place in the order is taken when this returns; the answer comes when it
    /// is durable.
    pub(super) async fn submit(&self, work: Work) -> Result<Answer, StoreError> {
        let (answer, receiver) = oneshot::channel();
        self.0
            .send(Request::Write(work, answer))
            .await
            .map_err(|_| StoreError::Closed)?;
        Ok(Answer(receiver))
    }

    /// Hands over rows that are to be durable with, or before, whatever is handed over later, and for which nobody waits: they
    /// wait for that, so that they cost no commit of their own.
    pub(super) async fn keep(&self, rows: Vec<CryptoRow>) -> Result<(), StoreError> {
        let sent = self.0.send(Request::Keep(rows)).await;
        sent.map_err(|_| StoreError::Closed)
    }

    /// Which links have these sources: all whose writing was answered before the call, and perhaps others.
    /// Asked on the writing connection, whose cache then has the pages to which new ones will go.
    pub(super) async fn look(&self, sources: Vec<Hash>) -> Result<Vec<Hash>, StoreError> {
        let (answer, receiver) = oneshot::channel();
        self.0
            .send(Request::Look(sources, answer))
            .await
            .map_err(|_| StoreError::Closed)?;
        receiver.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Merges all links whose writing was answered before the call.
    pub(super) async fn merge(&self) -> Result<(), StoreError> {
        let (answer, receiver) = oneshot::channel();
        self.0
            .send(Request::Merge(answer))
            .await
            .map_err(|_| StoreError::Closed)?;
        receiver.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Waits until all that was handed over is written; later calls fail with [`StoreError::Closed`].
    pub(super) async fn close(&self) {
        let (answer, receiver) = oneshot::channel();
        if self.0.send(Request::Close(answer)).await.is_ok() {
            let _ = receiver.await;
        }
    }
}

/// The outcome to come of a [`Writer::submit`].
#[derive(Debug)]
pub(super) struct Answer(oneshot::Receiver<Result<(), StoreError>>);

impl Future for Answer {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(StoreError::Closed)))
    }
}

/// Calls that are written together.
#[derive(Default)]
struct Group {
    work: Work,
    answers: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl Group {
    fn take(&mut self, work: Work, answer: oneshot::Sender<Result<(), StoreError>>) {
        self.work.append(work);
        self.answers.push(answer);
    }

    fn append(&mut self, mut other: Self) {
        self.work.append(other.work);
        self.answers.append(&mut other.answers);
    }

    fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

/// The writing task's memory.
struct Run {
    database: Arc<Database>,
    clock: Clock,
    queue: mpsc::Receiver<Request>,
    /// Calls with transactions to be acknowledged, for which the homeserver waits, and with keys, for which a message waits.
    urgent: Group,
    /// Other calls, for which hardly anybody waits.
    patient: Group,
    /// What is written with either.
    kept: Vec<CryptoRow>,
    /// Until when the latter wait for more, if they do.
    until: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Whether more is likely to come soon.
    busy: bool,
    closing: Vec<oneshot::Sender<()>>,
    /// Whether the last turn wrote in vain.
    failed: bool,
    links: LinkLog,
    /// Whether the last turn merged.
    merged: bool,
    log: Log,
}

/// What is to be done next.
enum Turn {
    Write,
    Merge,
    /// There is nothing, and there will be nothing more.
    End,
}

async fn run(
    database: Arc<Database>,
    clock: Clock,
    links: LinkLog,
    queue: mpsc::Receiver<Request>,
) {
    let mut run = Run {
        database,
        clock,
        queue,
        urgent: Group::default(),
        patient: Group::default(),
        kept: Vec::new(),
        until: None,
        busy: false,
        closing: Vec::new(),
        failed: false,
        links,
        merged: false,
        log: Log::default(),
    };
    loop {
        let turn = run.gather().await;
        run.merged = matches!(turn, Turn::Merge);
        match turn {
            Turn::Write => run.write().await,
            Turn::Merge => {
                let links = run.links.step(&run.database).await;
                run.log.merged(links);
            }
            Turn::End => break,
        }
        run.log.copy_back(&run.database).await;
    }
    for answer in run.closing {
        let _ = answer.send(());
    }
}

impl Run {
    /// Waits until something is to be done. Merging takes turns with what waits.
    async fn gather(&mut self) -> Turn {
        loop {
            while self.has_room()
                && let Ok(request) = self.queue.try_recv()
            {
                self.take(request).await;
            }
            let due = self.links.is_due();
            if due && !self.merged {
                return Turn::Merge;
            }
            // After a failure they wait for others again: nobody tries them by themselves.
            let many = self.kept.len() >= ENOUGH_KEPT && !self.failed;
            if many || !self.urgent.is_empty() || self.patient.work.rows() >= ENOUGH_ROWS {
                return Turn::Write;
            }
            if due && self.patient.is_empty() {
                return Turn::Merge;
            }
            if !self.patient.is_empty() {
                if !self.busy || self.queue.is_closed() {
                    self.until = None;
                    return Turn::Write;
                }
                let clock = self.clock.clone();
                self.until
                    .get_or_insert_with(|| Box::pin(async move { clock.sleep(LINGER).await }));
            }
            let enough = async {
                match &mut self.until {
                    Some(until) => until.await,
                    None => std::future::pending().await,
                }
            };
            let request = tokio::select! {
                request = self.queue.recv() => request,
                () = enough => {
                    self.until = None;
                    return Turn::Write;
                }
            };
            match request {
                Some(request) => self.take(request).await,
                None if !self.patient.is_empty() => {}
                None if !self.kept.is_empty() && !self.failed => return Turn::Write,
                None => return Turn::End,
            }
        }
    }

    async fn write(&mut self) {
        let together = self.until.is_none() || self.patient.work.rows() >= ENOUGH_ROWS;
        let mut group = std::mem::take(&mut self.urgent);
        if together {
            self.until = None;
            self.busy = self.patient.work.rows() >= BUSY_ROWS;
            group.append(std::mem::take(&mut self.patient));
        }
        group.work.heard = std::mem::take(&mut self.kept);
        group.work.arrange();
        let segment = self.links.segment(&mut group.work.links);
        self.log.grew(&group.work);
        let outcome = write(&self.database, &group.work, segment.as_ref()).await;
        if let (Ok(()), Some((seq, _))) = (&outcome, segment) {
            self.links.written(seq, group.work.links);
        }
        self.failed = outcome.is_err();
        if self.failed {
            // Before what is handed over with the links that will be tried again.
            self.kept = group.work.heard;
        }
        let outcome = outcome.map_err(Arc::new);
        for answer in group.answers {
            let _ = answer.send(outcome.clone().map_err(StoreError::Commit));
        }
    }

    fn has_room(&self) -> bool {
        self.urgent.work.rows() + self.patient.work.rows() + self.kept.len() < MOST_ROWS
            && self.urgent.work.bytes() < MOST_BYTES
    }

    async fn take(&mut self, request: Request) {
        match request {
            Request::Write(work, answer) if work.is_urgent() => self.urgent.take(work, answer),
            Request::Write(work, answer) => self.patient.take(work, answer),
            Request::Keep(mut rows) => self.kept.append(&mut rows),
            Request::Look(sources, answer) => {
                let (database, tail) = (&self.database, self.links.tail());
                let found = look(tail, database.engine, &database.writer, sources).await;
                let _ = answer.send(found);
            }
            Request::Merge(answer) => self.links.merge_all(answer),
            Request::Close(answer) => {
                self.queue.close();
                self.closing.push(answer);
            }
            #[cfg(debug_assertions)]
            Request::BreakOff => std::panic::resume_unwind(Box::new("to order")),
        }
    }
}

#[cfg(test)]
mod tests;
