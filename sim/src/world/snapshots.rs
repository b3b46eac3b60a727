//! Snapshots: a member that is behind the log gets another one's database.

use std::rc::Rc;

use bytes::Bytes;
use cairn_backend::{Backend, Uncommitted};
use cairn_consensus::{Incarnation, LogIndex, SnapshotPoint, Term};
use cairn_history::MemberId;
use cairn_proto::raftpb;
use cairn_replica::membership::Membership;
use cairn_replica::state::check_received;

use super::{Event, MILLI, World};
use crate::invariants::Violation;
use crate::member::{Input, Loop, applied_of, raft_id};
use crate::schedule::Leaves;

/// A database on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    from: MemberId,
    lives: u64,
    incarnation: Incarnation,
    to: MemberId,
    message: raftpb::Message,
    chunks: Rc<Vec<Bytes>>,
    /// How many chunks arrive.
    arriving: usize,
}

impl World<'_> {
    /// Offers a member's database, as it is now, to those who are behind its log.
    pub(super) fn offer(&mut self, id: MemberId) {
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return;
        };
        let Some((point, chunks)) = snapshot(life.store.backend()) else {
            return;
        };
        self.trace.note(
            self.now,
            format_args!("{id} offers its database at {}", point.index),
        );
        life.consensus.offer_snapshot(&point);
        life.offered = Some((point, Rc::new(chunks)));
        self.wake(id, Loop::Consensus);
    }

    /// Sends the database that was offered, and the message that tells of it.
    pub(super) fn send_database(&mut self, from: MemberId, message: raftpb::Message) {
        let to = MemberId(message.to());
        let took = self.disk_chance.between(5, 600) * MILLI;
        let breaks_off = self.disk_chance.percent(15);
        let Some(member) = self.members.get(&from) else {
            return;
        };
        let offered = member.life.as_ref().and_then(|life| life.offered.as_ref());
        let index = message
            .snapshot
            .as_ref()
            .and_then(|it| it.metadata.as_ref());
        let index = index.map(raftpb::SnapshotMetadata::index);
        let chunks = offered.filter(|(point, _)| Some(point.index.get()) == index);
        let Some((_, chunks)) = chunks else {
            self.plan(MILLI, Event::Sent(from, member.lives, to, false));
            return;
        };
        let arriving = if breaks_off {
            chunks.len() / 2
        } else {
            chunks.len()
        };
        let Some(incarnation) = self.present_incarnation(from) else {
            return;
        };
        let transfer = Transfer {
            from,
            lives: member.lives,
            incarnation,
            to,
            message,
            chunks: Rc::clone(chunks),
            arriving,
        };
        self.plan(took, Event::Database(Box::new(transfer)));
    }

    pub(super) fn receive(&mut self, transfer: &Transfer) {
        let Transfer { from, to, .. } = *transfer;
        let cut = self.network.is_cut(from, to) || !self.lets_in(from, transfer.incarnation, to);
        let life = self.members.get_mut(&to).and_then(|it| it.life.as_mut());
        let whole = match life.filter(|_| !cut) {
            None => false,
            Some(life) => {
                let whole = take_in(life.store.backend(), transfer);
                if whole {
                    let message = Box::new(transfer.message.clone());
                    life.inbox.push(Input::Message(message));
                }
                whole
            }
        };
        let how = if whole { "whole" } else { "in part" };
        self.trace.note(
            self.now,
            format_args!("{from} -> {to}: its database, {how}"),
        );
        self.wake(to, Loop::Consensus);
        let way = self.disk_chance.between(1, 50) * MILLI;
        self.plan(way, Event::Sent(from, transfer.lives, to, whole));
    }

    pub(super) fn sent(&mut self, from: MemberId, lives: u64, to: MemberId, whole: bool) {
        let member = self.members.get_mut(&from).filter(|it| it.lives == lives);
        let life = member.and_then(|it| it.life.as_mut());
        if let (Some(life), Ok(to)) = (life, raft_id(to)) {
            life.inbox.push(Input::Sent(to, whole));
            self.wake(from, Loop::Consensus);
        }
    }

    /// Puts a received database in the place of the member's own.
    pub(super) fn install(&mut self, id: MemberId, point: &SnapshotPoint) -> Result<(), Violation> {
        let now = self.now;
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return Ok(());
        };
        let installed = life
            .store
            .prepare_install(applied_of(point))
            .and_then(|prepared| {
                check_received(&life.store, &prepared)?;
                life.store.install(prepared)
            });
        let (current, leases) = match installed {
            Ok(installed) => (installed.current, installed.leases),
            Err(error) => {
                return Err(Violation(format!(
                    "{id} cannot install the database at {}: {error}",
                    point.index
                )));
            }
        };
        if let Err(error) = life.applier.reload(leases) {
            self.trace.note(now, format_args!("{id} stops: {error}"));
            self.stop(id, Leaves::Everything, 500 * MILLI);
            return Ok(());
        }
        self.trace.note(
            now,
            format_args!(
                "{id} has installed {}, revision {}",
                point.index,
                current.to_wire()
            ),
        );
        life.note_applied(point.term.get());
        // The hub was told of nothing between.
        life.dropped = true;
        self.finish_reads(id);
        for which in [Loop::Watch, Loop::Apply, Loop::House] {
            self.wake(id, which);
        }
        Ok(())
    }

    /// Lets the log forget what the database holds, once that is on disk.
    pub(super) fn shorten_log(&mut self, id: MemberId) {
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return;
        };
        life.shortening = false;
        let applied = life.applier.applied();
        let committed = life.store.backend().force_commit();
        if let Err(Uncommitted::NoSpace { .. }) = committed {
            // It stays as long as it is, and is asked for again.
            return;
        }
        if let Err(error) = committed {
            self.trace
                .note(self.now, format_args!("{id} stops: {error}"));
            self.stop(id, Leaves::Everything, 500 * MILLI);
            return;
        }
        self.trace
            .note(self.now, format_args!("{id} shortens its log to {applied}"));
        life.inbox.push(Input::Shorten(applied));
        self.wake(id, Loop::Consensus);
    }
}

/// The database as it is now, in chunks.
fn snapshot(backend: &Backend) -> Option<(SnapshotPoint, Vec<Bytes>)> {
    let mut sender = backend.send().ok()?;
    let applied = sender.applied();
    let point = SnapshotPoint {
        index: LogIndex::new(applied.index),
        term: Term::new(applied.term),
        conf_state: Membership::restore(sender.view()).ok()?.conf_state(),
    };
    let mut chunks = Vec::new();
    while let Some(chunk) = sender.next_chunk().ok()? {
        chunks.push(chunk);
    }
    Some((point, chunks))
}

/// Receives what arrives of a database. Whether that was all, and is safe.
fn take_in(backend: &Backend, transfer: &Transfer) -> bool {
    let Ok(mut receiver) = backend.receive() else {
        return false;
    };
    for chunk in transfer.chunks.iter().take(transfer.arriving) {
        if receiver.write(chunk).is_err() {
            return false;
        }
    }
    receiver.finish().is_ok()
}
