//! Random scripts: few keys, few values, every option, and what no sensible client would send.

use bytes::Bytes;
use cairn_proto::etcdserverpb::compare::TargetUnion;
use cairn_proto::etcdserverpb::request_op::Request;
use cairn_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::step::Step;
use crate::server_process::ApiVersion;

/// Watch streams in a script.
pub(super) const STREAMS: usize = 2;

/// All keys that a script writes.
const KEYS: [&[u8]; 9] = [
    b"a",
    b"a\0",
    b"aa",
    b"ab",
    b"b",
    b"b\xff",
    b"c",
    b"\0",
    b"\xff\xff",
];

/// etcd sorts up to 12 results by insertion, which keeps ties in key order. With more keys than
/// that, the order of ties would be chance.
const _: () = assert!(KEYS.len() <= 11);

/// Ends of ranges beside the keys: none, "from key on", and some that lie between keys.
const ENDS: [&[u8]; 6] = [b"", b"\0", b"b", b"c", b"\xff", b"ac"];

const VALUES: [&[u8]; 5] = [b"", b"1", b"2", b"10", b"\xfe"];
/// Older etcds end themselves when asked for a sort that there is not.
const SORTS_CHECKED: ApiVersion = ApiVersion { major: 3, minor: 5 };
/// Older etcds take a negative first revision of a watch for the oldest there is.
const STARTS_CHECKED: ApiVersion = ApiVersion { major: 3, minor: 6 };
const NESTING_MAX: u32 = 3;
/// One more than etcd takes by default.
const TOO_MANY_OPS: usize = 129;

/// A script of so many steps for servers that stand for at least this version; the same seed gives
/// the same script.
pub(super) fn script(seed: u64, steps: usize, version: ApiVersion) -> Vec<Step> {
    let mut generator = Generator::new(seed, version);
    let mut script: Vec<Step> = (0..steps).map(|_| generator.step()).collect();
    script.push(Step::Range(RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        ..RangeRequest::default()
    }));
    if !script.iter().any(compacts_at_zero) {
        script.push(Step::HashKv { revision: 0 });
    }
    script
}

/// After that, etcd since 3.6 answers a hash of the current revision (asked for as 0) with the one
/// that it kept for revision 0.
fn compacts_at_zero(step: &Step) -> bool {
    matches!(step, Step::Compact(compact) if compact.revision == 0)
}

pub(super) struct Generator {
    rng: SmallRng,
    version: ApiVersion,
    steps_done: i64,
}

