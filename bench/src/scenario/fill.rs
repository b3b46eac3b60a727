//! Filling: writes every key of a key space once, as fast as the server takes it.

use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::{Result, ensure};
use cairn_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op::Request};

use crate::connection::Method;
use crate::framing::frame;
use crate::key_space::{KeySpace, Order, value};
use crate::load::{Call, Limit, LoadPlan, Payload, Workload};
use crate::measurement::Measurement;
use crate::probe;
use crate::progress::Progress;
use crate::scenario::puts;

/// Seed of the value's bytes.
const VALUE_SEED: u64 = 3;
/// Puts in one transaction: etcd takes 128.
const BATCH_MAX: u16 = 128;

/// Writes of all keys in order, several in one transaction.
#[derive(Clone, Debug)]
pub struct Fill {
    /// The keys.
    pub keys: KeySpace,
    /// Bytes of each value.
    pub value_len: usize,
    /// Keys in one request: 1 is a plain put, more are a transaction (one revision), at most 128.
    pub batch: NonZeroU16,
}

impl Fill {
    fn batch(&self) -> u64 {
        u64::from(self.batch.get().min(BATCH_MAX))
    }

    fn requests(&self) -> u64 {
        self.keys.count().div_ceil(self.batch())
    }
}

impl Workload for Fill {
    fn kinds(&self) -> &[&'static str] {
        &["fill"]
    }

    fn client(&self, index: usize) -> Box<dyn FnMut(u64) -> Call> {
        if self.batch() == 1 {
            return puts(self.keys.clone(), Order::Sequential, self.value_len).client(index);
        }
        let (keys, batch) = (self.keys.clone(), self.batch());
        let value = value(self.value_len, VALUE_SEED);
        Box::new(move |ticket| {
            let first = ticket * batch;
            let puts = (first..(first + batch).min(keys.count())).map(|number| RequestOp {
                request: Some(Request::RequestPut(PutRequest {
                    key: keys.key(number).into(),
                    value: value.clone(),
                    ..PutRequest::default()
                })),
            });
            let txn = TxnRequest {
                success: puts.collect(),
                ..TxnRequest::default()
            };
            let payload = Payload::Grpc {
                method: Method::Txn,
                framed: frame(&txn),
            };
            Call { payload, kind: 0 }
        })
    }
}

/// Writes every key unless all are there, and makes sure that they are.
///
/// The limit of `plan` is not used: filling ends when it is done, or at `deadline`.
///
/// # Errors
///
/// If the server refuses, or keys are missing afterwards.
pub fn fill(
    plan: &LoadPlan,
    fill: &Fill,
    deadline: Duration,
    progress: Progress,
) -> Result<Option<Measurement>> {
    let expected = fill.keys.count();
    if probe::count(plan.target.first(), &fill.keys)? == expected {
        return Ok(None);
    }
    let limit = Limit::Count {
        requests: fill.requests(),
        deadline,
    };
    let plan = LoadPlan {
        limit,
        rate: None,
        ..plan.clone()
    };
    let measured = plan.run("fill", fill, progress)?;
    let there = probe::count(plan.target.first(), &fill.keys)?;
    ensure!(
        there == expected,
        "{there} keys of {expected} are there after filling; first error: {:?}",
        measured.first_error
    );
    Ok(Some(measured))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    use super::*;

    fn filling(count: u64, batch: u16) -> Fill {
        let batch = NonZeroU16::new(batch).unwrap();
        Fill {
            keys: KeySpace::new("f/", count, 8),
            value_len: 4,
            batch,
        }
    }

    fn sent(call: Call) -> (Method, Bytes) {
        let Payload::Grpc { method, framed } = call.payload else {
            panic!("not gRPC")
        };
        (method, framed)
    }

    #[test]
    fn batches_cover_every_key_once() {
        let fill = filling(250, 100);
        let mut client = fill.client(0);
        let mut keys = Vec::new();
        for ticket in 0..fill.requests() {
            let (_, framed) = sent(client(ticket));
            let txn = TxnRequest::decode(framed.slice(crate::framing::HEADER_LEN..)).unwrap();
            for op in txn.success {
                let Some(Request::RequestPut(put)) = op.request else {
                    panic!("not a put")
                };
                keys.push(put.key);
            }
        }
        let expected: Vec<_> = (0..250).map(|number| fill.keys.key(number)).collect();
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_batch_of_one_is_a_put_and_batches_end_at_etcds_limit() {
        assert_eq!(sent(filling(10, 1).client(0)(0)).0, Method::Put);
        assert_eq!(filling(1000, 1000).requests(), 8);
    }
}
