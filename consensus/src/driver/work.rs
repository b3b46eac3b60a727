//! From what has happened to effects, and to work for the log; and back.
//!
//! raft-rs numbers what it wants done. What has a write becomes durable when the log says so, what
//! has none as soon as all before it is; messages that promise something wait for that.

use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::{Message, MessageType};
use raft::{GetEntriesContext, Ready, StateRole};

use super::{Driver, DriverError};
use crate::entry::{Entry, EntryKind};
use crate::log_index::LogIndex;
use crate::log_work::WriteNumber;
use crate::log_work::{LogDone, LogRead, LogWork, ReadDone, ReadFor, ReadNumber, ReadWork};
use crate::member_id::MemberId;
use crate::output::{Output, ReadReady, SnapshotPoint};
use crate::wal::{LogWrite, Marker, MarkerOrigin};
use crate::wire;

/// How many of raft's questions one read answers at most; who is not among them asks again with
/// the next heartbeat.
const WAITERS_MAX: usize = 16;

/// What was given and has not come back.
///
/// Invariants:
/// 1. `writes` are the numbers with a write, in order, each with the tick at which it was given;
///    everything up to, but without, the first of them is durable, or `last` if there is none.
/// 2. `held` are messages and `snapshots` points that wait for a number, in order.
/// 3. At most one of `reads` is for the application.
#[derive(Default)]
pub(super) struct WorkUnderWay {
    last: u64,
    writes: VecDeque<(u64, u64)>,
    /// The last number whose write has a new term or vote.
    vote: u64,
    held: VecDeque<(u64, Vec<Message>)>,
    snapshots: VecDeque<(u64, SnapshotPoint)>,
    reads: BTreeMap<ReadNumber, Reading>,
    reads_given: u64,
}

/// Whom a read is for.
enum Reading {
    Application,
    Follower {
        from: LogIndex,
        waiters: Vec<GetEntriesContext>,
    },
}

impl WorkUnderWay {
    /// What everything up to is durable.
    fn durable(&self) -> u64 {
        self.writes
            .front()
            .map_or(self.last, |(first, _)| first - 1)
    }

    /// When the oldest write was given.
    pub(super) fn oldest_write(&self) -> Option<u64> {
        self.writes.front().map(|(_, given)| *given)
    }

    /// Whether nothing is being written.
    pub(super) fn is_written(&self) -> bool {
        self.writes.is_empty()
    }

    fn reads_for_application(&self) -> bool {
        self.reads
            .values()
            .any(|reading| matches!(reading, Reading::Application))
    }

    fn read(&mut self, read: LogRead, reading: Reading) -> ReadWork {
        self.reads_given += 1;
        let number = ReadNumber(self.reads_given);
        let reader = match reading {
            Reading::Application => ReadFor::Application,
            Reading::Follower { .. } => ReadFor::Follower,
        };
        self.reads.insert(number, reading);
        ReadWork {
            number,
            read,
            reader,
        }
    }

    /// Lets one more wait for a read that begins at `from`, if there is one; else gives it back.
    fn wait_for(&mut self, at: LogIndex, waiter: GetEntriesContext) -> Option<GetEntriesContext> {
        for reading in self.reads.values_mut() {
            if let Reading::Follower { from, waiters } = reading
                && *from == at
            {
                if waiters.len() < WAITERS_MAX {
                    waiters.push(waiter);
                }
                return None;
            }
        }
        Some(waiter)
    }
}

