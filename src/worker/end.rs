//! How an attempt at a job ends, in the store.

use crate::{
    portal::Deps,
    store::{Job, StoreError, Task},
};

/// What an attempt leaves in the store.
pub(super) enum End {
    /// The job is over.
    Finish,
    /// It goes on, as it is now.
    Put,
    /// The same, unless it stands otherwise in the store than before: a look for a key that was ended, or changed, while it ran is
    /// not put back.
    PutIfStill(Box<Job>),
}

impl End {
    /// With `before`, what goes on goes on only if it still stands so.
    pub fn if_still(self, before: Option<Box<Job>>) -> Self {
        match (self, before) {
            (Self::Put, Some(before)) => Self::PutIfStill(before),
            (end, _) => end,
        }
    }

    /// Writes it down, for `job` as it is now.
    pub async fn write(&self, deps: &Deps, job: &Job) -> Result<(), StoreError> {
        match self {
            Self::Finish => deps.store.finish_job(job.id).await,
            Self::Put => deps.store.add_job(job).await,
            Self::PutIfStill(before) => {
                let put = |stored: &mut Job| {
                    let still = *stored == **before;
                    if still {
                        stored.clone_from(job);
                    }
                    still
                };
                deps.store.change_job(job.id, put).await.map(drop)
            }
        }
    }
}

/// What a look for a late key has to find unchanged, to be put back.
pub(super) fn as_before(job: &Job) -> Option<Box<Job>> {
    matches!(job.task, Task::Reopen(_)).then(|| Box::new(job.clone()))
}
