//! The loops that stand for a member's threads.
//!
//! Each takes what waits for it, calls the production code and hands on what comes of it, as the
//! server's threads do; what is here is only when.

use bytes::Bytes;
use cairn_backend::Uncommitted;
use cairn_consensus::{Incarnation, LogDone};
use cairn_history::{IncidentKind, MemberId, Time};
use cairn_mvcc::Progress;
use cairn_proto::raftpb;
use cairn_replica::apply::Applied;
use cairn_replica::consensus::{Effects, NotTaken};
use cairn_watch::CatchUp;
use prost::Message;

use super::{Event, MILLI, World};
use crate::invariants::Violation;
use crate::member::{Committed, Input, Loop, POLICY, Ticket};
use crate::planted::{self, Planted};
use crate::schedule::Leaves;

/// Batches of changes that may wait for the hub; the server allows more.
const CHANGE_BATCHES_MAX: usize = 8;
/// Revisions that a step of compaction deletes; the server takes more.
const COMPACTION_STEP: usize = 5;
/// Entries applied in one go at most.
const GO_ENTRIES_MAX: u64 = 16;

impl World<'_> {
    pub(super) fn run_loop(
        &mut self,
        id: MemberId,
        lives: u64,
        which: Loop,
    ) -> Result<(), Violation> {
        let Some(member) = self.members.get_mut(&id).filter(|it| it.lives == lives) else {
            return Ok(());
        };
        let paused_until = member.paused_until;
        let Some(life) = &mut member.life else {
            return Ok(());
        };
        if life.woken.get(&which) != Some(&self.now) {
            // It was woken for an earlier time, and has run.
            return Ok(());
        }
        life.woken.remove(&which);
        let free_at = life.free_at.get(&which).copied().unwrap_or_default();
        if self.now < paused_until.max(free_at) {
            self.wake(id, which);
            return Ok(());
        }
        match which {
            Loop::Consensus => self.run_consensus(id),
            Loop::Log => {
                self.run_log(id);
                Ok(())
            }
            Loop::Apply => self.run_apply(id),
            Loop::Watch => {
                self.run_watch(id);
                Ok(())
            }
            Loop::House => {
                self.run_house(id);
                Ok(())
            }
            Loop::Commit => {
                self.run_commit(id);
                Ok(())
            }
            Loop::Leases => {
                self.run_leases(id);
                Ok(())
            }
        }
    }

    pub(super) fn tick(&mut self, id: MemberId, lives: u64) {
        let Some(member) = self.members.get_mut(&id).filter(|it| it.lives == lives) else {
            return;
        };
        let (tick, paused_until) = (member.tick, member.paused_until);
        let Some(life) = &mut member.life else {
            return;
        };
        // A thread that was held up does not make up for lost ticks.
        let free_at = life
            .free_at
            .get(&Loop::Consensus)
            .copied()
            .unwrap_or_default();
        let due = paused_until.max(free_at);
        if self.now < due {
            self.plan_at(due, Event::Tick(id, lives));
            return;
        }
        life.inbox.push(Input::Tick);
        self.wake(id, Loop::Consensus);
        self.plan(tick, Event::Tick(id, lives));
    }

    fn run_consensus(&mut self, id: MemberId) -> Result<(), Violation> {
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        let Some(life) = &mut member.life else {
            return Ok(());
        };
        let before = member.disk.operations();
        let rounds = match life.work() {
            Ok(rounds) => rounds,
            Err(error) => {
                let (leaves, down) = member.cut.unwrap_or((Leaves::Some, 500));
                self.trace
                    .note(self.now, format_args!("{id} stops: {error:#}"));
                self.stop(id, leaves, down * MILLI);
                return Ok(());
            }
        };
        if let Some(error) = life.contradicted.take()
            && !Planted::LetInForgotten.is(self.planted)
        {
            return self.contradicted(id, &error);
        }
        let wrote = member.disk.operations() > before;
        let usual = self.disk_chance.between(50_000, 1_500_000);
        let took = if wrote {
            usual + std::mem::take(&mut member.stall)
        } else {
            10_000
        };
        life.free_at
            .insert(Loop::Consensus, Time(self.now.0 + took));
        let (lives, for_log) = (member.lives, life.log_work.is_some());
        // What is not on disk yet is the log's loop's; the rest goes out at once, in order.
        let out_after = if wrote { took } else { 0 };
        self.see_rounds(id, &rounds)?;
        self.note_leadership(id);
        self.plan(out_after, Event::Worked(id, lives, rounds));
        if for_log {
            self.wake(id, Loop::Log);
        }
        Ok(())
    }

    fn see_rounds(
        &mut self,
        id: MemberId,
        rounds: &[Effects<Ticket, Ticket>],
    ) -> Result<(), Violation> {
        let Some(life) = self.members.get(&id).and_then(|it| it.life.as_ref()) else {
            return Ok(());
        };
        let status = life.consensus.status();
        self.invariants.see_status(id, &status)?;
        for round in rounds {
            self.invariants.see_committed(id, &round.committed)?;
            if let Some(leadership) = round.leadership {
                let (role, term) = (leadership.role, leadership.term.get());
                self.trace
                    .note(self.now, format_args!("{id} is {role:?} in term {term}"));
            }
        }
        Ok(())
    }

    /// Writes down who leads, as far as the member's disk knows of it.
    fn note_leadership(&mut self, id: MemberId) {
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return;
        };
        let leadership = life.consensus.status().leadership;
        let term = leadership.term.get();
        if term != life.term || life.noted == Some(leadership) {
            return;
        }
        life.noted = Some(leadership);
        self.history.leaderships.push(cairn_history::Leadership {
            at: self.now,
            member: id,
            term: cairn_history::Term(term),
            leader: leadership.leader.map(|leader| MemberId(leader.get())),
        });
    }

    /// Writes all that waits for the log, beside the consensus loop.
    fn run_log(&mut self, id: MemberId) {
        let usual = self.disk_chance.between(50_000, 1_500_000);
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let Some(life) = &mut member.life else {
            return;
        };
        let Some(work) = life.log_work.take() else {
            return;
        };
        match life.consensus.log().perform(work) {
            Ok(done) => {
                let took = usual + std::mem::take(&mut member.stall);
                life.free_at.insert(Loop::Log, Time(self.now.0 + took));
                let (lives, term) = (member.lives, life.consensus.status().leadership.term);
                self.plan(took, Event::Logged(id, lives, term.get(), done));
            }
            Err(error) => {
                let (leaves, down) = member.cut.unwrap_or((Leaves::Some, 500));
                self.trace
                    .note(self.now, format_args!("{id} stops: {error}"));
                self.stop(id, leaves, down * MILLI);
            }
        }
    }

    /// The consensus loop hears that what it gave to the log is on disk.
    pub(super) fn logged(
        &mut self,
        id: MemberId,
        lives: u64,
        term: u64,
        done: LogDone,
    ) -> Result<(), Violation> {
        let Some(member) = self.members.get_mut(&id).filter(|it| it.lives == lives) else {
            return Ok(());
        };
        let paused_until = member.paused_until;
        if self.now < paused_until {
            self.plan_at(paused_until, Event::Logged(id, lives, term, done));
            return Ok(());
        }
        let Some(life) = &mut member.life else {
            return Ok(());
        };
        life.term = term;
        let rounds = vec![life.consensus.done(done)];
        self.see_rounds(id, &rounds)?;
        self.note_leadership(id);
        self.plan(0, Event::Worked(id, lives, rounds));
        for which in [Loop::Consensus, Loop::Log] {
            self.wake(id, which);
        }
        Ok(())
    }

    /// What a round wanted is done once it is on disk.
    pub(super) fn worked(
        &mut self,
        id: MemberId,
        lives: u64,
        rounds: Vec<Effects<Ticket, Ticket>>,
    ) {
        let Some(member) = self.members.get_mut(&id).filter(|it| it.lives == lives) else {
            return;
        };
        let paused_until = member.paused_until;
        if self.now < paused_until {
            self.plan_at(paused_until, Event::Worked(id, lives, rounds));
            return;
        }
        for effects in rounds {
            self.take_effects(id, effects);
        }
        self.finish_reads(id);
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return;
        };
        let (extent, applied) = (life.consensus.extent(), life.applier.applied());
        let is_long = !life.shortening && POLICY.is_due(extent, applied);
        life.shortening |= is_long;
        if !life.inbox.is_empty() {
            self.wake(id, Loop::Consensus);
        }
        if is_long {
            self.wake(id, Loop::House);
        }
    }

    fn take_effects(&mut self, id: MemberId, effects: Effects<Ticket, Ticket>) {
        if !effects.snapshot_wanted_by.is_empty() {
            self.offer(id);
        }
        for message in effects.messages {
            if message.r#type() == raftpb::MessageType::MsgSnap {
                self.send_database(id, message);
            } else {
                self.send(id, &message);
            }
        }
        for (ticket, refusal) in effects.not_taken {
            let why = match refusal {
                NotTaken::NoLeader => "no leader",
                NotTaken::TooMany => "too many requests",
            };
            self.refused(id, ticket.waits, why);
        }
        if Planted::AnswerBeforeCommit.is(self.planted) {
            for (_, ticket) in &effects.proposed {
                self.answer_early(ticket.waits);
            }
        }
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return;
        };
        life.confirmed.extend(effects.confirmed);
        let due = effects.snapshot.is_some() || !effects.committed.is_empty();
        if due || !effects.proposed.is_empty() {
            life.to_apply.push_back(Committed {
                snapshot: effects.snapshot,
                waiting: effects.proposed,
                entries: effects.committed.into(),
            });
            self.wake(id, Loop::Apply);
        }
    }

    fn send(&mut self, from: MemberId, message: &raftpb::Message) {
        let to = MemberId(message.to());
        let bytes = Bytes::from(message.encode_to_vec());
        let mut arrivals = self.network.arrivals(self.now, from, to);
        if message.r#type() == raftpb::MessageType::MsgProp {
            // A proposal that comes twice is two proposals: to send each at most once is what raft
            // expects of a transport, and all it expects.
            arrivals.truncate(1);
        }
        let Some(incarnation) = self.present_incarnation(from) else {
            return;
        };
        for at in arrivals {
            self.plan_at(at, Event::Message(from, incarnation, to, bytes.clone()));
        }
    }

    pub(super) fn message(
        &mut self,
        from: MemberId,
        incarnation: Incarnation,
        to: MemberId,
        bytes: Bytes,
    ) {
        if self.network.is_cut(from, to) {
            return;
        }
        let Some(life) = self.members.get_mut(&to).and_then(|it| it.life.as_mut()) else {
            return;
        };
        if life.is_removed(from) {
            // Peers do not speak with those who were removed, and tell them why.
            if self.is_up(from) && !self.network.is_cut(to, from) {
                self.leave_soon(from);
            }
            return;
        }
        if !self.lets_in(from, incarnation, to) || !self.hears(from, to) {
            return;
        }
        let Some(life) = self.members.get_mut(&to).and_then(|it| it.life.as_mut()) else {
            return;
        };
        if let Ok(message) = raftpb::Message::decode(bytes) {
            self.trace.note(
                self.now,
                format_args!(
                    "{from} -> {to}: {} term {} index {} commit {} entries {}{}",
                    message.r#type().as_str_name(),
                    message.term(),
                    message.index(),
                    message.commit(),
                    message.entries.len(),
                    if message.reject() { " reject" } else { "" },
                ),
            );
            life.inbox.push(Input::Message(Box::new(message)));
            self.wake(to, Loop::Consensus);
        }
    }

    fn run_apply(&mut self, id: MemberId) -> Result<(), Violation> {
        let go = self.loop_chance.between(1, GO_ENTRIES_MAX);
        let usual = self.loop_chance.between(5_000, 100_000);
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        let (slower, until) = member.slow_apply;
        let Some(life) = &mut member.life else {
            return Ok(());
        };
        let Some(round) = life.to_apply.front_mut() else {
            return Ok(());
        };
        life.waiting.extend(round.waiting.drain(..));
        if let Some(point) = round.snapshot.take() {
            return self.install(id, &point);
        }
        let go = usize::try_from(go).unwrap_or(1).min(round.entries.len());
        let mut entries: Vec<_> = round.entries.drain(..go).collect();
        if round.entries.is_empty() {
            life.to_apply.pop_front();
        }
        if id == MemberId(2) {
            planted::spoil(self.planted, &mut entries);
        }
        planted::allow_all(self.planted, id == MemberId(2), &mut entries);
        let mut applied = match life.applier.apply(entries) {
            Ok(applied) => applied,
            Err(error) => {
                self.trace
                    .note(self.now, format_args!("{id} stops: {error}"));
                self.stop(id, Leaves::Everything, 500 * MILLI);
                return Ok(());
            }
        };
        let took = usual + if self.now < until { slower } else { 0 };
        life.free_at.insert(Loop::Apply, Time(self.now.0 + took));
        if Planted::UnequalOrder.is(self.planted) && id == MemberId(2) {
            planted::disorder(&mut applied.changes);
        }
        self.invariants.see_applied(id, &applied)?;
        self.take_applied(id, applied);
        Ok(())
    }

    /// Hands on what applying did.
    fn take_applied(&mut self, id: MemberId, applied: Applied) {
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return;
        };
        if let Some((index, term)) = applied.last {
            life.note_applied(term.get());
            let current = life.store.current().to_wire();
            self.trace.note(
                self.now,
                format_args!("{id} has applied {index}, revision {current}"),
            );
        }
        let mut answers = Vec::new();
        for (request, done) in applied.replies {
            if let Some(ticket) = life.waiting.remove(&request) {
                answers.push((ticket.waits, done));
            }
        }
        let answered = !applied.conf_changes.is_empty();
        let is_removed = life.is_removed(id);
        life.inbox
            .extend(applied.conf_changes.into_iter().map(Input::Answer));
        if !applied.changes.is_empty() {
            if life.changes.len() < CHANGE_BATCHES_MAX {
                life.changes.push_back(applied.changes);
            } else {
                life.dropped = true;
            }
        }
        let more = !life.to_apply.is_empty();
        for (waits, done) in answers {
            self.answered(id, waits, done);
        }
        self.finish_reads(id);
        if is_removed {
            self.leave_soon(id);
        }
        self.wake(id, Loop::Watch);
        for (which, due) in [
            (Loop::Consensus, answered),
            (Loop::House, applied.compaction),
            (Loop::Leases, applied.leases.settled),
            (Loop::Apply, more),
        ] {
            if due {
                self.wake(id, which);
            }
        }
    }

    fn run_watch(&mut self, id: MemberId) {
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return;
        };
        for changes in std::mem::take(&mut life.changes) {
            for changes in changes.chunk_by(|one, other| one.at.main == other.at.main) {
                let Some(revision) = changes.first().map(|first| first.at.main) else {
                    continue;
                };
                if let Some(before) = revision.previous()
                    && life.hub.observed() < before
                {
                    life.hub.skip_to(before);
                }
                // What cannot be read now is read while the watcher catches up.
                let _ = life.hub.notify(revision, changes);
            }
        }
        if life.hub.counts().victims > 0 {
            life.hub.retry_victims();
        }
        if std::mem::take(&mut life.dropped) {
            life.hub.skip_to(life.store.current());
        }
        let synced = life.hub.sync_step();
        life.hub.check_invariants();
        let has_victims = life.hub.counts().victims > 0;
        match synced {
            Ok(CatchUp::More) => self.wake(id, Loop::Watch),
            Ok(CatchUp::Done) if has_victims => self.wake_after(id, Loop::Watch, 5 * MILLI),
            Ok(CatchUp::Done) => {}
            Err(_) => self.wake_after(id, Loop::Watch, 100 * MILLI),
        }
        self.drain_streams(id);
    }

    fn run_house(&mut self, id: MemberId) {
        let rest = self.loop_chance.between(1, 30) * MILLI;
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return;
        };
        if life.shortening {
            self.shorten_log(id);
            self.wake_after(id, Loop::House, rest);
            return;
        }
        match life.store.compaction_step(COMPACTION_STEP) {
            Ok(Progress::Idle) => {}
            Ok(Progress::Working | Progress::Finished(_)) => {
                self.trace.note(self.now, format_args!("{id} compacts"));
                self.wake_after(id, Loop::House, rest);
            }
            Err(error) => {
                self.trace
                    .note(self.now, format_args!("{id} stops: {error}"));
                self.stop(id, Leaves::Everything, 500 * MILLI);
            }
        }
    }

    fn run_commit(&mut self, id: MemberId) {
        let next = self.loop_chance.between(60, 140) * MILLI;
        let (planted, now) = (self.planted, self.now);
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let late = now < member.no_commits_before;
        let Some(life) = &mut member.life else {
            return;
        };
        if late {
            self.wake_after(id, Loop::Commit, next);
            return;
        }
        if Planted::IndexBeforeData.is(planted)
            && let Some(index) = planted::stored_index(life.store.backend())
            && next.is_multiple_of(2)
        {
            // What it belongs to follows with the next commit.
            planted::store_index(&member.engine, index);
            self.wake_after(id, Loop::Commit, next);
            return;
        }
        let older = cairn_backend::Backend::open(
            member.engine.clone(),
            cairn_backend::BackendOptions::default(),
        )
        .ok()
        .and_then(|backend| planted::stored_index(&backend));
        let committed = life.store.backend().commit();
        if let Err(Uncommitted::NoSpace { .. }) = committed {
            self.trace.note(now, format_args!("{id} finds no space"));
            self.wake_after(id, Loop::Commit, next);
            return;
        }
        if let Err(error) = committed {
            self.trace.note(now, format_args!("{id} stops: {error}"));
            self.history.incident(
                now,
                Some(id),
                IncidentKind::Note("commit failed".to_owned()),
            );
            self.stop(id, Leaves::Everything, 500 * MILLI);
            return;
        }
        if Planted::DataBeforeIndex.is(planted)
            && let Some(older) = older
        {
            planted::store_index(&member.engine, older);
        }
        self.wake_after(id, Loop::Commit, next);
    }
}
