//! Schedules from seeds.

use cairn_history::{
    ClientId, Compare, Comparison, DeleteRequest, KeyRange, MemberId, Operand, PutRequest,
    RangeRequest, Request, TxnOp, TxnRequest, WatchRequest,
};

use crate::chance::Chance;
use crate::profile::{Asked, Fault, Profile};
use crate::schedule::{
    Action, Ask, Change, Cluster, Direction, Leaves, Millis, OfLease, RuleChange, Schedule, Step,
    V2Ask, WatchFrom, Whom,
};

/// When clients begin: an election may take that long.
const FIRST_ASK: u64 = 500;
/// When faults begin.
const FIRST_FAULT: u64 = 1500;
/// Watchers have numbers from here on.
const FIRST_WATCHER: u32 = 500;

/// The client that changes the rules.
const ADMIN: ClientId = ClientId(400);
/// Users, beside root.
const USERS: u64 = 4;
/// Roles, beside root's.
const ROLES: u64 = 3;

/// The schedule of a scenario that follows from a seed.
#[must_use]
pub fn generate(profile: &Profile, seed: u64) -> Schedule {
    let mut steps = Vec::new();
    for client in 0..profile.clients {
        asks(profile, seed, ClientId(client), &mut steps);
    }
    for watcher in 0..profile.watchers {
        watches(profile, seed, ClientId(FIRST_WATCHER + watcher), &mut steps);
    }
    if profile.users {
        rules(profile, seed, &mut steps);
    }
    faults(profile, seed, &mut steps);
    steps.sort_by_key(|step| step.at);
    Schedule {
        cluster: Cluster {
            seed,
            members: profile.members,
            ends: Millis(profile.ends),
            lease_late: profile.lease_late.map(Millis),
        },
        steps,
    }
}

fn asks(profile: &Profile, seed: u64, client: ClientId, steps: &mut Vec<Step>) {
    let mut chance = Chance::new(seed, &format!("asks of {client}"));
    let mut writer = Writer {
        chance: &mut chance,
        keys: profile.keys,
        ttl: profile.ttl,
        client,
        values: 0,
    };
    let user = profile.users.then(|| user(u64::from(client.0)));
    let mut at = FIRST_ASK;
    loop {
        at += writer.chance.between(profile.ask_gap.0, profile.ask_gap.1);
        if at >= profile.ends {
            return;
        }
        if let Some(asked) = writer.chance.weighted(profile.asks) {
            let what = writer.ask(*asked);
            let user = user.clone();
            steps.push(step(at, Action::Ask { client, user, what }));
        }
    }
}

fn watches(profile: &Profile, seed: u64, client: ClientId, steps: &mut Vec<Step>) {
    let mut chance = Chance::new(seed, &format!("watches of {client}"));
    let mut at = chance.below(profile.ends / 4);
    let mut watches = false;
    while at < profile.ends {
        let action = match chance.below(10) {
            0 => Action::Disconnect { client },
            1..=5 if watches => Action::AskProgress { client },
            _ => {
                watches = true;
                watch(&mut chance, profile.keys, client)
            }
        };
        steps.push(step(at, action));
        at += chance.between(200, profile.ends / 5);
    }
}

fn watch(chance: &mut Chance, keys: u64, client: ClientId) -> Action {
    let what = WatchRequest {
        prev_kv: chance.percent(50),
        no_put: chance.percent(8),
        no_delete: chance.percent(12),
        progress_notify: chance.percent(30),
        fragment: chance.percent(40),
        ..WatchRequest::new(range(chance, keys))
    };
    let from = match chance.below(10) {
        0..=4 => WatchFrom::Now,
        5..=8 => WatchFrom::Back(signed(chance.below(30))),
        _ => WatchFrom::Ahead(signed(chance.between(1, 10))),
    };
    let slow = chance.percent(30);
    let pace = Millis(if slow { chance.between(50, 1500) } else { 0 });
    Action::Watch {
        client,
        what,
        from,
        pace,
    }
}

