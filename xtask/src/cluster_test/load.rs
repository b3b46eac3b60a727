//! Clients that read and write until they are told to stop, each at a member of its choice.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_history::{
    ClientId, Compare, Comparison, Data, DeleteRequest, KeyRange, LeaseId, Operand, Outcome,
    PutRequest, RangeRequest, Request, Response, Revision, TxnOp, TxnRequest,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;

use super::Phase;
use super::call::{call, is_unimplemented};
use super::endpoints::Endpoints;
use super::ours::Ours;
use super::recorder::Recorder;

/// Keys that all clients share: few, so that they meet.
const KEYS: u32 = 12;
/// So long a client thinks between two requests, at most.
const THINK_MS_MAX: u64 = 40;
/// After an error a client waits, or it would only fail faster.
const AFTER_ERROR: Duration = Duration::from_millis(100);
/// Revisions that stay when history is compacted.
const UNCOMPACTED: i64 = 400;
/// Leases of one client have numbers of their own.
const LEASES_PER_CLIENT: i64 = 100_000;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trade {
    /// Reads, writes, deletes, transactions.
    Keys,
    /// Leases with keys, renewed, revoked or left to end.
    Leases,
    /// Locks under leases.
    Locks,
    /// Compactions.
    Compactions,
}

/// A client.
pub(crate) struct Client {
    number: u32,
    endpoints: Endpoints,
    /// Who carries requests, if not a connection to one member.
    ours: Option<Ours>,
    recorder: Recorder,
    phase: watch::Receiver<Phase>,
    rng: SmallRng,
    values: u64,
    leases: i64,
    /// The newest revision that it saw.
    newest: Revision,
    /// When it last saw each key written.
    seen: BTreeMap<Data, Revision>,
    is_unimplemented: bool,
}

