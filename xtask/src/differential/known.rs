//! Where etcd itself changed between its releases; Cairn answers as 3.7 does.
//!
//! Each entry says from which release on there is no difference any more. It is applied to both
//! servers' answers, and only if the real one is older.

use cairn_proto::etcdserverpb::response_op::Response;
use cairn_proto::etcdserverpb::{RangeResponse, TxnResponse};

use super::answer::Answer;
use super::step::Step;
use crate::server_process::ApiVersion;

/// A difference between releases of etcd.
struct Known {
    /// The first release that answers as Cairn does.
    since: ApiVersion,
    forget: fn(&Step, &mut Answer),
}

const fn version(minor: u32) -> ApiVersion {
    ApiVersion { major: 3, minor }
}

/// No release answers as Cairn does.
const NEVER: ApiVersion = version(u32::MAX);

/// What checks of a transaction's operations say.
const CHECKS: [&str; 4] = [
    "key not found",
    "lease not found",
    "future revision",
    "has been compacted",
];

const KNOWN: [Known; 5] = [
    // Progress requests are answered since 3.5.8 (3.4.25) only if there are watches and all of
    // them are synchronized and begun; before, always.
    Known {
        since: version(5),
        forget: |_, answer| {
            if let Answer::Progress(_) = answer {
                *answer = Answer::Progress(None);
            }
        },
    },
    // etcd since 3.6 answers with the hash that it took at a compaction, even after later ones; it
    // covers what that compaction removed. Before, the compacted revision had no hash at all.
    Known {
        since: NEVER,
        forget: |step, answer| {
            if matches!(step, Step::HashKv { revision: 1.. }) && !is_future(answer) {
                *answer = Answer::Nothing;
            }
        },
    },
    // 3.4 checks all puts of a transaction before its ranges, 3.7 each operation in turn; so of two
    // reasons to refuse a transaction another one is told.
    Known {
        since: version(7),
        forget: |step, answer| {
            if let (Step::Txn(_), Answer::Failed { code, message }) = (step, answer)
                && CHECKS.iter().any(|check| message.contains(check))
            {
                *code = tonic::Code::Unknown;
                *message = "a check failed".to_owned();
            }
        },
    },
    // 3.7 answers a range of keys alone from its index, which knows no leases.
    Known {
        since: version(7),
        forget: |_, answer| match answer {
            Answer::Range(response) => forget_leases(response),
            Answer::Txn(response) => forget_nested_leases(response),
            _ => {}
        },
    },
    // HashKV says since 3.6 which revision it hashed.
    Known {
        since: version(6),
        forget: |_, answer| {
            if let Answer::HashKv(response) = answer {
                response.hash_revision = 0;
            }
        },
    },
];

/// Of pairs without a value, as a range of keys alone has them.
fn forget_leases(response: &mut RangeResponse) {
    for kv in response.kvs.iter_mut().filter(|kv| kv.value.is_empty()) {
        kv.lease = 0;
    }
}

fn forget_nested_leases(response: &mut TxnResponse) {
    for operation in &mut response.responses {
        match &mut operation.response {
            Some(Response::ResponseRange(range)) => forget_leases(range),
            Some(Response::ResponseTxn(txn)) => forget_nested_leases(txn),
            _ => {}
        }
    }
}

/// Makes an answer equal where only releases of etcd differ.
pub(super) fn forget(real: ApiVersion, step: &Step, answer: &mut Answer) {
    for known in KNOWN.iter().filter(|known| real < known.since) {
        (known.forget)(step, answer);
    }
}

fn is_future(answer: &Answer) -> bool {
    matches!(answer, Answer::Failed { message, .. } if message.contains("future"))
}
