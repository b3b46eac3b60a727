//! Short ways to write requests, and what tests look at in answers.

use cairn_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
    response_op::Response,
};
use cairn_proto::mvccpb::KeyValue;
use tonic::{Code, Status};

use crate::plain_words::assert_plain;

pub(crate) const COMPACTED: (Code, &str) = (
    Code::OutOfRange,
    "etcdserver: mvcc: required revision has been compacted",
);
pub(crate) const FUTURE: (Code, &str) = (
    Code::OutOfRange,
    "etcdserver: mvcc: required revision is a future revision",
);
pub(crate) const EMPTY_KEY: (Code, &str) =
    (Code::InvalidArgument, "etcdserver: key is not provided");
pub(crate) const DUPLICATE_KEY: (Code, &str) = (
    Code::InvalidArgument,
    "etcdserver: duplicate key given in txn request",
);
pub(crate) const NO_SPACE: (Code, &str) = (
    Code::ResourceExhausted,
    "etcdserver: mvcc: database space exceeded",
);

pub(crate) fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    }
}

/// Reads one key, or `key..end`.
pub(crate) fn range(key: &str, end: &str) -> RangeRequest {
    RangeRequest {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        ..RangeRequest::default()
    }
}

/// Reads everything.
pub(crate) fn all() -> RangeRequest {
    range("\0", "\0")
}

pub(crate) fn delete(key: &str, end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        prev_kv: false,
    }
}

pub(crate) fn op(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

pub(crate) fn put_op(key: &str, value: &str) -> RequestOp {
    op(Request::RequestPut(put(key, value)))
}

pub(crate) fn range_op(key: &str, end: &str) -> RequestOp {
    op(Request::RequestRange(range(key, end)))
}

pub(crate) fn delete_op(key: &str, end: &str) -> RequestOp {
    op(Request::RequestDeleteRange(delete(key, end)))
}

pub(crate) fn txn_op(txn: TxnRequest) -> RequestOp {
    op(Request::RequestTxn(txn))
}

/// A transaction without conditions.
pub(crate) fn then(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest {
        success,
        ..TxnRequest::default()
    }
}

pub(crate) fn compare(key: &str, result: CompareResult, operand: TargetUnion) -> Compare {
    let target = match operand {
        TargetUnion::Version(_) => CompareTarget::Version,
        TargetUnion::CreateRevision(_) => CompareTarget::Create,
        TargetUnion::ModRevision(_) => CompareTarget::Mod,
        TargetUnion::Value(_) => CompareTarget::Value,
        TargetUnion::Lease(_) => CompareTarget::Lease,
    };
    Compare {
        result: result.into(),
        target: target.into(),
        key: key.to_owned().into(),
        target_union: Some(operand),
        ..Compare::default()
    }
}

/// What a client is told of an error, which is plain words.
#[track_caller]
pub(crate) fn error(status: &Status) -> (Code, &str) {
    assert_plain(status.message());
    (status.code(), status.message())
}

/// Asserts that an answer is an error of this code and text.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(
    answer: Result<tonic::Response<T>, Status>,
    expected: (Code, &str),
    case: &str,
) {
    match answer {
        Ok(answer) => panic!("{case}: answered {:?}", answer.into_inner()),
        Err(status) => assert_eq!(error(&status), expected, "{case}"),
    }
}

/// Keys as text, in order.
pub(crate) fn keys(kvs: &[KeyValue]) -> Vec<String> {
    let text = |kv: &KeyValue| String::from_utf8_lossy(&kv.key).into_owned();
    kvs.iter().map(text).collect()
}

/// `key=value` of each key, in order.
pub(crate) fn pairs(kvs: &[KeyValue]) -> Vec<String> {
    let text = |kv: &KeyValue| {
        let (key, value) = (
            String::from_utf8_lossy(&kv.key),
            String::from_utf8_lossy(&kv.value),
        );
        format!("{key}={value}")
    };
    kvs.iter().map(text).collect()
}

/// A transaction's answers, short: what a reader of a failed test wants to see.
pub(crate) fn told(responses: &[ResponseOp]) -> Vec<String> {
    let text = |response: &ResponseOp| match response.response.as_ref().unwrap() {
        Response::ResponseRange(range) => {
            format!("range {} of {}", pairs(&range.kvs).join(" "), range.count)
        }
        Response::ResponsePut(put) => match &put.prev_kv {
            Some(previous) => format!(
                "put over {}",
                pairs(std::slice::from_ref(previous)).join("")
            ),
            None => "put".to_owned(),
        },
        Response::ResponseDeleteRange(delete) => format!("deleted {}", delete.deleted),
        Response::ResponseTxn(txn) => {
            format!(
                "txn {} [{}]",
                txn.succeeded,
                told(&txn.responses).join(", ")
            )
        }
    };
    responses.iter().map(text).collect()
}
