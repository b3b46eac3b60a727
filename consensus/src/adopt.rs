//! A state of the application that comes from elsewhere, beside a member's own log.
//!
//! An application that has lost its data, but not its log, is given what another member's had applied up
//! to some entry. As all apply the same entries, it is what its own would have been there. What the member
//! has promised is in the log and stays: its term, its vote, and every entry that it has acknowledged and
//! the state does not cover. So it forgets nothing.

use std::sync::Arc;

use raft::eraftpb;

use crate::disk::{Disk, ReadOnlyDisk};
use crate::log_index::LogIndex;
use crate::log_store::LogStore;
use crate::member_id::Identity;
use crate::node::{NodeError, read_back};
use crate::output::SnapshotPoint;
use crate::term::Term;
use crate::wal::{LogWrite, Marker, MarkerOrigin, WalOptions};

/// How a state fits a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The log has the entry that the state ends at, and what comes after it.
    Within,
    /// The log ends before it, or goes another way that was never committed.
    Beyond,
}

/// Why a state cannot be that of a log.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The log cannot be read or written.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Entries between the state and the log are nowhere.
    #[error(
        "the state ends at entry {state}, and the log begins after {begins_after}: one of a later time is needed"
    )]
    TooOld {
        /// Where the state ends.
        state: LogIndex,
        /// Where the log begins.
        begins_after: LogIndex,
    },
    /// The log knows that another entry was committed there.
    #[error(
        "entry {index} is of term {theirs} in the state, but of term {ours} in the log, and committed: they are of different clusters"
    )]
    Contradiction {
        /// Where the state ends.
        index: LogIndex,
        /// The entry's term, as the state has it.
        theirs: Term,
        /// As the log has it.
        ours: Term,
    },
}

/// Whether the state after an entry fits the log on `disk`, and whose log it is. Nothing is written.
///
/// # Errors
///
/// [`AdoptError`].
pub fn fit_state(
    disk: Arc<dyn Disk>,
    options: WalOptions,
    index: LogIndex,
    term: Term,
) -> Result<(Identity, Fit), AdoptError> {
    let disk = Arc::new(ReadOnlyDisk::of(disk));
    let (wal, log) = read_back(disk, options)?;
    Ok((wal.identity(), fit(&log, index, term)?))
}

/// Makes the log on `disk` that of an application which has the state at `point`: where it ends before,
/// it begins after it now, as if a leader had sent the state.
///
/// Whoever calls answers for it that all up to `point` was committed in the member's cluster, and that the
/// state is durable.
///
/// # Errors
///
/// [`AdoptError`].
pub fn adopt_state(
    disk: Arc<dyn Disk>,
    options: WalOptions,
    point: &SnapshotPoint,
) -> Result<Fit, AdoptError> {
    let (mut wal, log) = read_back(disk, options)?;
    let fit = fit(&log, point.index, point.term)?;
    if fit == Fit::Within {
        return Ok(fit);
    }
    let state = log.hard_state();
    let term = state.term.max(point.term.get());
    let hard_state = eraftpb::HardState {
        term,
        vote: if term == state.term { state.vote } else { 0 },
        commit: state.commit.max(point.index.get()),
    };
    let marker = Marker {
        index: point.index,
        term: point.term,
        conf_state: point.conf_state.clone(),
        origin: MarkerOrigin::Snapshot,
    };
    let write = LogWrite {
        hard_state: Some(hard_state),
        marker: Some(marker),
        entries: Vec::new(),
    };
    wal.append(&write).map_err(NodeError::from)?;
    Ok(fit)
}

