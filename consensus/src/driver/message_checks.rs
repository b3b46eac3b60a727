//! What a message must be before raft sees it.
//!
//! raft-rs trusts its peers and panics at messages that no peer of its kind sends. Here they are
//! refused, one rule for each of its assumptions; and with them what shows that a member has forgotten
//! ([`Contradiction`]).

use cairn_proto::raftpb;
use raft::StateRole;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use super::Driver;
use super::contradiction::Contradiction;
use crate::conf_change::{ConfChange, ConfState};
use crate::member_id::MemberId;
use crate::term::Term;
use crate::wire::{self, UnreadableMessage};

/// More than a read's context has: its member, its number, the leader's number.
const READ_BYTES_MAX: usize = 32;

/// Why a message was refused. The state machine is as it was.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It is not a message that members send one another.
    #[error(transparent)]
    Unreadable(#[from] UnreadableMessage),
    /// It is for somebody else, or from nobody.
    #[error("message from {from:x} to {to:x} is not for this member")]
    Address {
        /// Whom it is from.
        from: u64,
        /// Whom it is for.
        to: u64,
    },
    /// It contradicts itself, or what is known to be committed.
    #[error("message of type {message_type} is impossible: {reason}")]
    Impossible {
        /// Its type, as etcd names it.
        message_type: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// Raft has no use for it: its sender is not a member, or there is no leader to pass it on to.
    #[error("message was dropped: {0}")]
    Dropped(String),
    /// Somebody has forgotten what it promised. If [`Contradiction::stops_this_member`] says so, this
    /// member must stop before it sends anything more.
    #[error("message of member {from} in term {term} contradicts what is known: {contradiction}")]
    Contradiction {
        /// Whom it is from.
        from: MemberId,
        /// Its term.
        term: Term,
        /// What cannot be.
        contradiction: Contradiction,
    },
    /// A vote or an acknowledgement of a member that has contradicted this one as its leader.
    #[error("message of a member that has contradicted this one")]
    Distrusted,
}

impl StepError {
    /// Why, in a word, as metrics have it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Address { .. } => "address",
            Self::Impossible { .. } => "impossible",
            Self::Dropped(_) => "dropped",
            Self::Contradiction { contradiction, .. } => contradiction.name(),
            Self::Distrusted => "distrusted",
        }
    }
}

impl Driver {
    /// Takes a message from another member.
    ///
    /// # Errors
    ///
    /// [`StepError`]; senders need not be told.
    pub fn step(&mut self, message: raftpb::Message) -> Result<(), StepError> {
        let mut message = wire::message_from_wire(message)?;
        self.check_address(&message)?;
        self.check_memory(&message)?;
        self.check(&message)
            .map_err(|reason| StepError::Impossible {
                message_type: raftpb::MessageType::try_from(message.msg_type)
                    .map_or("?", |message_type| message_type.as_str_name()),
                reason,
            })?;
        if let Some(sender) = MemberId::from_wire(message.from) {
            self.hear(sender);
        }
        match message.msg_type() {
            // Passed on to a leader, it must look as if it came from here.
            MessageType::MsgTransferLeader => {
                if message.term < self.raw.raft.term {
                    return Err(StepError::Dropped("it is of an earlier term".to_owned()));
                }
                message.term = 0;
            }
            MessageType::MsgAppendResponse => self.mend_rejection(&mut message)?,
            MessageType::MsgReadIndex if self.raw.raft.state == StateRole::Leader => {
                self.number_read(&mut message);
            }
            MessageType::MsgTimeoutNow if self.is_changing() => {
                self.told_to_stand = Some(message);
                return Ok(());
            }
            _ => {}
        }
        self.raw
            .step(message)
            .map_err(|error| StepError::Dropped(error.to_string()))
    }

    /// Gives a read that another member asks for a context that was never used. If its message
    /// comes twice, followers may have confirmed it the first time; raft-rs would take that for the
    /// second time, and for all reads that were asked for in between.
    fn number_read(&mut self, message: &mut Message) {
        self.reads_numbered += 1;
        for entry in &mut message.entries {
            let number = self.reads_numbered.to_be_bytes();
            entry.data = [entry.data.as_ref(), &number].concat().into();
        }
    }

    /// Keeps a rejection that was long under way from making raft forget what the follower has
    /// acknowledged since: raft-rs 0.7 would go back before it, perhaps to before the log begins.
    fn mend_rejection(&self, message: &mut Message) -> Result<(), StepError> {
        let progress = self.raw.raft.prs().get(message.from);
        let matched = progress.map_or(0, |progress| progress.matched);
        if !message.reject || message.term != self.raw.raft.term {
            return Ok(());
        }
        if message.index <= matched {
            let why = "it rejects what was acknowledged";
            return Err(StepError::Dropped(why.to_owned()));
        }
        if message.reject_hint < matched {
            message.reject_hint = matched;
            message.log_term = 0;
        }
        Ok(())
    }

