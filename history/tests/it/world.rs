//! Many clients and watchers of one correct store, all moved by one seed: what they see is a history
//! that every check must accept.
//!
//! An operation is called, done and answered in three moments, with others' moments in between. Some
//! answers are lost, and some requests are done long after their clients gave up. Serializable reads and
//! watchers lag.

use cairn_history::{
    Answer, ClientId, Compare, Comparison, DeleteRequest, Event, EventKind, History, KeyRange,
    LeaseId, MemberId, OpId, Operand, Outcome, PutRequest, RangeRequest, Refusal, Request,
    Response, Revision, Time, TxnOp, TxnRequest, Watch, WatchId, WatchRequest, WatchResponse,
    WatchSays,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::naive_store::NaiveStore;

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) clients: u32,
    pub(crate) ops: usize,
    pub(crate) keys: u32,
    /// Of a hundred operations so many have no answer.
    pub(crate) unknown_percent: u32,
    pub(crate) watchers: usize,
    /// A watcher hears everything from the beginning to the end, so nothing is compacted.
    pub(crate) audited: bool,
}

pub(crate) const SMALL: Size = Size {
    clients: 5,
    ops: 120,
    keys: 6,
    unknown_percent: 15,
    watchers: 4,
    audited: false,
};

enum Client {
    Idle,
    Called(OpId, Request),
    Done(OpId, Outcome),
}

struct Watcher {
    id: WatchId,
    /// The next revision to be sent.
    next: Revision,
    /// What was last said to it.
    revision: Revision,
}

struct World {
    rng: SmallRng,
    size: Size,
    now: u64,
    store: NaiveStore,
    history: History,
    clients: Vec<Client>,
    /// Requests that may still be done, though nobody waits.
    limbo: Vec<Request>,
    watchers: Vec<Watcher>,
    values: u64,
    lease: i64,
    /// The revision of each member.
    members: [Revision; 3],
}

/// The history of a correct store.
pub(crate) fn history(seed: u64, size: Size) -> History {
    let mut world = World {
        rng: SmallRng::seed_from_u64(seed),
        size,
        now: 0,
        store: NaiveStore::new(),
        history: History::new(),
        clients: (0..size.clients).map(|_| Client::Idle).collect(),
        limbo: Vec::new(),
        watchers: Vec::new(),
        values: 0,
        lease: 0,
        members: [Revision::FRESH; 3],
    };
    world.run();
    world.history
}

impl World {
    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn tick(&mut self) -> Time {
        self.now += self.rng.random_range(1..1000);
        Time(self.now)
    }

    fn run(&mut self) {
        if self.size.audited {
            let request = WatchRequest {
                start: Some(Revision::FRESH),
                prev_kv: true,
                ..WatchRequest::new(KeyRange::all())
            };
            self.watch(request);
        }
        while self.history.ops.len() < self.size.ops {
            match self.rng.random_range(0..20) {
                0 if !self.limbo.is_empty() => self.settle_limbo(),
                1 if self.watchers.len() < self.size.watchers => self.begin_watch(),
                2 if !self.watchers.is_empty() && self.chance(10) => self.resume_watch(),
                3..=5 if !self.watchers.is_empty() => {
                    let at = self.rng.random_range(0..self.watchers.len());
                    self.send(at);
                }
                6 => self.catch_up(),
                7 if self.chance(5) => self.expire(),
                _ => self.step_client(),
            }
        }
        self.heal();
    }

    /// Lets everything end, and reads all from every member.
    fn heal(&mut self) {
        for at in 0..self.clients.len() {
            while !matches!(self.clients[at], Client::Idle) {
                self.step(at);
            }
        }
        self.limbo.clear();
        self.members = [self.store.revision(); 3];
        let newest = self.store.revision();
        while let Some(at) = self.watchers.iter().position(|it| it.next <= newest) {
            self.send(at);
        }
        self.history.settled = Some(self.tick());
        for member in 0..3 {
            let mut read = RangeRequest::new(KeyRange::all());
            read.serializable = member != 0;
            let call = self.tick();
            let request = Request::Range(read.clone());
            let op = self
                .history
                .call(ClientId(99), MemberId(member), call, request);
            let revision = self.store.revision();
            let body = Response::Range(self.store.read(revision, &read));
            let answer = self.answer(revision, body);
            self.history.end(op, Outcome::Ok(answer));
        }
    }

    fn answer(&mut self, revision: Revision, body: Response) -> Answer {
        Answer {
            at: self.tick(),
            revision: Some(revision),
            term: None,
            body,
        }
    }

    fn step_client(&mut self) {
        let at = self.rng.random_range(0..self.clients.len());
        self.step(at);
    }