fn faults(profile: &Profile, seed: u64, steps: &mut Vec<Step>) {
    let mut chance = Chance::new(seed, "faults");
    let mut at = FIRST_FAULT;
    loop {
        at += chance.between(profile.fault_gap.0, profile.fault_gap.1);
        if at >= profile.ends {
            return;
        }
        let Some(fault) = chance.weighted(profile.faults) else {
            return;
        };
        if matches!(fault, Fault::PutBackAmongAll | Fault::EmptyAmongAll) {
            among_all(*fault, at, &mut chance, profile.members, steps);
        } else if *fault == Fault::PutBackApart {
            let mut all = Vec::new();
            put_back_apart(at, &mut chance, profile.members, &mut all);
            // Once all faults have ended, none may begin.
            if all.iter().all(|step| step.at.0 < profile.ends) {
                steps.extend(all);
            }
        } else if *fault == Fault::CrashAll {
            for number in 1..=profile.members {
                let action = Action::Crash {
                    whom: Whom::member(number),
                    leaves: leaves(&mut chance),
                    down: Millis(chance.between(100, 2000)),
                };
                steps.push(step(at + chance.below(20), action));
            }
        } else {
            let action = action(*fault, &mut chance, profile.members);
            steps.push(step(at, action));
        }
    }
}

/// A member forgets while all others are down, or some of them: whoever comes back first may find
/// nobody but it.
fn among_all(fault: Fault, at: u64, chance: &mut Chance, members: u64, steps: &mut Vec<Step>) {
    let whom = chance.between(1, members);
    for number in (1..=members).filter(|number| *number != whom) {
        let action = Action::Crash {
            whom: Whom::member(number),
            leaves: leaves(chance),
            down: Millis(chance.between(1, 4000)),
        };
        steps.push(step(at, action));
    }
    let (whom, down) = (Whom::member(whom), Millis(chance.between(1, 500)));
    let action = match fault {
        Fault::EmptyAmongAll => empty(chance, whom, down),
        _ => put_back(chance, whom, down),
    };
    steps.push(step(at + 1, action));
}

/// A member starts while it is cut off from another one, which thus hears of that start by others only;
/// goes on with these alone; and then forgets that start. They meet again while nobody else is there.
fn put_back_apart(at: u64, chance: &mut Chance, members: u64, steps: &mut Vec<Step>) {
    let whom = chance.between(1, members);
    let other = whom % members + 1;
    let (told, lasts) = (chance.between(600, 1500), chance.between(3000, 4500));
    let crash = Action::Crash {
        whom: Whom::member(whom),
        leaves: leaves(chance),
        down: Millis(chance.between(1, 200)),
    };
    let apart = Action::Apart {
        one: MemberId(whom),
        other: MemberId(other),
        lasts: Millis(lasts),
    };
    let isolate = Action::Isolate {
        whom: Whom::member(other),
        lasts: Millis(lasts - told),
    };
    steps.push(step(at, apart));
    steps.push(step(at + 1, crash));
    steps.push(step(at + told, isolate));
    for number in (1..=members).filter(|number| *number != whom) {
        let down = if number == other {
            chance.between(1, 500)
        } else {
            chance.between(2000, 5000)
        };
        let action = Action::Crash {
            whom: Whom::member(number),
            leaves: leaves(chance),
            down: Millis(down),
        };
        steps.push(step(at + lasts, action));
    }
    let forgets = Action::PutBack {
        whom: Whom::member(whom),
        starts: 0,
        down: Millis(chance.between(1, 300)),
    };
    steps.push(step(at + lasts + 1, forgets));
}