impl Driver {
    /// Whether [`Driver::begin`] would have anything to say.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.has_ready()
            || self.should_campaign_alone()
            || self.should_stand()
            || self.unwritten_marker.is_some()
            || self.transferee != self.present_transferee()
    }

    /// Whether work that was given has not come back.
    #[must_use]
    pub fn has_work_under_way(&self) -> bool {
        !self.under_way.is_written() || !self.under_way.reads.is_empty()
    }

    /// Whether the snapshot at `index` is accepted and not yet durable: [`Driver::done`] will hand it
    /// out.
    #[must_use]
    pub fn is_accepting(&self, index: LogIndex) -> bool {
        let mut snapshots = self.under_way.snapshots.iter();
        snapshots.any(|(_, point)| point.index == index)
    }

    /// Whether the next [`Driver::begin`] gives effects without anything that must be durable
    /// first.
    pub(crate) fn has_free_work(&self) -> bool {
        let raft = &self.raw.raft;
        let written = raft.raft_log.unstable_entries().is_empty() && raft.snap().is_none();
        let (state, known) = (raft.hard_state(), self.hard_state);
        let known = (state.term, state.vote) == (known.term, known.vote);
        let stands = self.should_campaign_alone() || self.should_stand();
        written && known && self.has_ready() && !stands
    }

    /// Turns what has happened into what is to be done at once, and work for the log. Work is
    /// done in the order in which it was given, by [`crate::SharedLog::perform`], and what comes
    /// of it goes to [`Driver::done`]; until then other work may be begun.
    ///
    /// # Errors
    ///
    /// [`DriverError`] if a committed entry cannot be understood.
    pub fn begin(&mut self) -> Result<(Output, LogWork), DriverError> {
        let mut output = Output::default();
        let mut work = LogWork::default();
        if self.should_campaign_alone() {
            self.campaign();
        }
        self.stand_if_told();
        self.read_for_application(&mut work);
        let mut ready = self.raw.ready();
        let number = ready.number();
        self.under_way.last = number;
        self.write(&mut ready, &mut work.write)?;
        if !work.write.is_empty() {
            work.number = Some(WriteNumber(number));
            self.under_way.writes.push_back((number, self.now));
        }
        let reads = ready.take_read_states();
        let reads = reads.iter();
        output
            .reads
            .extend(reads.filter_map(|read| ReadReady::from_raft(self.member, read)));
        self.hand_out(&mut ready, &mut output)?;
        self.send(&mut ready, &mut output);
        self.raw.advance_append_async(ready);
        self.read_for_followers(&mut work);
        self.note_leadership(&mut output);
        self.note_snapshots_wanted(&mut output);
        if self.under_way.is_written() {
            self.release(&mut output);
        }
        Ok((output, work))
    }

    /// Takes what came of work that [`Driver::begin`] gave; what that allows. It may also allow
    /// more to begin: see [`Driver::has_work`].
    pub fn done(&mut self, done: LogDone) -> Output {
        let mut output = Output::default();
        for ReadDone { number, entries } in done.reads {
            match self.under_way.reads.remove(&number) {
                Some(Reading::Application) => self.raw.mut_store().supply(entries),
                Some(Reading::Follower { waiters, .. }) => {
                    self.raw.mut_store().supply_followers(entries);
                    for waiter in waiters {
                        self.raw.on_entries_fetched(waiter);
                    }
                }
                // A snapshot has taken the place of what was to be read.
                None => {}
            }
        }
        if let Some(WriteNumber(number)) = done.persisted {
            let writes = &mut self.under_way.writes;
            while writes.pop_front_if(|(write, _)| *write <= number).is_some() {}
            self.release(&mut output);
        }
        output
    }

    /// As raft's own, but that entries which are being read back are nothing to be done.
    fn has_ready(&self) -> bool {
        if !self.under_way.reads_for_application() {
            return self.raw.has_ready();
        }
        let raft = &self.raw.raft;
        !raft.msgs.is_empty()
            || !raft.read_states.is_empty()
            || !raft.raft_log.unstable_entries().is_empty()
            || raft.snap().is_some()
            || raft.hard_state() != self.hard_state
            || self.present_leadership() != self.leadership
    }

    /// Asks for committed entries that are no longer in memory.
    fn read_for_application(&mut self, work: &mut LogWork) {
        let log = &self.raw.raft.raft_log;
        if self.under_way.reads_for_application() || log.unstable_snapshot().is_some() {
            return;
        }
        let to = log.committed.min(log.persisted) + 1;
        let from = (self.handed_out + 1).max(log.store.first());
        let bytes_max = usize::try_from(super::COMMITTED_BYTES_MAX).unwrap_or(usize::MAX);
        if let Some(read) = log.store.missing(from, to, bytes_max) {
            work.reads
                .push(self.under_way.read(read, Reading::Application));
        }
    }

    /// Asks for entries that followers lack, once for all that lack the same.
    fn read_for_followers(&mut self, work: &mut LogWork) {
        for fetch in self.raw.mut_store().take_fetches() {
            let from = fetch.read.from;
            if let Some(waiter) = self.under_way.wait_for(from, fetch.context) {
                let waiters = vec![waiter];
                let reading = Reading::Follower { from, waiters };
                work.reads.push(self.under_way.read(fetch.read, reading));
            }
        }
    }

    /// What raft wants in the log.
    fn write(&mut self, ready: &mut Ready, write: &mut LogWrite) -> Result<(), DriverError> {
        if let Some(state) = ready.hs() {
            if (state.term, state.vote) != (self.hard_state.term, self.hard_state.vote) {
                self.under_way.vote = ready.number();
            }
            self.hard_state = *state;
            if ready.must_sync() {
                write.hard_state = Some(*state);
                self.unwritten_commit = None;
            } else {
                self.unwritten_commit = Some(*state);
            }
        }
        write.marker = self.unwritten_marker.take();
        if !ready.snapshot().is_empty() {
            let point = SnapshotPoint::from_raft(ready.snapshot())?;
            write.marker = Some(self.install(&point));
            self.under_way.snapshots.push_back((ready.number(), point));
        }
        write.entries = ready.take_entries();
        if !write.entries.is_empty() && write.hard_state.is_none() {
            write.hard_state = self.unwritten_commit.take();
        }
        self.raw.mut_store().append(write.entries.clone());
        Ok(())
    }

    /// Lets a leader's snapshot take the place of the log.
    fn install(&mut self, point: &SnapshotPoint) -> Marker {
        let marker = Marker {
            index: point.index,
            term: point.term,
            conf_state: point.conf_state.clone(),
            origin: MarkerOrigin::Snapshot,
        };
        self.raw.mut_store().mark(&marker);
        self.handed_out = point.index.get();
        self.unanswered.clear();
        self.under_way.reads.clear();
        self.conf_state = point.conf_state.clone();
        marker
    }

    fn hand_out(&mut self, ready: &mut Ready, output: &mut Output) -> Result<(), DriverError> {
        for entry in ready.take_committed_entries() {
            assert!(
                entry.index == self.handed_out + 1,
                "invariant 1: entries are without gaps"
            );
            self.handed_out = entry.index;
            let entry = Entry::from_raft(entry)?;
            if matches!(entry.kind, EntryKind::ConfChange(_)) {
                self.unanswered.push_back(entry.index.get());
            }
            output.committed.push(entry);
        }
        self.advance_applied();
        Ok(())
    }

    /// Sends what may leave at once, and holds what promises something: a leader whose term is
    /// durable promises nothing (its own entries count once they are durable), and neither does
    /// anybody who passes something on or says that a leader is heard (Ongaro's thesis, 10.2.1).
    fn send(&mut self, ready: &mut Ready, output: &mut Output) {
        let mut messages = ready.take_messages();
        messages.extend(ready.take_persisted_messages());
        let leads = self.raw.raft.state == StateRole::Leader;
        let at_once = leads && self.under_way.vote <= self.under_way.durable();
        let (now, held): (Vec<_>, Vec<_>) = messages.into_iter().partition(|message| {
            at_once
                || matches!(
                    message.msg_type(),
                    MessageType::MsgHeartbeatResponse
                        | MessageType::MsgPropose
                        | MessageType::MsgReadIndex
                        | MessageType::MsgTransferLeader
                )
        });
        wire::push_messages(now, &mut output.messages);
        if !held.is_empty() {
            self.under_way.held.push_back((ready.number(), held));
        }
    }

    /// Releases what waited for what is durable now.
    fn release(&mut self, output: &mut Output) {
        let durable = self.under_way.durable();
        self.raw.on_persist_ready(durable);
        let held = &mut self.under_way.held;
        while let Some((_, messages)) = held.pop_front_if(|(number, _)| *number <= durable) {
            wire::push_messages(messages, &mut output.messages);
        }
        let snapshots = &mut self.under_way.snapshots;
        while let Some((_, point)) = snapshots.pop_front_if(|(number, _)| *number <= durable) {
            output.snapshot = Some(point);
        }
        self.advance_applied();
        let persisted = self.raw.raft.raft_log.persisted;
        self.raw.mut_store().trim(persisted);
    }

    /// Tells raft what is done with; a snapshot only once it is durable.
    pub(super) fn advance_applied(&mut self) {
        let log = &self.raw.raft.raft_log;
        let applied = self
            .unanswered
            .front()
            .map_or(self.handed_out, |first| first - 1);
        let applied = applied.min(log.committed).min(log.persisted);
        if applied > log.applied {
            self.raw.advance_apply_to(applied);
        }
    }

    fn note_snapshots_wanted(&mut self, output: &mut Output) {
        let wanted = self.raw.mut_store().take_snapshot_wanted();
        for member in wanted.into_iter().filter_map(MemberId::from_wire) {
            output.snapshot_wanted_by.push(member);
            if !self.snapshot_wanted_by.contains(&member) {
                self.snapshot_wanted_by.push(member);
            }
        }
    }

    fn note_leadership(&mut self, output: &mut Output) {
        let present = self.present_leadership();
        if present != self.leadership {
            self.leadership = present;
            output.leadership = Some(present);
        }
        let transferee = self.present_transferee();
        if self.transferee != transferee {
            let leads = self.raw.raft.state == StateRole::Leader;
            output.transfer_failed = self.transferee.filter(|_| leads);
            self.transferee = transferee;
        }
    }
}