    fn step(&mut self, at: usize) {
        let client = std::mem::replace(&mut self.clients[at], Client::Idle);
        self.clients[at] = match client {
            Client::Idle => {
                let request = self.request();
                let member = MemberId(self.rng.random_range(0..3));
                let call = self.tick();
                let client = ClientId(u32::try_from(at).unwrap());
                let op = self.history.call(client, member, call, request.clone());
                Client::Called(op, request)
            }
            Client::Called(op, request) => {
                let unknown = self.size.unknown_percent;
                if self.chance(unknown) {
                    let error = "timeout".to_owned();
                    let at = Some(self.tick());
                    self.history.end(op, Outcome::Unknown { at, error });
                    self.limbo.push(request);
                    Client::Idle
                } else {
                    Client::Done(op, self.outcome(op, &request))
                }
            }
            Client::Done(op, mut outcome) => {
                let now = self.tick();
                match &mut outcome {
                    Outcome::Ok(answer) => answer.at = now,
                    Outcome::Refused { at, .. } => *at = now,
                    Outcome::Unknown { .. } => {}
                }
                self.history.end(op, outcome);
                Client::Idle
            }
        };
    }

    fn outcome(&mut self, op: OpId, request: &Request) -> Outcome {
        let is_serializable = matches!(request, Request::Range(range) if range.serializable);
        let member = usize::try_from(self.history.ops[op.0].member.0).unwrap();
        let revision = if is_serializable {
            self.members[member]
        } else {
            self.store.revision()
        };
        let body = match request {
            Request::Range(range) => match range.revision {
                Some(at) if at < self.store.compacted => {
                    return refused(Refusal::Compacted);
                }
                Some(at) if at > revision => return refused(Refusal::FutureRevision),
                _ => Some(Response::Range(self.store.read(revision, range))),
            },
            other => self.store.apply(other),
        };
        let Some(body) = body else {
            return refused(Refusal::Other("refused".to_owned()));
        };
        let revision = if is_serializable {
            revision
        } else {
            self.members[member] = self.store.revision();
            self.store.revision()
        };
        Outcome::Ok(self.answer(revision, body))
    }

    fn settle_limbo(&mut self) {
        let at = self.rng.random_range(0..self.limbo.len());
        let request = self.limbo.swap_remove(at);
        if !matches!(request, Request::Range(_)) && self.chance(60) {
            self.store.apply(&request);
        }
    }

    fn catch_up(&mut self) {
        let at = self.rng.random_range(0..3);
        let newest = self.store.revision().0;
        self.members[at] = Revision(self.rng.random_range(self.members[at].0..=newest));
    }