    /// Refuses what shows that somebody has forgotten, and from then on what its sender promises.
    fn check_memory(&mut self, message: &Message) -> Result<(), StepError> {
        let Some(from) = MemberId::from_wire(message.from) else {
            return Ok(());
        };
        if let Some(contradiction) = self.contradiction(message) {
            if !contradiction.stops_this_member() {
                self.distrusted.insert(from);
            }
            return Err(StepError::Contradiction {
                from,
                term: Term::new(message.term),
                contradiction,
            });
        }
        let promises = matches!(
            message.msg_type(),
            MessageType::MsgAppendResponse
                | MessageType::MsgHeartbeatResponse
                | MessageType::MsgRequestVoteResponse
                | MessageType::MsgRequestPreVoteResponse
        );
        if promises && self.distrusted.contains(&from) {
            return Err(StepError::Distrusted);
        }
        Ok(())
    }

    fn check_address(&self, message: &Message) -> Result<(), StepError> {
        let names_target = message.msg_type() == MessageType::MsgTransferLeader;
        let from_other = message.from != self.member.get() || names_target;
        if message.to == self.member.get() && message.from != 0 && from_other {
            return Ok(());
        }
        Err(StepError::Address {
            from: message.from,
            to: message.to,
        })
    }

    fn check(&self, message: &Message) -> Result<(), &'static str> {
        let kind = message.msg_type();
        let to_leader = matches!(kind, MessageType::MsgPropose | MessageType::MsgReadIndex);
        if to_leader != (message.term == 0) {
            return Err("only what is passed on to a leader is without a term");
        }
        let last = self.raw.raft.raft_log.last_index();
        match kind {
            MessageType::MsgPropose => self.check_proposals(&message.entries),
            MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => {
                match message.entries.as_slice() {
                    [entry] if entry.data.len() <= READ_BYTES_MAX => Ok(()),
                    [_] => Err("a read's context is too long"),
                    _ => Err("a read is one entry"),
                }
            }
            MessageType::MsgAppend => self.check_append(message),
            MessageType::MsgAppendResponse => {
                // From before this member, then leading, lost what it had sent and not yet written.
                let current = message.term == self.raw.raft.term;
                let beyond = !message.reject && message.index > last;
                if current && beyond {
                    Err("acknowledges what was lost")
                } else {
                    Ok(())
                }
            }
            MessageType::MsgSnapshot => check_snapshot(message),
            MessageType::MsgHup
            | MessageType::MsgBeat
            | MessageType::MsgUnreachable
            | MessageType::MsgSnapStatus
            | MessageType::MsgCheckQuorum => Err("it never leaves a member"),
            // Votes are asked for once the log is durable, and it does not grow until they come.
            MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse
                if self.raw.raft.raft_log.persisted < last =>
            {
                Err("answers what was not asked")
            }
            MessageType::MsgRequestVote
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse
            | MessageType::MsgHeartbeat
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgTransferLeader => Ok(()),
            MessageType::MsgTimeoutNow if self.may_campaign() => Ok(()),
            MessageType::MsgTimeoutNow => Err("this member cannot lead before its log is durable"),
        }
    }

    fn check_proposals(&self, entries: &[Entry]) -> Result<(), &'static str> {
        if entries.is_empty() {
            return Err("proposes nothing");
        }
        entries.iter().try_for_each(|entry| self.check_entry(entry))
    }

    fn check_append(&self, message: &Message) -> Result<(), &'static str> {
        let (mut index, mut term) = (message.index, message.log_term);
        // To raft, an entry that it does not have is of term 0.
        if (index == 0) != (term == 0) {
            return Err("only the log's beginning is without a term");
        }
        if term > message.term {
            return Err("entries are from the future");
        }
        for entry in &message.entries {
            if Some(entry.index) != index.checked_add(1) {
                return Err("entries are not consecutive");
            }
            if entry.term < term.max(1) || entry.term > message.term {
                return Err("terms of entries do not rise");
            }
            self.check_entry(entry)?;
            (index, term) = (entry.index, entry.term);
        }
        Ok(())
    }

    fn check_entry(&self, entry: &Entry) -> Result<(), &'static str> {
        if entry.data.len() > self.entry_bytes_max {
            return Err("an entry is too large");
        }
        match EntryType::try_from(entry.entry_type) {
            Ok(EntryType::EntryNormal) => Ok(()),
            Ok(EntryType::EntryConfChange) => match ConfChange::decode(entry.data.clone()) {
                Ok(_) => Ok(()),
                Err(_) => Err("a configuration change is unreadable"),
            },
            Ok(EntryType::EntryConfChangeV2) | Err(_) => Err("an entry is of a type not known"),
        }
    }
}

fn check_snapshot(message: &Message) -> Result<(), &'static str> {
    let metadata = message.get_snapshot().get_metadata();
    if metadata.index == 0 || metadata.term == 0 || metadata.term > message.term {
        return Err("a snapshot of no place in the log");
    }
    match ConfState::from_raft(metadata.get_conf_state()) {
        Some(state) if !state.voters.is_empty() => Ok(()),
        _ => Err("a snapshot without a configuration"),
    }
}