impl Client {
    pub(crate) fn new(
        number: u32,
        seed: u64,
        (endpoints, ours): (Endpoints, Option<Ours>),
        recorder: Recorder,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            number,
            endpoints,
            ours,
            recorder,
            phase,
            rng: SmallRng::seed_from_u64(seed ^ (u64::from(number) << 32)),
            values: 0,
            leases: 0,
            newest: Revision::FRESH,
            seen: BTreeMap::new(),
            is_unimplemented: false,
        }
    }

    /// Plies a trade until the load is over, or the server knows nothing of it.
    pub(crate) async fn run(mut self, trade: Trade) {
        while self.is_on() && !self.is_unimplemented {
            match trade {
                Trade::Keys => {
                    let request = self.request();
                    self.ask(request).await;
                }
                Trade::Leases => self.live_a_lease().await,
                Trade::Locks => self.hold_a_lock().await,
                Trade::Compactions => self.compact().await,
            }
            let think = self.rng.random_range(0..THINK_MS_MAX);
            tokio::time::sleep(Duration::from_millis(think)).await;
        }
    }

    fn is_on(&self) -> bool {
        *self.phase.borrow() == Phase::Load
    }

    /// Waits, or until the load is over.
    async fn wait(&mut self, millis: u64) {
        let wait = tokio::time::sleep(Duration::from_millis(millis));
        tokio::select! {
            () = wait => {}
            changed = self.phase.wait_for(|phase| *phase != Phase::Load) => drop(changed),
        }
    }

    /// Sends a request to some member and notes all about it.
    async fn ask(&mut self, request: Request) -> Option<Response> {
        let client = ClientId(self.number);
        let outcome = if let Some(ours) = &self.ours {
            let member = ours.some_member();
            let op = self.recorder.call(client, member, request.clone());
            let outcome = ours.call(&request, &self.recorder).await;
            self.recorder.end(op, outcome.clone());
            outcome
        } else {
            let endpoint = self.endpoints.any(&mut self.rng)?;
            let op = self.recorder.call(client, endpoint.member, request.clone());
            let outcome = call(&endpoint.channel, &request, &self.recorder).await;
            self.recorder.end(op, outcome.clone());
            outcome
        };
        self.is_unimplemented = is_unimplemented(&outcome);
        match outcome {
            Outcome::Ok(answer) => {
                self.newest = self.newest.max(answer.revision.unwrap_or_default());
                if let Response::Range(range) = &answer.body {
                    for kv in &range.kvs {
                        self.seen.insert(kv.key.clone(), kv.mod_revision);
                    }
                }
                Some(answer.body)
            }
            Outcome::Refused { .. } => None,
            Outcome::Unknown { .. } => {
                tokio::time::sleep(AFTER_ERROR).await;
                None
            }
        }
    }

    fn key(&mut self) -> Data {
        let key = self.rng.random_range(0..KEYS);
        let folder = if key % 2 == 0 { "a" } else { "b" };
        format!("{folder}/{key:02}").into()
    }

    /// A value that was never written before.
    fn value(&mut self) -> Data {
        self.values += 1;
        format!("{}.{}", self.number, self.values).into()
    }

    fn range(&mut self) -> KeyRange {
        match self.rng.random_range(0..4) {
            0 => KeyRange::prefix("a/"),
            1 => KeyRange::prefix("b/"),
            _ => KeyRange::One(self.key()),
        }
    }

    fn request(&mut self) -> Request {
        match self.rng.random_range(0..100) {
            0..40 => {
                let mut put = PutRequest::new(self.key(), self.value());
                put.prev_kv = self.rng.random_bool(0.3);
                Request::Put(put)
            }
            40..48 => {
                let mut delete = DeleteRequest::new(KeyRange::One(self.key()));
                delete.prev_kv = self.rng.random_bool(0.5);
                Request::DeleteRange(delete)
            }
            48 => Request::DeleteRange(DeleteRequest::new(KeyRange::prefix("b/"))),
            49..65 => Request::Txn(self.txn()),
            _ => {
                let mut read = RangeRequest::new(self.range());
                read.serializable = self.rng.random_bool(0.3);
                if self.rng.random_bool(0.1) && self.newest > Revision(20) {
                    let back = self.rng.random_range(0..20);
                    read.revision = Some(Revision(self.newest.0 - back));
                }
                Request::Range(read)
            }
        }
    }

    /// Writes a key, and perhaps another, if it is as this client saw it last.
    fn txn(&mut self) -> TxnRequest {
        let key = self.key();
        let seen = self.seen.get(&key).copied().unwrap_or_default();
        let compare = Compare {
            range: KeyRange::One(key.clone()),
            is: Comparison::Equal,
            operand: Operand::Mod(seen.0),
        };
        let mut success = vec![TxnOp::Put(PutRequest::new(key.clone(), self.value()))];
        let other = self.key();
        if other != key {
            success.push(TxnOp::Put(PutRequest::new(other, self.value())));
        }
        success.push(TxnOp::Range(RangeRequest::new(KeyRange::prefix("a/"))));
        TxnRequest {
            compares: vec![compare],
            success,
            failure: vec![TxnOp::Range(RangeRequest::new(KeyRange::One(key)))],
        }
    }

    async fn grant(&mut self, ttl_secs: i64) -> Option<LeaseId> {
        self.leases += 1;
        let id = LeaseId(i64::from(self.number) * LEASES_PER_CLIENT + self.leases);
        let grant = Request::LeaseGrant {
            id: Some(id),
            ttl_secs,
        };
        self.ask(grant).await.map(|_| id)
    }

    async fn live_a_lease(&mut self) {
        let ttl_secs = self.rng.random_range(2..5);
        let Some(lease) = self.grant(ttl_secs).await else {
            return;
        };
        for place in 0..self.rng.random_range(1..4) {
            let mut put = PutRequest::new(format!("lease/{}/{place}", self.number), self.value());
            put.lease = Some(lease);
            self.ask(Request::Put(put)).await;
        }
        for _ in 0..self.rng.random_range(0..3) {
            self.wait(1000).await;
            self.ask(Request::LeaseKeepAlive(lease)).await;
            let keys = true;
            self.ask(Request::LeaseTimeToLive { id: lease, keys }).await;
        }
        if self.rng.random_bool(0.4) {
            self.ask(Request::LeaseRevoke(lease)).await;
        } else {
            self.wait(500).await;
        }
    }

    async fn hold_a_lock(&mut self) {
        let Some(lease) = self.grant(10).await else {
            return;
        };
        let name = Data::from("lock");
        let lock = Request::Lock { name, lease };
        if let Some(Response::Lock(key)) = self.ask(lock).await {
            self.wait(20).await;
            self.ask(Request::Unlock(key)).await;
        }
        if !self.is_unimplemented {
            self.ask(Request::LeaseRevoke(lease)).await;
        }
    }

    async fn compact(&mut self) {
        self.wait(2000).await;
        self.ask(Request::get("a/00")).await;
        let revision = Revision(self.newest.0 - UNCOMPACTED);
        if revision > Revision::FRESH && self.is_on() {
            self.ask(Request::Compact(revision)).await;
        }
    }
}
