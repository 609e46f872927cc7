//! Records of durable work: what a job does, and whom it tells.

use ruma::{OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId, OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};

use super::{CreateTask, InviteTask, PortalId, TellTask, WithdrawTask};
use crate::clock::UnixMillis;

/// Durable work that is due at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id: random, or derived so that one job is not queued twice.
    pub id: [u8; 16],
    /// When it is due.
    pub due: UnixMillis,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: u32,
    /// How often it panicked, which is a bug.
    #[serde(default)]
    pub broken: u32,
    /// What to do.
    pub task: Task,
}

/// What a job does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Join a room, or return to it.
    Join(JoinTask),
    /// Look once more for the key of a message.
    Reopen(ReopenTask),
    /// Look once more for the keys of a room's encrypted state.
    Look {
        /// The portal.
        portal: PortalId,
    },
    /// The ghost leaves its room.
    Leave {
        /// The portal.
        portal: PortalId,
        /// Destroy the pseudonym afterwards.
        forget: bool,
        /// Who is told when it is done.
        report: Option<Report>,
        /// Whether its time was drawn, because others of the user leave too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        spread: bool,
    },
    /// Invite somebody.
    Invite(Box<InviteTask>),
    /// Make a room.
    Create(Box<CreateTask>),
    /// A ghost that was invited and not accepted leaves.
    Withdraw(WithdrawTask),
    /// Tell a user of an invite that they will not see.
    Tell(TellTask),
}

/// A message that stands in a portal as a placeholder, because its key was missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReopenTask {
    /// The portal.
    pub portal: PortalId,
    /// The encrypted event, as JSON.
    pub event: String,
    /// The placeholder; none: it is not known yet whether it was sent.
    #[serde(default)]
    pub shown: Option<OwnedEventId>,
}

/// A join that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTask {
    /// Who asked.
    pub user: OwnedUserId,
    /// The room's id or alias.
    pub target: OwnedRoomOrAliasId,
    /// Servers through which it can be reached.
    #[serde(default)]
    pub via: Vec<OwnedServerName>,
    /// Knock instead of joining.
    #[serde(default)]
    pub knock: bool,
    /// The display name that the user asked for.
    #[serde(default)]
    pub nick: Option<String>,
    /// The portal whose room was replaced by the target: its pseudonym goes along.
    #[serde(default)]
    pub successor_of: Option<PortalId>,
    /// Whether this job made the pseudonym, which nobody has seen yet.
    #[serde(default)]
    pub fresh: bool,
    /// How far it is.
    #[serde(default)]
    pub stage: JoinStage,
    /// Who is told.
    pub report: Report,
}

/// How far a join is, as far as that decides what its next attempt may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinStage {
    /// It was asked for, or gave up by itself and has still to say so.
    #[default]
    Asked,
    /// The ghost is on its way. If it is outside at the next attempt, somebody ended that.
    UnderWay,
    /// The ghost of this portal was in, and the user was told. From then on only the rooms behind it are left.
    Arrived(PortalId),
}

/// Where the progress of a job is told, as edits of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The room in which the command was given.
    pub room: OwnedRoomId,
    /// The command's event (or whatever caused the job): the source of the report's transaction ids.
    pub command: OwnedEventId,
    /// The portal whose host reports; `None`: the bot does, in the direct chat.
    #[serde(default)]
    pub portal: Option<PortalId>,
    /// Nobody gave a command: the report answers none.
    #[serde(default)]
    pub unasked: bool,
    /// Nothing is said, because somebody else would read it.
    #[serde(default)]
    pub silent: bool,
    /// The first message, which later ones edit.
    #[serde(default)]
    pub message: Option<OwnedEventId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_of_before_panics_were_counted_is_read() {
        let id = [7; 16];
        let json = serde_json::json!({"id": id, "due": 3, "attempts": 4, "task": {"look": {"portal": PortalId(id)}}});
        let job: Job = serde_json::from_value(json).expect("a job");
        assert_eq!((job.attempts, job.broken), (4, 0));
    }
}
