//! How much room a request needs, and whether there is any.
//!
//! The costs are etcd's estimates. What they are held against is ours: the bytes that the database
//! uses, not the length of its file, so that deleting and compacting make room without a
//! defragmentation, and the space alarm can end by itself.

use cairn_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op};

use std::num::NonZeroU64;

/// What a stored key costs beside its key and value.
const KEY_OVERHEAD_BYTES: u64 = 256;
/// What a lease costs.
pub const LEASE_BYTES: u64 = 64;

/// What a put needs.
pub fn cost_of_put(put: &PutRequest) -> u64 {
    KEY_OVERHEAD_BYTES + put.key.len() as u64 + put.value.len() as u64
}

/// What a transaction needs: the dearer of its branches, nested ones included.
pub fn cost_of_txn(txn: &TxnRequest) -> u64 {
    cost_of_branch(&txn.success).max(cost_of_branch(&txn.failure))
}

fn cost_of_branch(operations: &[RequestOp]) -> u64 {
    operations
        .iter()
        .map(|operation| match &operation.request {
            Some(request_op::Request::RequestPut(put)) => cost_of_put(put),
            Some(request_op::Request::RequestTxn(txn)) => cost_of_txn(txn),
            _ => 0,
        })
        .sum()
}

/// How large the database may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// At this size the NOSPACE alarm is raised.
    Bytes(NonZeroU64),
    /// As large as the disk.
    Unlimited,
}

impl Quota {
    /// The limit in bytes, if there is one.
    #[must_use]
    pub fn bytes_max(self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.get()),
            Self::Unlimited => None,
        }
    }

    /// Whether a database that uses `used` bytes has room for `cost` more.
    #[must_use]
    pub fn has_room(self, used: u64, cost: u64) -> bool {
        self.bytes_max()
            .is_none_or(|bytes_max| used.saturating_add(cost) < bytes_max)
    }

    /// Whether an alarm may end: a tenth of the quota is free, so that it does not come back with the
    /// next put.
    #[must_use]
    pub fn has_recovered(self, used: u64) -> bool {
        self.bytes_max()
            .is_none_or(|bytes_max| used <= bytes_max / 10 * 9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn put(value: usize) -> RequestOp {
        let put = PutRequest {
            key: Bytes::from_static(b"key"),
            value: vec![0; value].into(),
            ..Default::default()
        };
        RequestOp {
            request: Some(request_op::Request::RequestPut(put)),
        }
    }

    #[test]
    fn a_txn_costs_its_dearer_branch_with_nested_puts() {
        let nested = TxnRequest {
            success: vec![put(10), put(20)],
            ..Default::default()
        };
        let nested = RequestOp {
            request: Some(request_op::Request::RequestTxn(nested)),
        };
        let txn = TxnRequest {
            success: vec![put(1)],
            failure: vec![nested],
            ..Default::default()
        };
        assert_eq!(cost_of_txn(&txn), 2 * (256 + 3) + 30);
        assert_eq!(cost_of_txn(&TxnRequest::default()), 0);
    }

    #[test]
    fn an_alarm_ends_later_than_it_begins() {
        let quota = Quota::Bytes(NonZeroU64::new(1000).unwrap());
        assert!(quota.has_room(899, 100) && !quota.has_room(900, 100));
        assert!(quota.has_recovered(900) && !quota.has_recovered(901));
        assert!(Quota::Unlimited.has_room(u64::MAX, 1));
    }
}
