//! A group of members that share a log, a leader that may stall, and what clients were promised.
//!
//! Consensus is a list: the current leader's proposals are `pending` until they are committed, in
//! order. A new leader takes over with any number of its predecessor's pending entries, as Raft
//! may, and then adds an entry of its own. A member that was deposed goes on believing that it leads
//! until it is told, and whatever it proposes is put into the log by the current leader: that is the
//! worst that a stalled member can do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cairn_lease::{LeaseId, Moment, Renew, Term, Ttl};

use crate::member::{Command, Entry, Member, id, ttl};

pub(crate) const MEMBERS: usize = 3;
const KEYS: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];

/// A step of a script. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Grant(i64, i64),
    Revoke(i64),
    Put(usize, Option<i64>),
    Delete(usize),
    /// A client asks a member that believes to lead to renew a lease.
    Renew(usize, i64),
    /// Time passes.
    Pass(u64),
    /// A member that believes to lead looks for what is due and proposes it.
    Tick(usize),
    /// The first of what the leader has proposed is committed.
    Commit(usize),
    /// A member applies some of what is committed.
    Apply(usize, usize),
    /// A member becomes the leader, with some of what its predecessor had pending.
    Elect(usize, usize),
    /// A member learns who leads.
    Learn(usize),
    Restart(usize),
}

/// What a naive reading of the committed log says.
#[derive(Default)]
struct Model {
    ttls: BTreeMap<LeaseId, Ttl>,
    keys: BTreeMap<Vec<u8>, Option<LeaseId>>,
}

/// Which rule a run leaves out, to show that the checks can fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Expiries carry whatever term the log holds them in.
    NoTerm,
    /// A leader is promoted before it has applied an entry of its own term.
    EarlyPromotion,
    /// A renewal is answered without asking whether the term is still the current one.
    Unconfirmed,
    /// A renewal of a lease with a checkpoint does not go through the log.
    CheckpointsStay,
    /// An expiry ends whatever lease has the id.
    AnyRenewal,
    /// A renewal is answered without looking whether the lease is still the one that was renewed.
    AnyLease,
}

pub(crate) struct Group {
    fault: Fault,
    now: u64,
    members: Vec<Member>,
    log: Vec<Entry>,
    pending: Vec<Entry>,
    leader: usize,
    /// Whether it leads: who restarts comes back as a follower, and leads again in a later term only.
    leads: bool,
    term: Term,
    model: Model,
    /// Until when each lease was promised to live.
    promises: BTreeMap<LeaseId, u64>,
    /// What has been applied by anyone, so that each expiry is checked once.
    checked: usize,
    pub(crate) expired: BTreeSet<LeaseId>,
}

impl Group {
    pub(crate) fn new(fault: Fault) -> Self {
        let mut group = Self {
            fault,
            now: 0,
            members: (0..MEMBERS).map(|_| Member::new()).collect(),
            log: Vec::new(),
            pending: Vec::new(),
            leader: 0,
            leads: false,
            term: Term(0),
            model: Model::default(),
            promises: BTreeMap::new(),
            checked: 0,
            expired: BTreeSet::new(),
        };
        group.elect(0, 0);
        group
    }