impl Generator {
    pub(super) fn new(seed: u64, version: ApiVersion) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            version,
            steps_done: 0,
        }
    }

    pub(super) const fn rng(&mut self) -> &mut SmallRng {
        &mut self.rng
    }

    fn step(&mut self) -> Step {
        self.steps_done += 1;
        match self.rng.random_range(0..100) {
            0..26 => Step::Put(self.put()),
            26..32 => self.lease_step(),
            32..55 => Step::Range(self.range()),
            55..63 => Step::Delete(self.delete()),
            63..85 => Step::Txn(self.txn(0)),
            85..88 => Step::Compact(CompactionRequest {
                revision: self.revision(),
                physical: self.rng.random_bool(0.5),
            }),
            88..90 => Step::HashKv {
                revision: self.revision().max(1),
            },
            90..96 => Step::Watch {
                stream: self.rng.random_range(0..STREAMS),
                create: self.watch(),
            },
            96..98 => Step::CancelWatch {
                stream: self.rng.random_range(0..STREAMS),
                id: self.rng.random_range(-1..5),
            },
            _ => Step::Progress {
                stream: self.rng.random_range(0..STREAMS),
            },
        }
    }

    /// True once in `of` times.
    pub(super) fn rarely(&mut self, of: u32) -> bool {
        self.rng.random_ratio(1, of)
    }

    fn one_of(&mut self, choices: &[&'static [u8]]) -> Bytes {
        let at = self.rng.random_range(0..choices.len());
        Bytes::from_static(choices.get(at).copied().unwrap_or_default())
    }

    fn key(&mut self) -> Bytes {
        if self.rarely(60) {
            return Bytes::new();
        }
        self.one_of(&KEYS)
    }

    fn range_end(&mut self) -> Bytes {
        match self.rng.random_range(0..3) {
            0 => Bytes::new(),
            1 => self.one_of(&ENDS),
            _ => self.one_of(&KEYS),
        }
    }

    /// Mostly one that is or was, now and then one that cannot be.
    fn revision(&mut self) -> i64 {
        match self.rng.random_range(0..20) {
            0 => -1,
            1..4 => 0,
            4 => i64::MAX,
            _ => self.rng.random_range(1..=self.steps_done + 3),
        }
    }

    /// Leases that outlive the script: when one expires is not the same on both servers. Zero would
    /// let the server choose.
    fn lease_step(&mut self) -> Step {
        let id = if self.rarely(3) {
            -1
        } else {
            self.rng.random_range(1..3)
        };
        match self.rng.random_range(0..9) {
            0..4 => Step::Grant(LeaseGrantRequest {
                ttl: if self.rarely(9) { i64::MAX } else { 6000 },
                id,
            }),
            4..6 => Step::Revoke(LeaseRevokeRequest { id }),
            6 => Step::TimeToLive(LeaseTimeToLiveRequest {
                id,
                keys: self.rarely(2),
            }),
            7 => Step::KeepAlive { lease: id },
            _ => Step::Leases,
        }
    }

    /// Mostly none.
    fn lease(&mut self) -> i64 {
        if self.rarely(8) {
            self.rng.random_range(-1..3)
        } else {
            0
        }
    }

    pub(super) fn put(&mut self) -> PutRequest {
        let ignore_value = self.rarely(12);
        let value_too = !ignore_value || self.rarely(4);
        PutRequest {
            key: self.key(),
            value: if value_too {
                self.one_of(&VALUES)
            } else {
                Bytes::new()
            },
            lease: self.lease(),
            prev_kv: self.rarely(2),
            ignore_value,
            ignore_lease: self.rarely(12),
        }
    }

    pub(super) fn delete(&mut self) -> DeleteRangeRequest {
        DeleteRangeRequest {
            key: self.key(),
            range_end: self.range_end(),
            prev_kv: self.rarely(2),
        }
    }

    /// Not "from key on": etcd does not see that this meets puts of the same transaction, and shows
    /// watches a previous value from before both, where Cairn shows the one in between.
    fn delete_in_txn(&mut self) -> DeleteRangeRequest {
        let mut delete = self.delete();
        if delete.range_end.as_ref() == b"\0" {
            delete.range_end = Bytes::from_static(b"\xff\xff\xff");
        }
        delete
    }

    pub(super) fn range(&mut self) -> RangeRequest {
        let mut range = RangeRequest {
            key: self.key(),
            range_end: self.range_end(),
            serializable: self.rarely(3),
            keys_only: self.rarely(5),
            count_only: self.rarely(7),
            ..RangeRequest::default()
        };
        if self.rarely(2) {
            range.limit = self.rng.random_range(-1..5);
        }
        if self.rarely(2) {
            range.revision = self.revision();
        }
        if self.rarely(2) {
            range.sort_order = self.rng.random_range(0..3);
            range.sort_target = self.rng.random_range(0..5);
        }
        if self.rarely(40) && self.version >= SORTS_CHECKED {
            range.sort_order = 3;
        }
        if self.rarely(40) && self.version >= SORTS_CHECKED {
            range.sort_target = 5;
        }
        for bound in [
            &mut range.min_mod_revision,
            &mut range.max_mod_revision,
            &mut range.min_create_revision,
            &mut range.max_create_revision,
        ] {
            if self.rarely(8) {
                *bound = self.revision();
            }
        }
        range
    }

    pub(super) fn txn(&mut self, nesting: u32) -> TxnRequest {
        let compares = self.rng.random_range(0..3);
        TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: self.ops(nesting),
            failure: self.ops(nesting),
        }
    }

    fn ops(&mut self, nesting: u32) -> Vec<RequestOp> {
        let count = if self.rarely(150) {
            TOO_MANY_OPS - self.rng.random_range(0..2)
        } else {
            self.rng.random_range(0..4)
        };
        (0..count).map(|_| self.op(nesting)).collect()
    }

    fn op(&mut self, nesting: u32) -> RequestOp {
        let request = match self.rng.random_range(0..40) {
            0..13 => Some(Request::RequestPut(self.put())),
            13..26 => Some(Request::RequestRange(self.range_in_txn())),
            26..33 => Some(Request::RequestDeleteRange(self.delete_in_txn())),
            33..39 if nesting < NESTING_MAX => Some(Request::RequestTxn(self.txn(nesting + 1))),
            39 => None,
            _ => Some(Request::RequestPut(self.put())),
        };
        RequestOp { request }
    }

    /// Ranges at impossible revisions end a whole transaction, so there are few of them. Revision
    /// -1 is not asked for: until the first compaction, etcd takes it for the latest by accident.
    fn range_in_txn(&mut self) -> RangeRequest {
        let mut range = self.range();
        if range.revision == -1 {
            range.revision = -2;
        }
        if !self.rarely(4) {
            range.revision = 0;
        }
        range
    }

    fn compare(&mut self) -> Compare {
        let target = if self.rarely(60) {
            5
        } else {
            self.rng.random_range(0..5)
        };
        let union = if self.rarely(30) {
            self.rng.random_range(0..6)
        } else {
            target
        };
        Compare {
            result: self.rng.random_range(0..4),
            target,
            key: self.key(),
            range_end: if self.rarely(3) {
                self.range_end()
            } else {
                Bytes::new()
            },
            target_union: match union {
                0 => Some(TargetUnion::Version(self.rng.random_range(0..4))),
                1 => Some(TargetUnion::CreateRevision(self.revision())),
                2 => Some(TargetUnion::ModRevision(self.revision())),
                3 => Some(TargetUnion::Value(self.one_of(&VALUES))),
                4 => Some(TargetUnion::Lease(self.rng.random_range(-1..3))),
                _ => None,
            },
        }
    }

    fn watch(&mut self) -> WatchCreateRequest {
        let start = if self.rarely(2) { self.revision() } else { 0 };
        let mut filters = Vec::new();
        for filter in 0..2 {
            if self.rarely(6) {
                filters.push(filter);
            }
        }
        WatchCreateRequest {
            key: self.key(),
            range_end: self.range_end(),
            start_revision: if self.version < STARTS_CHECKED {
                start.max(0)
            } else {
                start
            },
            progress_notify: self.rarely(4),
            filters,
            prev_kv: self.rarely(2),
            // -1 means the whole stream in responses, and no client asks for it.
            watch_id: if self.rarely(4) {
                self.rng.random_range(0..5)
            } else {
                0
            },
            fragment: self.rarely(4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_script() {
        let script = |seed| script(seed, 200, SORTS_CHECKED);
        assert_eq!(script(7), script(7));
        assert_ne!(script(7), script(8));
    }
}