fn action(fault: Fault, chance: &mut Chance, members: u64) -> Action {
    let whom = if chance.percent(40) {
        Whom::Leader
    } else {
        Whom::member(chance.between(1, members))
    };
    let lasts = Millis(chance.between(100, 4000));
    match fault {
        Fault::Crash | Fault::CrashAll => Action::Crash {
            whom,
            leaves: leaves(chance),
            down: lasts,
        },
        Fault::CrashAtWrite => Action::CrashAtWrite {
            whom,
            after: chance.below(12),
            leaves: leaves(chance),
            down: lasts,
        },
        Fault::DiskFails => Action::DiskFails {
            whom,
            after: chance.below(12),
            down: lasts,
        },
        Fault::DiskStalls => Action::DiskStalls { whom, takes: lasts },
        Fault::CommitFails => Action::CommitFails { whom },
        Fault::DatabaseRots => rot(chance, whom),
        Fault::LateCommits => Action::LateCommits { whom, lasts },
        Fault::DiskFull => Action::DiskFull { whom, lasts },
        Fault::SlowApply => Action::SlowApply {
            whom,
            each: Millis(chance.between(1, 300)),
            lasts,
        },
        Fault::Pause => Action::Pause { whom, lasts },
        Fault::LeaderStalls => Action::Pause {
            whom: Whom::Leader,
            lasts: Millis(chance.between(1500, 5000)),
        },
        Fault::ClockBack => Action::ClockBack {
            whom,
            by: Millis(chance.between(100, 20_000)),
        },
        Fault::Ticks => Action::Ticks {
            whom,
            percent: chance.between(50, 200),
        },
        Fault::Isolate => Action::Isolate { whom, lasts },
        Fault::OneWay => one_way(chance, whom, lasts),
        Fault::Split => Action::Split { lasts },
        Fault::Weather => weather(chance, lasts),
        Fault::Apart => apart(chance, members, lasts),
        Fault::PutBack | Fault::PutBackAmongAll | Fault::PutBackApart => {
            put_back(chance, whom, lasts)
        }
        Fault::Empty | Fault::EmptyAmongAll => empty(chance, whom, lasts),
        Fault::Swap => swap(chance, members, lasts),
        Fault::Transfer => Action::Transfer {
            to: MemberId(chance.between(1, members)),
        },
    }
}

fn rot(chance: &mut Chance, whom: Whom) -> Action {
    Action::DatabaseRots {
        whom,
        first: chance.below(1 << 20),
        rows: chance.between(1, 24),
        bit: chance.below(1 << 10),
    }
}

fn one_way(chance: &mut Chance, whom: Whom, lasts: Millis) -> Action {
    let lost = if chance.percent(50) {
        Direction::In
    } else {
        Direction::Out
    };
    Action::OneWay { whom, lost, lasts }
}

fn weather(chance: &mut Chance, lasts: Millis) -> Action {
    Action::Weather {
        lost: chance.below(30),
        twice: chance.below(20),
        delay: Millis(chance.between(1, 400)),
        lasts,
    }
}

fn apart(chance: &mut Chance, members: u64, lasts: Millis) -> Action {
    let one = chance.between(1, members);
    Action::Apart {
        one: MemberId(one),
        other: MemberId(one % members + 1),
        lasts,
    }
}

fn swap(chance: &mut Chance, members: u64, lasts: Millis) -> Action {
    let one = chance.between(1, members);
    Action::Swap {
        one: MemberId(one),
        other: MemberId(one % members + 1),
        lasts,
    }
}

fn put_back(chance: &mut Chance, whom: Whom, down: Millis) -> Action {
    Action::PutBack {
        whom,
        starts: usize::try_from(chance.below(4)).unwrap_or(0),
        down,
    }
}

fn empty(chance: &mut Chance, whom: Whom, down: Millis) -> Action {
    let joins = chance.percent(50);
    Action::Empty { whom, joins, down }
}

fn leaves(chance: &mut Chance) -> Leaves {
    match chance.below(8) {
        0..=2 => Leaves::Nothing,
        3 => Leaves::Everything,
        4 => Leaves::First(usize::try_from(chance.below(6)).unwrap_or(0)),
        _ => Leaves::Some,
    }
}

/// Makes up requests of one client; no value is written twice.
struct Writer<'a> {
    chance: &'a mut Chance,
    keys: u64,
    ttl: (u64, u64),
    client: ClientId,
    values: u32,
}

