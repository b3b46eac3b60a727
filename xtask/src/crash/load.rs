//! Clients that write without pause until the server dies.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::request_op::Request;
use cairn_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RequestOp, ResponseHeader, TxnRequest,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Mutex;
use tonic::transport::Channel;

use super::ledger::{Change, Ledger, Write};

/// Keys of one client; nobody else writes them.
const KEYS: u32 = 20;
const VALUE_BYTES_MAX: usize = 600;
/// The longest wait for an answer: the server is dead or stuck then.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A client; it ends with the first request that is not answered.
pub(super) struct Client {
    kv: KvClient<Channel>,
    number: u32,
    rng: SmallRng,
    sent: u64,
}

impl Client {
    pub(super) fn new(channel: Channel, number: u32, seed: u64) -> Self {
        Self {
            kv: KvClient::new(channel),
            number,
            rng: SmallRng::seed_from_u64(seed ^ u64::from(number)),
            sent: seed << 32,
        }
    }

    pub(super) async fn run(mut self, ledger: Arc<Mutex<Ledger>>) -> Result<()> {
        loop {
            let write = self.next_write();
            let answer = tokio::time::timeout(ANSWER_MAX, self.send(&write)).await;
            let mut ledger = ledger.lock().await;
            match answer {
                // A deletion that found nothing makes no revision.
                Ok(Ok(None)) => {}
                Ok(Ok(Some(revision))) => ledger.acknowledge(revision, write)?,
                Ok(Err(_)) | Err(_) => {
                    ledger.leave_open(write);
                    return Ok(());
                }
            }
        }
    }

    fn next_write(&mut self) -> Write {
        match self.rng.random_range(0..10) {
            0 => vec![Change::Delete { key: self.key(0) }],
            1 => vec![self.put(0), self.put(1)],
            _ => vec![self.put(0)],
        }
    }

    /// A key of the client's own; those of different halves differ.
    fn key(&mut self, half: u32) -> Bytes {
        let key = self.rng.random_range(0..KEYS / 2) + half * KEYS / 2;
        format!("client-{}/{key:02}", self.number).into()
    }

    /// A put with a value that was never used before.
    fn put(&mut self, half: u32) -> Change {
        self.sent += 1;
        let mut value = format!("{}-{}-", self.number, self.sent).into_bytes();
        let len = self.rng.random_range(0..VALUE_BYTES_MAX).max(value.len());
        value.resize(len, b'.');
        Change::Put {
            key: self.key(half),
            value: value.into(),
        }
    }

    /// Sends a write; the answer is its revision, if it made one.
    async fn send(&mut self, write: &Write) -> Result<Option<i64>, tonic::Status> {
        let revision = |header: Option<ResponseHeader>| header.map(|header| header.revision);
        match write.as_slice() {
            [Change::Put { key, value }] => {
                let put = put_request(key, value);
                Ok(revision(self.kv.put(put).await?.into_inner().header))
            }
            [Change::Delete { key }] => {
                let response = self
                    .kv
                    .delete_range(delete_request(key))
                    .await?
                    .into_inner();
                Ok(revision(response.header).filter(|_| response.deleted > 0))
            }
            changes => {
                let response = self.kv.txn(txn_request(changes)).await?.into_inner();
                Ok(revision(response.header))
            }
        }
    }
}

/// All changes of a write, as one transaction.
pub(super) fn txn_request(changes: &[Change]) -> TxnRequest {
    let op = |change: &Change| RequestOp {
        request: Some(match change {
            Change::Put { key, value } => Request::RequestPut(put_request(key, value)),
            Change::Delete { key } => Request::RequestDeleteRange(delete_request(key)),
        }),
    };
    TxnRequest {
        success: changes.iter().map(op).collect(),
        ..TxnRequest::default()
    }
}

fn put_request(key: &Bytes, value: &Bytes) -> PutRequest {
    PutRequest {
        key: key.clone(),
        value: value.clone(),
        ..PutRequest::default()
    }
}

fn delete_request(key: &Bytes) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: key.clone(),
        ..DeleteRangeRequest::default()
    }
}
