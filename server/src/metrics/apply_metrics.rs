//! Counting what applied entries did, from their answers.

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::stored::TxnResponse;
use cairn_proto::stored::response_op::Response;

use super::{Metrics, Outcomes};
use cairn_replica::apply::{Applied, LeaseChanges, Outcome};

/// The apply thread's counters.
pub(crate) struct ApplyMetrics {
    metrics: Arc<Metrics>,
    /// A batch that takes longer is told in the log.
    slow: Duration,
    puts: Outcomes,
    deletes: Outcomes,
    txns: Outcomes,
    compactions: Outcomes,
}

/// What a batch of entries held.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    puts: u64,
    deletes: u64,
    ranges: u64,
    /// Transactions of more than one operation, which are the ones that etcd counts.
    txns: u64,
}

impl ApplyMetrics {
    /// Counts into `metrics`; batches that take longer than `slow` are logged.
    ///
    /// # Errors
    ///
    /// Never for the names given here.
    pub(crate) fn new(metrics: Arc<Metrics>, slow: Duration) -> prometheus::Result<Self> {
        Ok(Self {
            slow,
            puts: metrics.apply_duration("Put")?,
            deletes: metrics.apply_duration("DeleteRange")?,
            txns: metrics.apply_duration("Txn")?,
            compactions: metrics.apply_duration("Compaction")?,
            metrics,
        })
    }

    /// Counts a batch. Each of its entries is given an equal part of the time that it took.
    pub(crate) fn count(&self, applied: &Applied, took: Duration) {
        let entries = u32::try_from(applied.replies.len()).unwrap_or(u32::MAX);
        let each = took / entries.max(1);
        let mut tally = Tally::default();
        for (_, reply) in &applied.replies {
            match reply {
                Ok(Outcome::Put(_)) => {
                    tally.puts += 1;
                    self.puts.observe(each, true);
                }
                Ok(Outcome::DeleteRange(_)) => {
                    tally.deletes += 1;
                    self.deletes.observe(each, true);
                }
                Ok(Outcome::Txn(response)) => {
                    tally.add_txn(response);
                    self.txns.observe(each, true);
                }
                Ok(Outcome::Compaction(_)) => self.compactions.observe(each, true),
                Ok(
                    Outcome::V2(_)
                    | Outcome::LeaseGrant(_)
                    | Outcome::LeaseRevoke(_)
                    | Outcome::Alarm(_)
                    | Outcome::Members(_)
                    | Outcome::Auth(_)
                    | Outcome::Done,
                )
                | Err(_) => {}
            }
        }
        let metrics = &self.metrics;
        metrics.mvcc_put_total.inc_by(tally.puts);
        metrics.mvcc_delete_total.inc_by(tally.deletes);
        metrics.mvcc_range_total.inc_by(tally.ranges);
        metrics.mvcc_txn_total.inc_by(tally.txns);
        self.count_leases(&applied.leases);
        let put_bytes: usize = applied.changes.iter().map(|change| change.kv.len()).sum();
        metrics
            .debugging_mvcc_total_put_size_in_bytes
            .add(i64::try_from(put_bytes).unwrap_or(i64::MAX));
        if took > self.slow {
            metrics.server_slow_apply_total.inc();
            tracing::warn!(
                took = ?took,
                expected_duration = ?self.slow,
                entries,
                "apply request took too long"
            );
        }
    }
}

impl ApplyMetrics {
    /// Notes whether a received database is being installed.
    pub(crate) fn installing(&self, is_under_way: bool) {
        self.metrics
            .server_snapshot_apply_in_progress_total
            .set(is_under_way.into());
    }

    fn count_leases(&self, leases: &LeaseChanges) {
        let metrics = &self.metrics;
        for ttl in &leases.granted {
            let secs = ttl.duration().as_secs_f64();
            metrics.debugging_lease_ttl_total.observe(secs);
        }
        let granted = leases.granted.len() as u64;
        metrics.debugging_lease_granted_total.inc_by(granted);
        metrics.debugging_lease_revoked_total.inc_by(leases.revoked);
        let expired = &metrics.debugging_server_lease_expired_total;
        expired.inc_by(leases.expired);
    }
}

impl Tally {
    fn add_txn(&mut self, response: &TxnResponse) {
        let before = self.operations();
        self.add_level(response);
        if self.operations() > before + 1 {
            self.txns += 1;
        }
    }

    fn add_level(&mut self, response: &TxnResponse) {
        for operation in &response.responses {
            match &operation.response {
                Some(Response::ResponsePut(_)) => self.puts += 1,
                Some(Response::ResponseDeleteRange(_)) => self.deletes += 1,
                Some(Response::ResponseRange(_)) => self.ranges += 1,
                Some(Response::ResponseTxn(nested)) => self.add_level(nested),
                None => {}
            }
        }
    }

    const fn operations(&self) -> u64 {
        self.puts + self.deletes + self.ranges
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::stored::{PutResponse, RangeResponse, ResponseOp};

    use super::*;

    fn txn(responses: Vec<Response>) -> TxnResponse {
        let responses = responses.into_iter().map(|response| ResponseOp {
            response: Some(response),
        });
        TxnResponse {
            responses: responses.collect(),
            ..TxnResponse::default()
        }
    }

    #[test]
    fn a_transaction_of_one_operation_counts_as_that_alone() {
        let put = || Response::ResponsePut(PutResponse::default());
        let range = || Response::ResponseRange(RangeResponse::default());
        let mut tally = Tally::default();
        tally.add_txn(&txn(vec![]));
        tally.add_txn(&txn(vec![put()]));
        tally.add_txn(&txn(vec![Response::ResponseTxn(txn(vec![range()]))]));
        assert_eq!(tally.txns, 0);
        tally.add_txn(&txn(vec![put(), Response::ResponseTxn(txn(vec![range()]))]));
        let expected = Tally {
            puts: 2,
            ranges: 2,
            deletes: 0,
            txns: 1,
        };
        assert_eq!(tally, expected);
    }
}
