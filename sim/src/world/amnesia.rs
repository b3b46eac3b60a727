//! Members that forget: their directories are put back, emptied or exchanged. And who is let in.
//!
//! What no one can see is left out: a member must not forget before all others have met an incarnation
//! that its directory then lacks, or were told of one; and a majority never forgets. All that is left
//! must be seen: decision record 12 says why.

use std::collections::{BTreeMap, BTreeSet};

use cairn_consensus as raft;
use cairn_consensus::{Incarnation, IncarnationsError, StepError};
use cairn_history::{IncidentKind, MemberId};

use super::{Ending, Event, MILLI, World};
use crate::invariants::Violation;
use crate::member::{Copied, Member};
use crate::planted::Planted;
use crate::schedule::{Action, Leaves, Schedule, Whom};

/// What is known of who forgets.
#[derive(Debug, Default)]
pub(super) struct Amnesia {
    /// Whether directories are copied at each start.
    pub(super) needs_copies: bool,
    /// Whose directories have gone back.
    forgetful: BTreeSet<MemberId>,
    /// How often the starts of one member's directory have been when another one met it last, or was
    /// told of it.
    met: BTreeMap<(MemberId, MemberId), u64>,
    /// Members that have each other's directories.
    swapped: Option<(MemberId, MemberId)>,
}

impl Amnesia {
    /// Of a schedule that has not begun.
    pub(super) fn of(schedule: &Schedule) -> Self {
        let needs_copy = |action: &Action| matches!(action, Action::PutBack { .. });
        Self {
            needs_copies: schedule.steps.iter().any(|step| needs_copy(&step.action)),
            ..Self::default()
        }
    }
}

