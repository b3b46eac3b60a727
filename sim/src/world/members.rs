//! Members that come and go.

use std::collections::BTreeSet;

use cairn_history::MemberId;

use super::{Event, MILLI, World};
use crate::member::Member;
use crate::schedule::Leaves;

/// How long a member that was removed goes on, in nanoseconds; etcd's time.
const LAST_WORDS: u64 = 1000 * MILLI;

impl World<'_> {
    /// Starts a member that was added, unless it is there already.
    pub(super) fn join(&mut self, id: MemberId) {
        if self.members.contains_key(&id) {
            return;
        }
        if let Ok(member) = Member::create(id, 0, self.start_chance.next()) {
            self.trace.note(self.now, format_args!("{id} joins"));
            self.members.insert(id, member);
            self.plan(10 * MILLI, Event::Start(id));
        }
    }

    /// Starts whoever is a member after what anyone knows, and was never started: without it there
    /// may be nobody to lead.
    pub(super) fn join_all(&mut self) {
        let lives = self.members.values().filter_map(|it| it.life.as_ref());
        let known: BTreeSet<MemberId> = lives
            .flat_map(|life| {
                let members = life.applier.membership().load_full();
                let ids: Vec<_> = members.iter().map(|it| MemberId(it.id.get())).collect();
                ids
            })
            .collect();
        for id in known {
            self.join(id);
        }
    }

    /// Lets a member that was removed leave, once what it has still to say to others has left.
    pub(super) fn leave_soon(&mut self, id: MemberId) {
        let lives = self.members.get(&id).map_or(0, |member| member.lives);
        self.plan(LAST_WORDS, Event::Leave(id, lives));
    }

    /// A leader that goes before the last other voter knows of its removal leaves one behind who
    /// waits for its vote for ever. Here it stays for all to know; the server, like etcd, takes that
    /// risk after a second, or as soon as a peer refuses it.
    pub(super) fn leave_if_known(&mut self, id: MemberId, lives: u64) {
        let is_current = |member: &Member| member.lives == lives && member.life.is_some();
        if !self.members.get(&id).is_some_and(is_current) {
            return;
        }
        let mut others = self
            .members
            .values()
            .filter(|other| other.id != id && !other.has_left);
        let knows = |other: &Member| other.life.as_ref().is_some_and(|it| it.is_removed(id));
        if others.all(knows) {
            self.leave(id);
        } else {
            self.leave_soon(id);
        }
    }

    /// Ends a member that knows that it was removed, for good.
    pub(super) fn leave(&mut self, id: MemberId) {
        self.trace.note(self.now, format_args!("{id} was removed"));
        self.stop(id, Leaves::Everything, 0);
        if let Some(member) = self.members.get_mut(&id) {
            member.has_left = true;
        }
    }

    /// The members, after what the leader knows; without one, all that ever started. Those that have
    /// forgotten wait to be removed.
    pub(super) fn present(&self) -> Vec<MemberId> {
        let mut present = self.known();
        present.retain(|id| !self.members.get(id).is_some_and(|it| it.has_forgotten));
        present
    }

    fn known(&self) -> Vec<MemberId> {
        let leader = self.leader().and_then(|leader| self.members.get(&leader));
        match leader.and_then(|leader| leader.life.as_ref()) {
            Some(life) => {
                let members = life.applier.membership();
                let members = members.load();
                members
                    .iter()
                    .map(|member| MemberId(member.id.get()))
                    .collect()
            }
            None => self.members.keys().copied().collect(),
        }
    }
}
