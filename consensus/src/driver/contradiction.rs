//! Messages that no cluster can send whose members have all kept what they promised.
//!
//! Raft is safe because a member that has acknowledged an entry or given a vote never forgets it. When
//! a directory is put back, emptied or cut short, that ends, and nothing repairs it: what is left is to
//! see it, and stop. Each rule below holds in any cluster that forgets nothing, whatever its network
//! loses, delays, repeats and reorders; so who sees one broken knows that somebody has forgotten.
//!
//! The proofs use three things. A leader of term T only appends to its log while it leads (*append
//! only*). There is at most one leader of a term (*election safety*), and it has all entries committed
//! in terms before (*completeness*). A message of an earlier term than ours proves nothing, as logs may
//! have been cut since; it is left to raft, which ignores it.

use raft::StateRole;
use raft::eraftpb::{Message, MessageType};

use super::Driver;
use crate::log_index::LogIndex;
use crate::member_id::MemberId;
use crate::term::Term;

/// What shows that a member has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// A leader knows that this member has acknowledged more than its log has.
    ///
    /// A heartbeat's commit index is at most what its receiver has acknowledged to that leader, in its
    /// term T. Whoever has acknowledged in T has T on disk and is cut by no leader of an earlier term;
    /// the leader of T is append only; and ours is no later term. So the entry is here, unless this
    /// member has forgotten it.
    #[error(
        "this member has acknowledged entry {commit}, but its log ends at {last}: its log went back"
    )]
    CommitBeyondLog {
        /// What the leader knows to be acknowledged and committed.
        commit: LogIndex,
        /// Where our log ends.
        last: LogIndex,
    },
    /// A member acknowledges to this leader, in its term, what is not in its log.
    ///
    /// A follower acknowledges the last entry of the leader's message, which the leader, append only,
    /// still has; or the last that it knows to be committed, which the leader has by completeness. (A
    /// leader that has restarted is none any more, and may indeed lack what it sent.)
    #[error("it has committed entry {index}, but the log of this leader ends at {last}")]
    AcknowledgedBeyondLog {
        /// What is acknowledged.
        index: LogIndex,
        /// Where the leader's log ends.
        last: LogIndex,
    },
    /// The leader's log, or the database that it sends, has another entry where this member knows one
    /// to be committed.
    ///
    /// What is committed here was committed in a term up to ours, and the leader is of ours or a later
    /// one: by completeness, or because it committed it itself, it has the same entry.
    #[error(
        "entry {index} is committed here with term {ours}, and the leader has it with {theirs}"
    )]
    CommittedEntry {
        /// Which entry.
        index: LogIndex,
        /// Its term here.
        ours: Term,
        /// Its term there.
        theirs: Term,
    },
    /// Two members lead in one term: somebody has voted twice in it.
    #[error("another member leads in the same term: {known}")]
    TwoLeaders {
        /// The one that was known to lead; maybe this member.
        known: MemberId,
    },
}

impl Contradiction {
    /// Its name, as metrics and logs have it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CommitBeyondLog { .. } => "commit_beyond_log",
            Self::AcknowledgedBeyondLog { .. } => "acknowledged_beyond_log",
            Self::CommittedEntry { .. } => "committed_entry",
            Self::TwoLeaders { .. } => "two_leaders",
        }
    }

    /// Whether this member must stop at once: it has forgotten, or cannot follow who leads without
    /// giving up what was committed. Otherwise it leads, and must not count who sent the message.
    #[must_use]
    pub const fn stops_this_member(&self) -> bool {
        !matches!(self, Self::AcknowledgedBeyondLog { .. })
    }
}

impl Driver {
    /// What of `message` cannot be if nobody has forgotten anything.
    pub(super) fn contradiction(&self, message: &Message) -> Option<Contradiction> {
        let raft = &self.raw.raft;
        if message.term < raft.term {
            return None;
        }
        let last = LogIndex::new(raft.raft_log.last_index());
        match message.msg_type() {
            MessageType::MsgAppendResponse => {
                let index = LogIndex::new(message.index);
                let is_ours = message.term == raft.term && raft.state == StateRole::Leader;
                (is_ours && !message.reject && index > last)
                    .then_some(Contradiction::AcknowledgedBeyondLog { index, last })
            }
            MessageType::MsgHeartbeat => {
                let commit = LogIndex::new(message.commit);
                self.other_leader(message).or_else(|| {
                    (commit > last).then_some(Contradiction::CommitBeyondLog { commit, last })
                })
            }
            MessageType::MsgAppend => self.other_leader(message).or_else(|| {
                let before = self.other_entry(message.index, message.log_term);
                let mut entries = message.entries.iter();
                before.or_else(|| entries.find_map(|it| self.other_entry(it.index, it.term)))
            }),
            MessageType::MsgSnapshot => self.other_leader(message).or_else(|| {
                let metadata = message.get_snapshot().get_metadata();
                self.other_entry(metadata.index, metadata.term)
            }),
            _ => None,
        }
    }

    /// Another leader of our term than the one we know.
    fn other_leader(&self, message: &Message) -> Option<Contradiction> {
        let raft = &self.raw.raft;
        let known = MemberId::from_wire(raft.leader_id)?;
        let is_other = message.term == raft.term && message.from != raft.leader_id;
        is_other.then_some(Contradiction::TwoLeaders { known })
    }

    /// An entry of a leader's that is committed here with another term.
    fn other_entry(&self, index: u64, term: u64) -> Option<Contradiction> {
        let log = &self.raw.raft.raft_log;
        if index == 0 || index > log.committed {
            return None;
        }
        // What is before the beginning of our log cannot be compared.
        let ours = log.term(index).ok().filter(|ours| *ours != 0)?;
        (ours != term).then_some(Contradiction::CommittedEntry {
            index: LogIndex::new(index),
            ours: Term::new(ours),
            theirs: Term::new(term),
        })
    }
}