impl Writer<'_> {
    fn v2(&mut self) -> V2Ask {
        let key = self.key();
        match self.chance.below(10) {
            0..=3 => V2Ask::Set {
                key,
                value: self.value(),
                ttl_secs: self.chance.percent(30).then(|| self.chance.between(1, 3)),
            },
            4 | 5 => V2Ask::Swap {
                key,
                value: self.value(),
            },
            6 => V2Ask::Delete { key },
            _ => V2Ask::Get {
                key,
                quorum: self.chance.percent(70),
            },
        }
    }

    fn ask(&mut self, asked: Asked) -> Ask {
        match asked {
            Asked::Put => Ask::Plain(Request::Put(self.put())),
            Asked::Get => Ask::Plain(Request::get(self.key())),
            Asked::GetHere => {
                let mut read = RangeRequest::new(KeyRange::One(self.key().into()));
                read.serializable = true;
                Ask::Plain(Request::Range(read))
            }
            Asked::Range => {
                let mut read = RangeRequest::new(range(self.chance, self.keys));
                let limit = usize::try_from(self.chance.below(4)).unwrap_or(0);
                read.limit = (limit > 0).then_some(limit);
                Ask::Plain(Request::Range(read))
            }
            Asked::Delete => Ask::Plain(Request::DeleteRange(self.delete(false))),
            Asked::DeleteRange => Ask::Plain(Request::DeleteRange(self.delete(true))),
            Asked::Swap => Ask::Swap {
                key: self.key(),
                value: self.value(),
            },
            Asked::Txn => Ask::Plain(Request::Txn(self.txn())),
            Asked::ReadBack => Ask::ReadBack {
                range: range(self.chance, self.keys),
                by: signed(self.chance.below(15)),
            },
            Asked::WriteAndReadBack => Ask::WriteAndReadBack {
                key: self.key(),
                value: self.value(),
                range: range(self.chance, self.keys),
                by: signed(self.chance.below(15)),
            },
            Asked::Grant => Ask::Grant {
                ttl_secs: self.ttl_secs(),
            },
            Asked::KeepAlive => self.of_lease(OfLease::KeepAlive),
            Asked::TimeToLive => self.of_lease(OfLease::TimeToLive),
            Asked::Revoke => self.of_lease(OfLease::Revoke),
            Asked::PutLeased => {
                let (key, value) = (self.key(), self.value());
                self.of_lease(OfLease::Put { key, value })
            }
            Asked::Lock => Ask::Lock {
                name: self.lock(),
                ttl_secs: self.ttl_secs(),
            },
            Asked::Unlock => Ask::Unlock { name: self.lock() },
            Asked::Fenced => {
                let name = self.lock();
                let key = format!("of-{name}");
                Ask::Fenced { name, key }
            }
            Asked::Hashes => Ask::Hashes {
                by: signed(self.chance.below(12)),
            },
            Asked::V2 => Ask::V2(self.v2()),
            Asked::Members => Ask::Members(self.change()),
            Asked::Compact => Ask::Compact {
                keep: signed(self.chance.below(12)),
            },
        }
    }

    /// Any change: most that make no sense are refused, which must happen alike everywhere.
    fn change(&mut self) -> Change {
        let new = MemberId(4 + self.chance.below(4));
        match self.chance.below(10) {
            0 => Change::Add(new),
            1..=4 => Change::Learn(new),
            5..=7 => Change::Promote(new),
            _ => Change::Remove(MemberId(self.chance.between(1, 7))),
        }
    }

    fn of_lease(&mut self, of: OfLease) -> Ask {
        let ttl_secs = self.ttl_secs();
        Ask::Lease { of, ttl_secs }
    }

    fn ttl_secs(&mut self) -> i64 {
        signed(self.chance.between(self.ttl.0, self.ttl.1))
    }

    fn lock(&mut self) -> String {
        format!("lock{}", self.chance.below(2))
    }

    fn key(&mut self) -> String {
        key(self.chance.below(self.keys))
    }

    fn value(&mut self) -> String {
        self.values += 1;
        format!("{}.{}", self.client, self.values)
    }

    fn put(&mut self) -> PutRequest {
        let mut put = PutRequest::new(self.key(), self.value());
        put.prev_kv = self.chance.percent(25);
        if self.chance.percent(4) {
            put.ignore_value = true;
            put.value = "".into();
        }
        put
    }

    fn delete(&mut self, many: bool) -> DeleteRequest {
        let mut delete = DeleteRequest::new(if many {
            range(self.chance, self.keys)
        } else {
            KeyRange::One(self.key().into())
        });
        delete.prev_kv = self.chance.percent(40);
        delete
    }

    /// Compares one key; writes two others, or reads.
    fn txn(&mut self) -> TxnRequest {
        let of = self.key();
        let operand = match self.chance.below(3) {
            0 => Operand::Version(signed(self.chance.below(4))),
            1 => Operand::Create(0),
            _ => Operand::Value(of.as_str().into()),
        };
        let is = match self.chance.below(3) {
            0 => Comparison::Equal,
            1 => Comparison::Greater,
            _ => Comparison::NotEqual,
        };
        let first = self.chance.below(self.keys);
        let second = (first + 1) % self.keys;
        let put = |writer: &mut Self, number| {
            let mut put = PutRequest::new(key(number), writer.value());
            put.prev_kv = writer.chance.percent(30);
            TxnOp::Put(put)
        };
        let mut success = vec![put(self, first)];
        if second != first {
            success.push(if self.chance.percent(60) {
                put(self, second)
            } else {
                let one = KeyRange::One(key(second).into());
                TxnOp::DeleteRange(DeleteRequest::new(one))
            });
        }
        let all = TxnOp::Range(RangeRequest::new(KeyRange::all()));
        success.push(all.clone());
        let failure = if self.chance.percent(50) {
            vec![all]
        } else {
            vec![put(self, first)]
        };
        TxnRequest {
            compares: vec![Compare {
                range: KeyRange::One(of.into()),
                is,
                operand,
            }],
            success,
            failure,
        }
    }
}