    fn expire(&mut self) {
        if self.store.leases.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.store.leases.len());
        let lease = self.store.leases[at];
        // A lease ends without anybody's call; its time is not of account here.
        self.store.apply(&Request::LeaseRevoke(lease));
    }

    fn key(&mut self) -> String {
        let key = self.rng.random_range(0..self.size.keys);
        let folder = if key % 2 == 0 { "a" } else { "b" };
        format!("{folder}/{key}")
    }

    fn range(&mut self) -> KeyRange {
        match self.rng.random_range(0..4) {
            0 => KeyRange::all(),
            1 => KeyRange::prefix("a/"),
            2 => KeyRange::prefix("b/"),
            _ => KeyRange::One(self.key().into()),
        }
    }

    fn put(&mut self) -> PutRequest {
        self.values += 1;
        // Now and then a value that was there before.
        let value = if self.chance(90) {
            format!("v{}", self.values)
        } else {
            "same".to_owned()
        };
        let mut put = PutRequest::new(self.key(), value);
        put.prev_kv = self.chance(30);
        if self.chance(20) && !self.store.leases.is_empty() {
            let at = self.rng.random_range(0..self.store.leases.len());
            put.lease = Some(self.store.leases[at]);
        }
        put
    }

    fn read(&mut self) -> RangeRequest {
        let mut read = RangeRequest::new(self.range());
        read.serializable = self.chance(30);
        if self.chance(20) {
            read.limit = Some(self.rng.random_range(1..4));
        }
        read.count_only = self.chance(10);
        if self.chance(15) {
            let newest = self.store.revision().0;
            read.revision = Some(Revision(self.rng.random_range(1..=newest + 1)));
        }
        read
    }

    fn delete(&mut self) -> DeleteRequest {
        let range = if self.chance(80) {
            KeyRange::One(self.key().into())
        } else {
            self.range()
        };
        let mut delete = DeleteRequest::new(range);
        delete.prev_kv = self.chance(50);
        delete
    }

    fn txn(&mut self) -> TxnRequest {
        let key = self.key();
        let newest = self.store.revision();
        let read = RangeRequest::new(KeyRange::One(key.as_str().into()));
        let now = self.store.read(newest, &read).kvs.pop();
        let operand = match &now {
            Some(kv) if self.chance(30) => Operand::Value(kv.value.clone()),
            Some(kv) => Operand::Mod(kv.mod_revision.0),
            None => Operand::Mod(0),
        };
        let compare = Compare {
            range: read.range.clone(),
            is: Comparison::Equal,
            operand,
        };
        let mut put = self.put();
        put.key = key.as_str().into();
        let mut success = vec![TxnOp::Put(put)];
        if self.chance(40) {
            let mut other = self.put();
            while other.key == key.as_str().into() {
                other = self.put();
            }
            success.push(TxnOp::Put(other));
        }
        if self.chance(30) {
            let inner = TxnRequest {
                success: vec![TxnOp::Range(RangeRequest::new(KeyRange::all()))],
                ..TxnRequest::default()
            };
            success.push(TxnOp::Txn(inner));
        }
        let failure = if self.chance(20) {
            TxnOp::DeleteRange(DeleteRequest::new(read.range.clone()))
        } else {
            TxnOp::Range(read)
        };
        TxnRequest {
            compares: vec![compare],
            success,
            failure: vec![failure],
        }
    }

    fn request(&mut self) -> Request {
        match self.rng.random_range(0..100) {
            0..35 => Request::Put(self.put()),
            35..45 => Request::DeleteRange(self.delete()),
            45..65 => Request::Txn(self.txn()),
            65..93 => Request::Range(self.read()),
            93..96 => {
                self.lease += 1;
                Request::LeaseGrant {
                    id: Some(LeaseId(self.lease)),
                    ttl_secs: 1,
                }
            }
            96..98 if self.lease > 0 => {
                Request::LeaseRevoke(LeaseId(self.rng.random_range(1..=self.lease)))
            }
            _ if self.size.audited => Request::Put(self.put()),
            _ => {
                let newest = self.store.revision().0;
                Request::Compact(Revision(self.rng.random_range(1..=newest)))
            }
        }
    }

    fn begin_watch(&mut self) {
        let newest = self.store.revision();
        let start = self.chance(50).then(|| {
            let first = self.store.compacted.0.max(1);
            Revision(self.rng.random_range(first..=newest.0 + 2))
        });
        let request = WatchRequest {
            start,
            prev_kv: self.chance(50),
            no_put: self.chance(10),
            no_delete: self.chance(10),
            fragment: self.chance(30),
            ..WatchRequest::new(self.range())
        };
        self.watch(request);
    }

    fn watch(&mut self, request: WatchRequest) {
        let call = self.tick();
        let newest = self.store.revision();
        let next = request.start.unwrap_or(Revision(newest.0 + 1));
        let id = self.history.watch(ClientId(50), MemberId(0), call, request);
        self.watchers.push(Watcher {
            id,
            next,
            revision: newest,
        });
        let at = self.watchers.len() - 1;
        self.say(at, newest, WatchSays::Created);
    }

    /// A client loses its stream and watches on from where it was.
    fn resume_watch(&mut self) {
        let first = usize::from(self.size.audited);
        if self.watchers.len() == first {
            return;
        }
        let at = self.rng.random_range(first..self.watchers.len());
        let now = self.tick();
        let watcher = self.watchers.swap_remove(at);
        self.history.hear_no_more(watcher.id, now);
        let watch = &self.history.watches[watcher.id.0];
        let request = WatchRequest {
            start: Some(watcher.next),
            ..watch.request.clone()
        };
        if watcher.next >= self.store.compacted {
            self.watch(request);
        }
    }

    fn say(&mut self, at: usize, revision: Revision, says: WatchSays) {
        let time = self.tick();
        let watcher = &mut self.watchers[at];
        watcher.revision = revision;
        let response = WatchResponse {
            at: time,
            revision,
            says,
        };
        self.history.hear(watcher.id, response);
    }

    fn is_due(watch: &Watch, event: &Event) -> bool {
        let filtered = match event.kind {
            EventKind::Put => watch.request.no_put,
            EventKind::Delete => watch.request.no_delete,
        };
        !filtered && watch.request.range.contains(&event.kv.key)
    }

    /// Sends a watcher some of what it lacks, or how far it is, or that it is too late.
    fn send(&mut self, at: usize) {
        let newest = self.store.revision();
        let next = self.watchers[at].next;
        let watch = self.history.watches[self.watchers[at].id.0].clone();
        if next < self.store.compacted {
            let compacted = Some(self.store.compacted);
            let reason = "compacted".to_owned();
            self.say(at, newest, WatchSays::Canceled { compacted, reason });
            self.watchers.swap_remove(at);
            return;
        }
        if next > newest {
            if newest > self.watchers[at].revision || self.chance(20) {
                self.say(at, newest, WatchSays::Progress);
            }
            return;
        }
        let last = Revision(self.rng.random_range(next.0..=newest.0));
        let mut events = Vec::new();
        for revision in next.0..=last.0 {
            for event in self.store.changes(Revision(revision)) {
                if Self::is_due(&watch, event) {
                    let gone = revision <= self.store.compacted.0;
                    let mut event = event.clone();
                    if !watch.request.prev_kv || gone {
                        event.prev_kv = None;
                    }
                    events.push(event);
                }
            }
        }
        self.watchers[at].next = Revision(last.0 + 1);
        if events.is_empty() {
            return;
        }
        if watch.request.fragment && events.len() > 1 {
            let rest = events.split_off(self.rng.random_range(1..events.len()));
            let fragment = true;
            self.say(at, newest, WatchSays::Events { events, fragment });
            events = rest;
        }
        let fragment = false;
        self.say(at, newest, WatchSays::Events { events, fragment });
    }
}

fn refused(why: Refusal) -> Outcome {
    let at = Time(0);
    Outcome::Refused { at, why }
}
