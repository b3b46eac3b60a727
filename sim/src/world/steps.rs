//! The steps of a schedule, done.

use std::ops::Range;

use cairn_consensus::disk::Fault;
use cairn_history::{IncidentKind, MemberId, Time};

use super::{Ending, Event, MILLI, World};
use crate::member::{Input, Loop, raft_id};
use crate::network::Weather;
use crate::planted::Planted;
use crate::schedule::{Action, Direction, Leaves, Whom};

impl World<'_> {
    pub(super) fn step(&mut self, number: usize) {
        let schedule = self.schedule;
        let Some(step) = schedule.steps.get(number) else {
            return;
        };
        match &step.action {
            Action::Ask { client, user, what } => self.ask(*client, user.as_deref(), what),
            Action::Watch {
                client,
                what,
                from,
                pace,
            } => self.watch(*client, what, *from, pace.0 * MILLI),
            Action::AskProgress { client } => self.ask_progress(*client),
            Action::Disconnect { client } => self.disconnect(*client),
            fault => {
                self.trace.note(self.now, format_args!("{fault:?}"));
                self.fault(fault);
            }
        }
    }

    fn fault(&mut self, fault: &Action) {
        match fault {
            Action::Crash { whom, leaves, down } => {
                let id = self.named(*whom);
                if self.is_up(id) {
                    self.stop(id, *leaves, down.0 * MILLI);
                }
            }
            Action::CrashAtWrite {
                whom,
                after,
                leaves,
                down,
            } => self.script(*whom, *after, Fault::PowerCut, (*leaves, down.0)),
            Action::DiskFails { whom, after, down } => {
                self.script(*whom, *after, Fault::Error, (Leaves::Some, down.0));
            }
            Action::DiskStalls { whom, takes } => self.with(*whom, |member, _| {
                member.stall += takes.0 * MILLI;
            }),
            Action::CommitFails { whom } => {
                self.with(*whom, |member, _| member.engine.fail_next_commit());
            }
            Action::DatabaseRots {
                whom,
                first,
                rows,
                bit,
            } => self.rot(*whom, *first..first + rows, *bit),
            Action::LateCommits { whom, lasts } => self.with(*whom, |member, now| {
                member.no_commits_before = Time(now.0 + lasts.0 * MILLI);
            }),
            Action::DiskFull { whom, lasts } => self.fill_disk(*whom, lasts.0),
            Action::SlowApply { whom, each, lasts } => self.with(*whom, |member, now| {
                member.slow_apply = (each.0 * MILLI, Time(now.0 + lasts.0 * MILLI));
            }),
            Action::Pause { whom, lasts } => self.with(*whom, |member, now| {
                member.paused_until = Time(now.0 + lasts.0 * MILLI);
            }),
            Action::ClockBack { whom, by } => {
                self.with(*whom, |member, _| member.clock_behind += by.0);
            }
            Action::Ticks { whom, percent } => self.with(*whom, |member, _| {
                member.tick = MILLI * (*percent).max(10);
            }),
            Action::Isolate { whom, lasts } => {
                let id = self.named(*whom);
                self.cut(lasts.0, |from, to| from == id || to == id);
            }
            Action::Apart { one, other, lasts } => self.cut_apart([*one, *other], lasts.0),
            Action::OneWay { whom, lost, lasts } => self.cut_one_way(*whom, *lost, lasts.0),
            Action::Split { lasts } => self.cut(lasts.0, |from, to| from.0 % 2 != to.0 % 2),
            Action::Weather {
                lost,
                twice,
                delay,
                lasts,
            } => {
                self.network.set_weather(Weather {
                    lost: *lost,
                    twice: *twice,
                    delay: delay.0 * MILLI,
                });
                self.plan(lasts.0 * MILLI, Event::Ends(Ending::Weather));
            }
            Action::Transfer { to } => self.transfer(*to),
            amnesia => self.forget(amnesia),
        }
    }

    fn rot(&mut self, whom: Whom, rows: Range<u64>, bit: u64) {
        self.with(whom, |member, _| {
            for number in rows {
                member.engine.rot(number, bit);
            }
        });
    }

    fn cut_one_way(&mut self, whom: Whom, lost: Direction, lasts: u64) {
        let id = self.named(whom);
        match lost {
            Direction::In => self.cut(lasts, |_, to| to == id),
            Direction::Out => self.cut(lasts, |from, _| from == id),
        }
    }

    pub(super) fn end_fault(&mut self, ending: Ending) {
        match ending {
            Ending::Cuts(cuts) => {
                self.trace.note(self.now, format_args!("cuts are healed"));
                for (from, to) in cuts {
                    self.network.mend(from, to);
                }
            }
            Ending::Swap => self.swap_back(),
            Ending::Full(id) => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.engine.set_full(false);
                }
            }
            Ending::Weather => self.network.set_weather(Weather::default()),
        }
    }

    /// Ends all faults; members that are down start.
    pub(super) fn heal(&mut self) {
        self.trace.note(self.now, format_args!("all faults end"));
        self.history
            .incident(self.now, None, IncidentKind::Note("healed".to_owned()));
        self.network.heal();
        self.swap_back();
        self.join_all();
        let ids: Vec<MemberId> = self.members.keys().copied().collect();
        for id in ids {
            if let Some(member) = self.members.get_mut(&id) {
                member.disk.clear_script();
                member.engine.set_full(false);
                if !Planted::UncheckedRows.is(self.planted) {
                    member.engine.mend();
                }
                member.cut = None;
                member.stall = 0;
                member.slow_apply = (0, Time(0));
                member.no_commits_before = Time(0);
                member.tick = 100 * MILLI;
            }
            self.plan(MILLI, Event::Start(id));
            for which in [
                Loop::Consensus,
                Loop::Apply,
                Loop::Watch,
                Loop::House,
                Loop::Leases,
            ] {
                self.wake(id, which);
            }
        }
        self.rest.begin(self.now);
        self.plan(1000 * MILLI, Event::Look);
    }

    fn transfer(&mut self, to: MemberId) {
        let Some(leader) = self.leader() else {
            return;
        };
        let life = self
            .members
            .get_mut(&leader)
            .and_then(|it| it.life.as_mut());
        if let (Some(life), Ok(to)) = (life, raft_id(to)) {
            life.inbox.push(Input::TransferTo(to));
        }
        self.wake(leader, Loop::Consensus);
    }

    fn script(&mut self, whom: Whom, after: u64, fault: Fault, cut: (Leaves, u64)) {
        self.with(whom, |member, _| {
            member.disk.script(member.disk.operations() + after, fault);
            member.cut = Some(cut);
        });
    }

    fn cut_apart(&mut self, pair: [MemberId; 2], lasts: u64) {
        self.cut(lasts, |from, to| {
            from != to && pair.contains(&from) && pair.contains(&to)
        });
    }

    fn cut(&mut self, lasts: u64, which: impl Fn(MemberId, MemberId) -> bool) {
        let ids: Vec<MemberId> = self.members.keys().copied().collect();
        let mut cuts = Vec::new();
        for from in &ids {
            for to in &ids {
                if from != to && which(*from, *to) {
                    self.network.cut(*from, *to);
                    cuts.push((*from, *to));
                }
            }
        }
        self.plan(lasts * MILLI, Event::Ends(Ending::Cuts(cuts)));
    }

    fn with(&mut self, whom: Whom, change: impl FnOnce(&mut crate::member::Member, Time)) {
        let (id, now) = (self.named(whom), self.now);
        if let Some(member) = self.members.get_mut(&id) {
            change(member, now);
        }
    }

    fn fill_disk(&mut self, whom: Whom, millis: u64) {
        let id = self.named(whom);
        self.with(whom, |member, _| member.engine.set_full(true));
        self.plan(millis * MILLI, Event::Ends(Ending::Full(id)));
    }

    pub(super) fn named(&self, whom: Whom) -> MemberId {
        match whom {
            Whom::Member(id) => id,
            Whom::Leader => self.leader().unwrap_or(MemberId(1)),
        }
    }

    pub(super) fn is_up(&self, id: MemberId) -> bool {
        self.members.get(&id).is_some_and(|it| it.life.is_some())
    }
}
