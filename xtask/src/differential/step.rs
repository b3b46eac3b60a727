//! One step of a script, how it is shown, and how it can be made simpler.

use cairn_proto::etcdserverpb::request_op::Request;
use cairn_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
};

use super::terse::terse;

/// What a script does next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Put(PutRequest),
    Range(RangeRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    HashKv {
        revision: i64,
    },
    Grant(LeaseGrantRequest),
    Revoke(LeaseRevokeRequest),
    TimeToLive(LeaseTimeToLiveRequest),
    KeepAlive {
        lease: i64,
    },
    Leases,
    Watch {
        stream: usize,
        create: WatchCreateRequest,
    },
    CancelWatch {
        stream: usize,
        id: i64,
    },
    Progress {
        stream: usize,
    },
}

impl Step {
    pub(super) fn show(&self) -> String {
        match self {
            Self::Put(request) => terse(request),
            Self::Range(request) => terse(request),
            Self::Delete(request) => terse(request),
            Self::Txn(request) => terse(request),
            Self::Compact(request) => terse(request),
            Self::HashKv { revision } => format!("HashKvRequest {{ revision: {revision} }}"),
            Self::Grant(request) => terse(request),
            Self::Revoke(request) => terse(request),
            Self::TimeToLive(request) => terse(request),
            Self::KeepAlive { lease } => format!("keep lease {lease} alive"),
            Self::Leases => "list leases".to_owned(),
            Self::Watch { stream, create } => format!("stream {stream}: {}", terse(create)),
            Self::CancelWatch { stream, id } => format!("stream {stream}: cancel watch {id}"),
            Self::Progress { stream } => format!("stream {stream}: request progress"),
        }
    }

    /// Steps like this one with one thing less.
    pub(super) fn simpler(&self) -> Vec<Self> {
        match self {
            Self::Put(request) => simpler_put(request).into_iter().map(Self::Put).collect(),
            Self::Range(request) => simpler_range(request)
                .into_iter()
                .map(Self::Range)
                .collect(),
            Self::Delete(request) => simpler_delete(request)
                .into_iter()
                .map(Self::Delete)
                .collect(),
            Self::Txn(request) => simpler_txn(request).into_iter().map(Self::Txn).collect(),
            Self::Watch { stream, create } => simpler_watch(create)
                .into_iter()
                .map(|create| Self::Watch {
                    stream: *stream,
                    create,
                })
                .collect(),
            Self::Compact(request) if request.physical => {
                vec![Self::Compact(CompactionRequest {
                    physical: false,
                    ..*request
                })]
            }
            Self::Compact(_)
            | Self::Grant(_)
            | Self::Revoke(_)
            | Self::TimeToLive(_)
            | Self::KeepAlive { .. }
            | Self::Leases
            | Self::HashKv { .. }
            | Self::CancelWatch { .. }
            | Self::Progress { .. } => Vec::new(),
        }
    }
}

/// Copies of a request, each with one field back at its default.
macro_rules! without_fields {
    ($request:expr, $($field:ident),+) => {{
        let mut simpler = Vec::new();
        $({
            let mut copy = $request.clone();
            copy.$field = Default::default();
            if copy != *$request {
                simpler.push(copy);
            }
        })+
        simpler
    }};
}

fn simpler_put(request: &PutRequest) -> Vec<PutRequest> {
    without_fields!(request, value, lease, prev_kv, ignore_value, ignore_lease)
}

fn simpler_delete(request: &DeleteRangeRequest) -> Vec<DeleteRangeRequest> {
    without_fields!(request, range_end, prev_kv)
}

fn simpler_range(request: &RangeRequest) -> Vec<RangeRequest> {
    without_fields!(
        request,
        range_end,
        limit,
        revision,
        sort_order,
        sort_target,
        serializable,
        keys_only,
        count_only,
        min_mod_revision,
        max_mod_revision,
        min_create_revision,
        max_create_revision
    )
}

fn simpler_watch(request: &WatchCreateRequest) -> Vec<WatchCreateRequest> {
    without_fields!(
        request,
        range_end,
        start_revision,
        progress_notify,
        filters,
        prev_kv,
        watch_id,
        fragment
    )
}

fn simpler_txn(request: &TxnRequest) -> Vec<TxnRequest> {
    let mut simpler = without_fields!(request, compare, success, failure);
    for at in 0..request.compare.len() {
        let mut copy = request.clone();
        copy.compare.remove(at);
        simpler.push(copy);
    }
    for success in simpler_ops(&request.success) {
        simpler.push(TxnRequest {
            success,
            ..request.clone()
        });
    }
    for failure in simpler_ops(&request.failure) {
        simpler.push(TxnRequest {
            failure,
            ..request.clone()
        });
    }
    simpler
}

fn simpler_ops(ops: &[RequestOp]) -> Vec<Vec<RequestOp>> {
    let mut simpler = Vec::new();
    if ops.len() > 3 {
        let (first, second) = ops.split_at(ops.len() / 2);
        simpler.extend([first.to_vec(), second.to_vec()]);
    }
    for (at, op) in ops.iter().enumerate() {
        let mut fewer = ops.to_vec();
        fewer.remove(at);
        simpler.push(fewer);
        for request in simpler_op(op) {
            let mut copy = ops.to_vec();
            if let Some(place) = copy.get_mut(at) {
                place.request = Some(request);
            }
            simpler.push(copy);
        }
    }
    simpler
}

fn simpler_op(op: &RequestOp) -> Vec<Request> {
    match &op.request {
        Some(Request::RequestPut(put)) => simpler_put(put)
            .into_iter()
            .map(Request::RequestPut)
            .collect(),
        Some(Request::RequestRange(range)) => simpler_range(range)
            .into_iter()
            .map(Request::RequestRange)
            .collect(),
        Some(Request::RequestDeleteRange(delete)) => simpler_delete(delete)
            .into_iter()
            .map(Request::RequestDeleteRange)
            .collect(),
        Some(Request::RequestTxn(txn)) => simpler_txn(txn)
            .into_iter()
            .map(Request::RequestTxn)
            .collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_simpler_step_differs_and_a_bare_one_has_none() {
        let put = PutRequest {
            key: "a".into(),
            value: "1".into(),
            prev_kv: true,
            ..PutRequest::default()
        };
        let txn = Step::Txn(TxnRequest {
            success: vec![RequestOp {
                request: Some(Request::RequestPut(put)),
            }],
            ..TxnRequest::default()
        });
        let simpler = txn.simpler();
        assert_eq!(simpler.len(), 4);
        assert!(simpler.iter().all(|step| *step != txn));
        assert!(Step::Range(RangeRequest::default()).simpler().is_empty());
    }
}