impl World<'_> {
    /// The incarnation of a member that is up.
    pub(super) fn present_incarnation(&self, id: MemberId) -> Option<Incarnation> {
        let life = self.members.get(&id)?.life.as_ref()?;
        Some(life.incarnations.own().last())
    }

    /// Whether a member takes what an incarnation of another one has sent: it meets it, if it does not
    /// know it. What an earlier one has sent is lost with its connection, unless that was let in.
    pub(super) fn lets_in(&mut self, from: MemberId, sent: Incarnation, to: MemberId) -> bool {
        let sender = self.members.get(&from).and_then(|it| it.life.as_ref());
        let sender = sender.map(|life| (life.id, life.incarnations.own().clone()));
        let Some(life) = self.members.get_mut(&to).and_then(|it| it.life.as_mut()) else {
            return false;
        };
        if life.let_in.contains(&(from, sent)) {
            return true;
        }
        let Some((id, lineage)) = sender.filter(|(_, lineage)| lineage.last() == sent) else {
            return false;
        };
        match life.incarnations.meet(id, &lineage) {
            Ok(()) => {}
            Err(IncarnationsError::Forgotten(_)) if Planted::LetInForgotten.is(self.planted) => {}
            Err(error) => {
                self.trace.note(
                    self.now,
                    format_args!("{to} does not let {from} in: {error}"),
                );
                if matches!(error, IncarnationsError::Forgotten(_)) {
                    self.tell_forgotten(from, MemberId(id.get()), to);
                } else {
                    self.stop_for_disk(to);
                }
                return false;
            }
        }
        life.let_in.insert((from, sent));
        let (by, whom) = (MemberId(life.id.get()), MemberId(id.get()));
        self.amnesia.met.insert((by, whom), sent.number);
        true
    }

    /// Lets a member hear whom another one has met, of which something has just come; whether its disk
    /// has kept that.
    pub(super) fn hears(&mut self, from: MemberId, to: MemberId) -> bool {
        let life = self.members.get(&from).and_then(|it| it.life.as_ref());
        let Some((teller, met)) = life.map(|it| (it.id, it.incarnations.known().met())) else {
            return true;
        };
        let life = self.members.get(&to).and_then(|it| it.life.as_ref());
        let Some((hearer, known)) = life.map(|it| (it.id, it.incarnations.known())) else {
            return true;
        };
        let is_news = |(whose, met): &(raft::MemberId, Incarnation)| {
            *whose != hearer && *whose != teller && known.is_news(teller, *whose, *met)
        };
        let news = met.iter().map(|(whose, met)| (*whose, *met));
        let news: Vec<_> = news.filter(is_news).collect();
        if news.is_empty() {
            return true;
        }
        let is_told = !Planted::MetNotTold.is(self.planted);
        let life = self.members.get_mut(&to).and_then(|it| it.life.as_mut());
        if let Some(life) = life.filter(|_| is_told) {
            self.trace.note(
                self.now,
                format_args!("{from} tells {to} of {} it has met", news.len()),
            );
            // Whoever is in doubt now shows its directory again.
            life.let_in.clear();
            if life
                .incarnations
                .hear(teller, news.iter().copied())
                .is_err()
            {
                self.stop_for_disk(to);
                return false;
            }
        }
        for (whose, met) in &news {
            let known = (MemberId(hearer.get()), MemberId(whose.get()));
            let number = self.amnesia.met.entry(known).or_default();
            *number = met.number.max(*number);
        }
        true
    }

    /// Stops a member whose disk fails.
    fn stop_for_disk(&mut self, id: MemberId) {
        let cut = self.members.get(&id).and_then(|member| member.cut);
        let (leaves, down) = cut.unwrap_or((Leaves::Some, 500));
        self.stop(id, leaves, down * MILLI);
    }

    /// Ends for good a member that another one tells that it has forgotten.
    fn tell_forgotten(&mut self, id: MemberId, whose: MemberId, by: MemberId) {
        if !self.amnesia.forgetful.contains(&whose) {
            let why = format!("{by} takes {id} for one that has forgotten, and it has not");
            self.broken = Some(Violation(why));
        }
        if !self.network.is_cut(by, id) {
            self.end_forgotten(id);
        }
    }

    /// Ends a member that has forgotten, and sees by what another one says that it has. Nobody else may
    /// see anything of the kind.
    pub(super) fn contradicted(&mut self, id: MemberId, by: &StepError) -> Result<(), Violation> {
        self.trace.note(self.now, format_args!("{id} stops: {by}"));
        let life = self.members.get(&id).and_then(|it| it.life.as_ref());
        let whose = life.map(|life| MemberId(life.id.get()));
        if !whose.is_some_and(|whose| self.amnesia.forgetful.contains(&whose)) {
            return Err(Violation(format!("{id} sees what cannot be: {by}")));
        }
        self.end_forgotten(id);
        Ok(())
    }

    fn end_forgotten(&mut self, id: MemberId) {
        self.stop(id, Leaves::Everything, 0);
        if let Some(member) = self.members.get_mut(&id) {
            member.has_left = true;
            member.has_forgotten = true;
        }
    }

    /// Whether a member may forget all but so many starts of its directory.
    fn may_forget(&self, id: MemberId, starts: u64) -> bool {
        let amnesia = &self.amnesia;
        let others = amnesia.forgetful.iter().filter(|other| **other != id);
        let is_minority = 2 * (others.count() + 1) < self.members.len();
        let is_known = |other: &MemberId| {
            let met = amnesia.met.get(&(*other, id));
            met.is_some_and(|met| *met > starts)
        };
        let mut others = self.members.keys().filter(|other| **other != id);
        is_minority && amnesia.swapped.is_none() && others.all(is_known)
    }

    /// Lets a member forget, if that is what the action says.
    pub(super) fn forget(&mut self, action: &Action) {
        match action {
            Action::PutBack { whom, starts, down } => self.put_back(*whom, *starts, down.0),
            Action::Empty { whom, joins, down } => self.empty(*whom, *joins, down.0),
            Action::Swap { one, other, lasts } => self.swap(*one, *other, lasts.0),
            _ => {}
        }
    }

    fn put_back(&mut self, whom: Whom, starts: usize, down: u64) {
        let id = self.named(whom);
        let copies = self.members.get(&id).map(|it| &it.copies);
        let copy = copies.and_then(|copies| {
            let last = copies.len().checked_sub(1)?;
            copies.get(last.saturating_sub(starts))
        });
        let Some(copy) = copy else {
            return;
        };
        let copy = Copied {
            disk: copy.disk.copy(),
            engine: copy.engine.copied(),
            starts: copy.starts,
        };
        self.replace(id, copy, down);
    }

    fn empty(&mut self, whom: Whom, joins: bool, down: u64) {
        let id = self.named(whom);
        let members = if joins {
            0
        } else {
            self.schedule.cluster.members
        };
        let seed = self.start_chance.next();
        if let Ok(Member { disk, engine, .. }) = Member::create(id, members, seed) {
            let starts = 0;
            self.replace(
                id,
                Copied {
                    disk,
                    engine,
                    starts,
                },
                down,
            );
        }
    }

    /// Puts a directory in the place of a member's own.
    fn replace(&mut self, id: MemberId, copy: Copied, down: u64) {
        let is_there = self.members.get(&id).is_some_and(|it| !it.has_left);
        if !is_there || !self.may_forget(id, copy.starts) {
            return;
        }
        self.trace.note(
            self.now,
            format_args!("{id} forgets all but {} starts", copy.starts),
        );
        self.stop(id, Leaves::Everything, down * MILLI);
        self.history
            .incident(self.now, Some(id), IncidentKind::DataReplaced);
        self.amnesia.forgetful.insert(id);
        if let Some(member) = self.members.get_mut(&id) {
            member.disk = copy.disk;
            member.engine = copy.engine;
            member.starts = copy.starts;
            member.copies.clear();
        }
    }

    fn swap(&mut self, one: MemberId, other: MemberId, lasts: u64) {
        let is_swapped = self.amnesia.swapped.is_some();
        if one == other || is_swapped || !self.amnesia.forgetful.is_empty() {
            return;
        }
        self.amnesia.swapped = Some((one, other));
        self.exchange(one, other);
        self.plan(lasts * MILLI, Event::Ends(Ending::Swap));
    }

    /// Gives members their own directories back.
    pub(super) fn swap_back(&mut self) {
        if let Some((one, other)) = self.amnesia.swapped.take() {
            self.exchange(one, other);
        }
    }

    fn exchange(&mut self, one: MemberId, other: MemberId) {
        self.stop(one, Leaves::Everything, MILLI);
        self.stop(other, Leaves::Everything, MILLI);
        for id in [one, other] {
            self.history
                .incident(self.now, Some(id), IncidentKind::DataReplaced);
        }
        let Some(mut first) = self.members.remove(&one) else {
            return;
        };
        if let Some(second) = self.members.get_mut(&other) {
            std::mem::swap(&mut first.disk, &mut second.disk);
            std::mem::swap(&mut first.engine, &mut second.engine);
            std::mem::swap(&mut first.starts, &mut second.starts);
            std::mem::swap(&mut first.copies, &mut second.copies);
        }
        self.members.insert(one, first);
    }
}
