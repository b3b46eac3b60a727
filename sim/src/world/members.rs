//! Members that come and go.

use cairn_history::MemberId;

use super::{Event, MILLI, World};
use crate::member::Member;
use crate::schedule::Leaves;

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

    /// Starts whoever is a member after what the leader knows, and was never started.
    pub(super) fn join_all(&mut self) {
        for id in self.present() {
            self.join(id);
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

    /// The members, after what the leader knows; without one, all that ever started.
    pub(super) fn present(&self) -> Vec<MemberId> {
        let leader = self.leader().and_then(|leader| self.members.get(&leader));
        match leader.and_then(|leader| leader.life.as_ref()) {
            Some(life) => {
                let members = life.applier.membership();
                let members = members.load();
                members.iter().map(|member| MemberId(member.id)).collect()
            }
            None => self.members.keys().copied().collect(),
        }
    }
}