/// Sets up users and roles, turns authentication on, and changes the rules until the end.
fn rules(profile: &Profile, seed: u64, steps: &mut Vec<Step>) {
    let mut chance = Chance::new(seed, "rules");
    let root = || "root".to_owned();
    let mut first = vec![
        RuleChange::AddUser(root()),
        RuleChange::Give(root(), root()),
    ];
    first.extend((0..ROLES).map(|number| RuleChange::AddRole(role(number))));
    for number in 0..USERS {
        first.push(RuleChange::AddUser(user(number)));
        first.push(RuleChange::Give(user(number), role(number % ROLES)));
    }
    for _ in 0..2 * ROLES {
        first.push(allow(&mut chance, profile.keys));
    }
    first.push(RuleChange::Enable);
    let mut at = FIRST_ASK;
    let mut ask = |at, change| {
        let action = Action::Ask {
            client: ADMIN,
            user: Some("root".to_owned()),
            what: Ask::Rules(change),
        };
        steps.push(step(at, action));
    };
    for change in first {
        ask(at, change);
    }
    at += 500;
    while at < profile.ends {
        ask(at, rule_change(&mut chance, profile.keys));
        at += chance.between(50, 800);
    }
}

/// Any change: those that make no sense are refused, which must happen alike everywhere.
fn rule_change(chance: &mut Chance, keys: u64) -> RuleChange {
    let (user, role) = (user(chance.below(USERS)), role(chance.below(ROLES)));
    match chance.below(20) {
        0 => RuleChange::Disable,
        1..=2 => RuleChange::Enable,
        3 => RuleChange::AddUser(user),
        4 => RuleChange::DeleteUser(user),
        5 => RuleChange::AddRole(role),
        6 => RuleChange::DeleteRole(role),
        7..=9 => RuleChange::Give(user, role),
        10 => RuleChange::Take(user, role),
        11..=15 => allow(chance, keys),
        _ => RuleChange::Forbid(role, range(chance, keys)),
    }
}

fn allow(chance: &mut Chance, keys: u64) -> RuleChange {
    let write = chance.percent(70);
    RuleChange::Allow {
        role: role(chance.below(ROLES)),
        range: range(chance, keys),
        read: !write || chance.percent(70),
        write,
    }
}

fn user(number: u64) -> String {
    format!("u{}", number % USERS)
}

fn role(number: u64) -> String {
    format!("r{number}")
}

fn key(number: u64) -> String {
    format!("k{number}")
}

fn range(chance: &mut Chance, keys: u64) -> KeyRange {
    let first = chance.below(keys);
    match chance.below(5) {
        0 | 1 => KeyRange::One(key(first).into()),
        2 => KeyRange::all(),
        3 => KeyRange::From(key(first).into()),
        _ => KeyRange::Span(key(first).into(), key(first + chance.between(1, 3)).into()),
    }
}

const fn step(at: u64, action: Action) -> Step {
    Step {
        at: Millis(at),
        action,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
