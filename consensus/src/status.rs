//! How a member stands.

use crate::log_index::LogIndex;
use crate::member_id::MemberId;
use crate::term::Term;

/// What a member does in its term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It follows, or waits for a leader.
    #[default]
    Follower,
    /// It follows without a vote.
    Learner,
    /// It asks whether an election would be worth it.
    PreCandidate,
    /// It stands for election.
    Candidate,
    /// It leads.
    Leader,
}

/// Who leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// This member's role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader of that term, if known.
    pub leader: Option<MemberId>,
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Who leads.
    pub leadership: Leadership,
    /// The last entry known to be committed.
    pub commit: LogIndex,
    /// The last entry handed out to the application.
    pub handed_out: LogIndex,
    /// The first entry in the log, or the one after the last.
    pub first: LogIndex,
    /// The last entry in the log.
    pub last: LogIndex,
    /// Whom leadership is being handed to.
    pub transferring_to: Option<MemberId>,
    /// Whether this member has applied its own removal since it was started.
    pub removed: bool,
    /// How long the oldest write has been waiting for the disk, in ticks.
    pub stalled_ticks: u64,
}