fn fit(log: &LogStore, index: LogIndex, term: Term) -> Result<Fit, AdoptError> {
    let begins_after = LogIndex::new(log.first() - 1);
    if index < begins_after {
        return Err(AdoptError::TooOld {
            state: index,
            begins_after,
        });
    }
    let is_committed = index == begins_after || index.get() <= log.hard_state().commit;
    match log.term_of(index.get()) {
        Some(ours) if ours == term => Ok(Fit::Within),
        Some(ours) if is_committed => Err(AdoptError::Contradiction {
            index,
            theirs: term,
            ours,
        }),
        // Of two entries in one place only one is ever committed: what was acknowledged from here on
        // counts for nothing.
        Some(_) | None => Ok(Fit::Beyond),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::conf_change::ConfState;
    use crate::disk::FaultDisk;
    use crate::log_copy::{LogCopy, LogHead, RawEntry, RawKind, begin_log};
    use crate::member_id::{ClusterId, MemberId};
    use crate::node_options::NodeOptions;

    fn conf_state() -> ConfState {
        ConfState::of_voters([7, 8, 9].map(|id| MemberId::from_wire(id).unwrap()))
    }

    /// A log that begins after 100 and ends at 104, all of term 4; up to 102 it is committed.
    fn log() -> (Arc<dyn Disk>, LogHead) {
        let head = LogHead {
            identity: Identity {
                cluster: ClusterId::new(9),
                member: MemberId::from_wire(7).unwrap(),
            },
            begins_after: LogIndex::new(100),
            begins_after_term: Term::new(3),
            conf_state: conf_state(),
            term: Term::new(5),
            vote: MemberId::from_wire(8),
            commit: LogIndex::new(102),
        };
        let entries = (101..105).map(|index| {
            Ok::<_, NodeError>(RawEntry {
                index: LogIndex::new(index),
                term: Term::new(4),
                kind: RawKind::Normal,
                data: Bytes::from_static(b"entry"),
            })
        });
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new(1));
        begin_log(Arc::clone(&disk), WalOptions::default(), &head, entries).unwrap();
        (disk, head)
    }

    fn point(index: u64, term: u64) -> SnapshotPoint {
        SnapshotPoint {
            index: LogIndex::new(index),
            term: Term::new(term),
            conf_state: conf_state(),
        }
    }

    fn adopt(disk: &Arc<dyn Disk>, point: &SnapshotPoint) -> Result<Fit, AdoptError> {
        let options = WalOptions::default();
        let looked = fit_state(Arc::clone(disk), options, point.index, point.term);
        let adopted = adopt_state(Arc::clone(disk), options, point);
        assert_eq!(looked.ok().map(|it| it.1), adopted.as_ref().ok().copied());
        adopted
    }

    /// The log as it is opened over a state at `applied`.
    fn opened(disk: &Arc<dyn Disk>, applied: u64) -> LogCopy {
        let options = NodeOptions {
            applied: LogIndex::new(applied),
            conf_state: conf_state(),
            ..NodeOptions::default()
        };
        LogCopy::open(Arc::new(ReadOnlyDisk::of(Arc::clone(disk))), &options).unwrap()
    }

    #[test]
    fn a_state_within_the_log_changes_nothing_of_it() {
        for (index, term) in [(100, 3), (101, 4), (104, 4)] {
            let (disk, head) = log();
            assert_eq!(adopt(&disk, &point(index, term)).unwrap(), Fit::Within);
            let log = opened(&disk, index);
            let commit = head.commit.max(LogIndex::new(index));
            assert_eq!(log.head(), LogHead { commit, ..head });
            assert_eq!(log.last(), LogIndex::new(104));
        }
    }

    #[test]
    fn a_log_that_ends_before_begins_after_the_state_and_keeps_what_was_promised() {
        // Of the member's own term, of a later one, and over entries that were never committed.
        for (index, term, vote) in [
            (200, 5, MemberId::from_wire(8)),
            (200, 6, None),
            (103, 5, MemberId::from_wire(8)),
        ] {
            let (disk, head) = log();
            assert_eq!(adopt(&disk, &point(index, term)).unwrap(), Fit::Beyond);
            let log = opened(&disk, index);
            let expected = LogHead {
                begins_after: LogIndex::new(index),
                begins_after_term: Term::new(term),
                term: Term::new(term),
                vote,
                commit: LogIndex::new(index),
                ..head
            };
            assert_eq!(log.head(), expected);
            assert_eq!(log.last(), LogIndex::new(index));
            // Once more, as after a crash.
            assert_eq!(adopt(&disk, &point(index, term)).unwrap(), Fit::Within);
        }
    }

    #[test]
    fn a_state_of_before_the_log_or_of_another_cluster_is_refused() {
        let (disk, _) = log();
        let refused = |index, term| adopt(&disk, &point(index, term)).unwrap_err().to_string();
        assert!(refused(99, 3).contains("begins after 100"));
        assert!(refused(100, 4).contains("different clusters"));
        assert!(refused(102, 3).contains("different clusters"));
    }
}