    pub(crate) fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Grant(lease, secs) => self.propose(Command::Grant(id(*lease), ttl(*secs))),
            Step::Revoke(lease) => self.propose(Command::Revoke(id(*lease))),
            Step::Put(key, lease) => {
                self.propose(Command::Put(KEYS[key % KEYS.len()], lease.map(id)));
            }
            Step::Delete(key) => self.propose(Command::Delete(KEYS[key % KEYS.len()])),
            Step::Renew(member, lease) => self.renew(member % MEMBERS, id(*lease))?,
            Step::Pass(millis) => self.now += millis,
            Step::Tick(member) => self.tick(member % MEMBERS),
            Step::Commit(count) => {
                let count = (*count).min(self.pending.len());
                self.log.extend(self.pending.drain(..count));
            }
            Step::Apply(member, count) => self.apply(member % MEMBERS, *count)?,
            Step::Elect(member, kept) => self.elect(member % MEMBERS, *kept),
            Step::Learn(member) => self.learn(member % MEMBERS),
            Step::Restart(member) => {
                let member = member % MEMBERS;
                self.members[member].restart();
                self.leads &= member != self.leader;
            }
        }
        Ok(())
    }

    /// Lets everyone catch up, and all leases expire.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        // What was under way in an earlier term may hold up its leases; so a new term, at whose
        // leader nothing is.
        self.elect(self.leader, usize::MAX);
        for _ in 0..50 {
            self.log.append(&mut self.pending);
            for member in 0..MEMBERS {
                self.apply(member, usize::MAX)?;
                self.learn(member);
            }
            self.now += 50_000;
            self.tick(self.leader);
        }
        self.log.append(&mut self.pending);
        for member in 0..MEMBERS {
            self.apply(member, usize::MAX)?;
        }
        for member in &self.members {
            if !member.leases.is_empty() {
                return Err(format!("{:?} live for ever", member.leases));
            }
            if member.stored_keys().values().any(Option::is_some) {
                return Err("keys outlived their leases".to_owned());
            }
        }
        Ok(())
    }

    fn moment(&self) -> Moment {
        Moment::after_start(Duration::from_millis(self.now))
    }

    fn propose(&mut self, command: Command) {
        let term = self.term;
        self.pending.push(Entry { term, command });
    }

    fn elect(&mut self, member: usize, kept: usize) {
        // Only a member that holds all that is committed can win: it applies that later.
        self.pending.truncate(kept);
        self.term = Term(self.term.0 + 1);
        self.leader = member;
        self.leads = true;
        self.propose(Command::Empty);
    }

    fn learn(&mut self, member: usize) {
        let (term, moment) = (self.term, self.moment());
        let early = self.fault == Fault::EarlyPromotion;
        let Member {
            leases, applied, ..
        } = &mut self.members[member];
        if member != self.leader || !self.leads {
            leases.demote();
        } else if leases.leading() != Some(term)
            && (early || self.log[..*applied].iter().any(|entry| entry.term == term))
        {
            leases.promote(term, moment);
        }
    }

    fn renew(&mut self, member: usize, lease: LeaseId) -> Result<(), String> {
        let moment = self.moment();
        match self.members[member].leases.renew(lease, moment) {
            Renew::Done(renewed) => {
                let mut confirmed = member == self.leader && renewed.term == self.term;
                if confirmed {
                    // Who asks the group then waits until it has applied what the group committed.
                    self.apply(member, usize::MAX)?;
                    confirmed = self.members[member].leases.is_still(&renewed)
                        || self.fault == Fault::AnyLease;
                }
                if confirmed || self.fault == Fault::Unconfirmed {
                    let millis = renewed.ttl.duration().as_millis();
                    let until = self.now + u64::try_from(millis).expect("small");
                    self.promises.insert(lease, until);
                }
            }
            Renew::ThroughLog(_) if self.fault == Fault::CheckpointsStay => {
                let granted = self.members[member]
                    .leases
                    .granted(lease)
                    .expect("it is there");
                let secs = u64::try_from(granted.to_wire()).expect("positive");
                self.promises.insert(lease, self.now + secs * 1000);
            }
            Renew::ThroughLog(term) => self.propose(Command::Renewed(term, lease)),
            Renew::NotLeader | Renew::Unknown | Renew::Expiring => {}
        }
        Ok(())
    }

    fn tick(&mut self, member: usize) {
        let moment = self.moment();
        let leases = &mut self.members[member].leases;
        let Some(term) = leases.leading() else { return };
        leases.tick(moment);
        let mut commands = Vec::new();
        while let Some(expiry) = leases.take_expired(moment) {
            commands.push(Command::Expire(expiry));
        }
        let checkpoints = leases.take_checkpoints(moment);
        if !checkpoints.is_empty() {
            commands.push(Command::Checkpoint(term, checkpoints));
        }
        for command in commands {
            self.propose(command);
        }
    }

    fn apply(&mut self, member: usize, count: usize) -> Result<(), String> {
        let from = self.members[member].applied;
        let to = from.saturating_add(count).min(self.log.len());
        for at in from..to {
            let mut entry = self.log[at].clone();
            if let Command::Expire(expiry) = &mut entry.command {
                if self.fault == Fault::NoTerm {
                    expiry.term = entry.term;
                }
                if self.fault == Fault::AnyRenewal && expiry.term == entry.term {
                    let leases: Vec<_> = expiry.leases.iter().map(|lease| lease.id).collect();
                    for lease in leases {
                        let revoke = Command::Revoke(lease);
                        if at == self.checked && self.members[member].leases.contains(lease) {
                            self.check_expiry(lease)?;
                        }
                        let term = entry.term;
                        self.members[member].apply(&Entry {
                            term,
                            command: revoke.clone(),
                        });
                        self.members[member].applied -= 1;
                    }
                }
            }
            let expired = self.members[member].apply(&entry);
            if at == self.checked {
                self.checked += 1;
                self.note(&entry, &expired)?;
                self.compare(member)?;
            }
        }
        Ok(())
    }

    /// Follows a newly applied entry in the model, and checks the leases that it ended.
    fn note(&mut self, entry: &Entry, expired: &[LeaseId]) -> Result<(), String> {
        let model = &mut self.model;
        match &entry.command {
            Command::Grant(lease, ttl) if !model.ttls.contains_key(lease) => {
                model.ttls.insert(*lease, *ttl);
                let until = self.now + u64::try_from(ttl.duration().as_millis()).expect("small");
                self.promises.insert(*lease, until);
            }
            Command::Revoke(lease) => model.end(*lease),
            Command::Put(key, lease) if lease.is_none_or(|it| model.ttls.contains_key(&it)) => {
                model.keys.insert(key.to_vec(), *lease);
            }
            Command::Delete(key) => {
                model.keys.remove(*key);
            }
            _ => {}
        }
        for lease in expired {
            self.check_expiry(*lease)?;
            self.model.end(*lease);
            self.expired.insert(*lease);
        }
        Ok(())
    }

    fn check_expiry(&self, lease: LeaseId) -> Result<(), String> {
        match self.promises.get(&lease) {
            Some(until) if *until > self.now => Err(format!(
                "{lease} ended at {}, and was promised until {until}",
                self.now
            )),
            _ => Ok(()),
        }
    }

    /// Compares a member that has applied everything that was checked with the model.
    fn compare(&self, member: usize) -> Result<(), String> {
        let member = &self.members[member];
        let ids: Vec<_> = member.leases.ids().collect();
        let expected: Vec<_> = self.model.ttls.keys().copied().collect();
        if ids != expected || member.stored().len() != ids.len() {
            return Err(format!("leases {ids:?}, not {expected:?}"));
        }
        if member.stored_keys() != self.model.keys {
            return Err("other keys than the model's".to_owned());
        }
        for (lease, ttl) in &self.model.ttls {
            if member.leases.granted(*lease) != Some(*ttl) {
                return Err(format!("{lease} has another time to live"));
            }
            let holds = |(key, holder): (&Vec<u8>, &Option<LeaseId>)| {
                (*holder == Some(*lease)).then(|| key.clone())
            };
            let expected: Vec<_> = self.model.keys.iter().filter_map(holds).collect();
            if member.keys(*lease) != expected {
                return Err(format!("{lease} holds other keys than {expected:?}"));
            }
        }
        self.compare_members()
    }

    /// Members that have applied the same have stored the same.
    fn compare_members(&self) -> Result<(), String> {
        let furthest = self.members.iter().filter(|it| it.applied == self.checked);
        let mut stored = furthest.map(Member::stored);
        let first = stored.next();
        if stored.any(|other| Some(other) != first) {
            return Err("members have stored different leases".to_owned());
        }
        Ok(())
    }
}

impl Model {
    fn end(&mut self, lease: LeaseId) {
        self.ttls.remove(&lease);
        self.keys.retain(|_, holder| *holder != Some(lease));
    }
}
