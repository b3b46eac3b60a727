//! What must hold at every step of a run, whatever clients see.
//!
//! 1. A term has one leader.
//! 2. A place in the log is committed once: whatever any member hands out for it, in any life, is
//!    the same entry.
//! 3. A revision is the same change on every member that applies it, in any life.
//! 4. A request is answered the same by every member that applies it.
//! 5. What the rules of users and roles forbid at its place in the log is refused, and nothing else is
//!    for their sake; what is read is allowed by the rules at that place.

use std::collections::BTreeMap;

use cairn_auth::AuthInfo;
use cairn_consensus::{Entry, EntryKind, LogIndex, Role, Status};
use cairn_history::{MemberId, Request};
use cairn_mvcc::{Change, Revision};
use cairn_replica::apply::Applied;
use cairn_replica::error::ApplyError;
use cairn_replica::log_request::{LogEntry, LogRequest};

use crate::rules::{Decision, Rules};
use crate::trace::Digest;

/// A broken rule, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(
    /// In plain words.
    pub String,
);

/// What the checker has seen.
#[derive(Debug, Default)]
pub(crate) struct InvariantChecker {
    leaders: BTreeMap<u64, MemberId>,
    committed: BTreeMap<LogIndex, (u64, u64)>,
    changes: BTreeMap<Revision, u64>,
    replies: BTreeMap<u64, u64>,
    /// The rules after the last entry, and after each change of them.
    rules: Rules,
    rules_from: BTreeMap<LogIndex, Rules>,
    /// What the rules said of each request at its place.
    decisions: BTreeMap<u64, Decision>,
}

impl InvariantChecker {
    /// Sees where a member stands.
    pub(crate) fn see_status(
        &mut self,
        member: MemberId,
        status: &Status,
    ) -> Result<(), Violation> {
        if status.leadership.role != Role::Leader {
            return Ok(());
        }
        let term = status.leadership.term.get();
        let leader = *self.leaders.entry(term).or_insert(member);
        if leader == member {
            return Ok(());
        }
        Err(Violation(format!(
            "term {term} has two leaders, {leader} and {member}"
        )))
    }

    /// Sees entries that a member hands out as committed.
    pub(crate) fn see_committed(
        &mut self,
        member: MemberId,
        entries: &[Entry],
    ) -> Result<(), Violation> {
        for entry in entries {
            if self.last_committed() < entry.index {
                self.check(entry);
            }
            let seen = (entry.term.get(), Digest::of(&entry.kind));
            let first = *self.committed.entry(entry.index).or_insert(seen);
            if first != seen {
                return Err(Violation(format!(
                    "entry {} was committed in term {}, and at {member} it is another one of term \
                     {}: something committed was lost",
                    entry.index, first.0, seen.0
                )));
            }
        }
        Ok(())
    }

    /// Sees what applying did at a member.
    pub(crate) fn see_applied(
        &mut self,
        member: MemberId,
        applied: &Applied,
    ) -> Result<(), Violation> {
        for changes in changes_by_revision(&applied.changes) {
            let Some(revision) = changes.first().map(|change| change.at.main) else {
                continue;
            };
            // What a change replaced is known no more once it is compacted.
            let seen: Vec<_> = changes
                .iter()
                .map(|it| (it.kind, &it.key, &it.kv, it.at, it.created))
                .collect();
            let seen = Digest::of(&seen);
            if *self.changes.entry(revision).or_insert(seen) != seen {
                return Err(Violation(format!(
                    "revision {revision:?} at {member} is not what it was at another member, or \
                     before"
                )));
            }
        }
        for (id, reply) in &applied.replies {
            let seen = Digest::of(reply);
            let decision = self.decisions.get(&id.to_wire()).copied();
            let is_denied = matches!(reply, Err(ApplyError::Auth(_)));
            if decision == Some(Decision::Denied) && !is_denied
                || decision == Some(Decision::Allowed) && is_denied
            {
                return Err(Violation(format!(
                    "request {:x} was {decision:?} at its place in the log, and {member} answers \
                     {reply:?}",
                    id.to_wire()
                )));
            }
            if *self.replies.entry(id.to_wire()).or_insert(seen) != seen {
                return Err(Violation(format!(
                    "request {:x} is answered by {member} as by no other member: {reply:?}",
                    id.to_wire()
                )));
            }
        }
        Ok(())
    }

    /// Checks the next entry by the rules at its place.
    fn check(&mut self, entry: &Entry) {
        let EntryKind::Normal(data) = &entry.kind else {
            return;
        };
        let Ok(LogEntry {
            id: Some(id),
            auth_info,
            request: Some(request),
        }) = LogEntry::decode(data.clone())
        else {
            return;
        };
        let decision = self.rules.check(&request, auth_info.as_ref());
        self.decisions.insert(id.to_wire(), decision);
        if matches!(request, LogRequest::Auth(_)) {
            self.rules_from.insert(entry.index, self.rules.clone());
        }
    }

    /// Sees what a member, which has applied so much, reads for somebody.
    pub(crate) fn see_read(
        &self,
        (applied, member): (LogIndex, MemberId),
        request: &Request,
        auth_info: Option<&AuthInfo>,
    ) -> Result<(), Violation> {
        let Some((_, rules)) = self.rules_from.range(..=applied).next_back() else {
            return Ok(());
        };
        // Who was let in while authentication was off is not asked again, as with etcd.
        if auth_info.is_none() || rules.check_read(request, auth_info) != Decision::Denied {
            return Ok(());
        }
        Err(Violation(format!(
            "{member} reads `{request}` for {auth_info:?}, which the rules at {applied} forbid"
        )))
    }

    /// The revision that all members show of the rules in the end.
    pub(crate) fn rules_revision(&self) -> u64 {
        self.rules.revision()
    }

    /// The last entry that any member handed out as committed.
    pub(crate) fn last_committed(&self) -> LogIndex {
        self.committed
            .last_key_value()
            .map_or(LogIndex::ZERO, |(index, _)| *index)
    }
}

fn changes_by_revision(changes: &[Change]) -> impl Iterator<Item = &[Change]> {
    changes.chunk_by(|one, other| one.at.main == other.at.main)
}
