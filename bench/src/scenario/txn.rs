//! Transactions: compare a key's mod revision, then put it or, if it does not hold, read it.
//!
//! The comparison asks whether the key was ever written, which holds for every key that exists:
//! the server's work is that of any optimistic update, and no client needs to remember revisions.

use bytes::Bytes;
use cairn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use cairn_proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request,
};

use crate::connection::Method;
use crate::key_space::{KeySpace, Order, value};
use crate::scenario::Keyed;

/// Seed of the value's bytes.
const VALUE_SEED: u64 = 2;

/// Transactions of one comparison and one put of `value_len` bytes.
#[must_use]
pub fn txns(keys: KeySpace, order: Order, value_len: usize) -> Keyed {
    let key = Bytes::from(keys.placeholder());
    let put = PutRequest {
        key: key.clone(),
        value: value(value_len, VALUE_SEED),
        ..PutRequest::default()
    };
    let get = RangeRequest {
        key: key.clone(),
        ..RangeRequest::default()
    };
    let request = TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Greater.into(),
            target: CompareTarget::Mod.into(),
            key,
            target_union: Some(TargetUnion::ModRevision(0)),
            ..Compare::default()
        }],
        success: vec![RequestOp {
            request: Some(Request::RequestPut(put)),
        }],
        failure: vec![RequestOp {
            request: Some(Request::RequestRange(get)),
        }],
    };
    Keyed::new("txn", Method::Txn, keys, order, &request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stands_in_compare_put_and_range() {
        let txns = txns(KeySpace::new("t/", 10, 16), Order::Sequential, 64);
        assert_eq!(txns.places(), 3);
    }
}
