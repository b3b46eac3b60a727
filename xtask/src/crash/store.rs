//! A server's store as its clients see it: its history, its keys and its hash.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use cairn_proto::etcdserverpb::watch_client::WatchClient;
use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use cairn_proto::etcdserverpb::{
    CompactionRequest, HashKvRequest, RangeRequest, WatchCreateRequest, WatchRequest,
};
use cairn_proto::mvccpb::KeyValue;
use tonic::transport::Channel;

use super::ledger::{Change, Write};
use super::load::txn_request;
use crate::server_process::ServerProcess;

/// The longest wait for the next events of a history.
const EVENTS_MAX: Duration = Duration::from_secs(30);

pub(super) struct Store {
    kv: KvClient<Channel>,
    maintenance: MaintenanceClient<Channel>,
    watch: WatchClient<Channel>,
}

impl Store {
    pub(super) fn of(server: &ServerProcess) -> Result<Self> {
        let channel = server.channel()?;
        Ok(Self {
            kv: KvClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()),
            watch: WatchClient::new(channel),
        })
    }

    /// All keys, and the current revision.
    pub(super) async fn keys(&mut self) -> Result<(Vec<KeyValue>, i64)> {
        let everything = RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            ..RangeRequest::default()
        };
        let response = self.kv.range(everything).await?.into_inner();
        let header = response.header.context("a range without a header")?;
        Ok((response.kvs, header.revision))
    }

    /// The writes of the revisions from `first` to `last`, each with at least one change.
    pub(super) async fn history(&mut self, first: i64, last: i64) -> Result<Vec<Write>> {
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                key: vec![0].into(),
                range_end: vec![0].into(),
                start_revision: first,
                ..WatchCreateRequest::default()
            })),
        };
        let (requests, outgoing) = tokio::sync::mpsc::channel(1);
        requests.send(create).await?;
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
        let mut responses = self.watch.watch(outgoing).await?.into_inner();
        let mut writes: Vec<Write> = Vec::new();
        let mut reached = first - 1;
        while reached < last {
            let next = tokio::time::timeout(EVENTS_MAX, responses.message()).await;
            let response = next
                .with_context(|| format!("no events after revision {reached}, up to {last}"))??
                .context("the server ended the watch")?;
            if response.canceled {
                bail!("the watch from {first} was canceled: {response:?}");
            }
            for event in &response.events {
                let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
                if revision == reached + 1 {
                    writes.push(Vec::new());
                    reached = revision;
                } else if revision != reached || writes.is_empty() {
                    bail!("an event of revision {revision} after revision {reached}");
                }
                if let Some(write) = writes.last_mut() {
                    write.push(Change::from_event(event)?);
                }
            }
        }
        Ok(writes)
    }

    /// Makes a write as a revision of its own.
    pub(super) async fn replay(&mut self, write: &[Change]) -> Result<()> {
        self.kv.txn(txn_request(write)).await?;
        Ok(())
    }

    pub(super) async fn compact(&mut self, revision: i64, physical: bool) -> Result<()> {
        let request = CompactionRequest { revision, physical };
        self.kv.compact(request).await?;
        Ok(())
    }

    /// The hash of the current revision, and that revision.
    pub(super) async fn hash(&mut self) -> Result<(u32, i64)> {
        let request = HashKvRequest { revision: 0 };
        let response = self.maintenance.hash_kv(request).await?.into_inner();
        let header = response.header.context("a hash without a header")?;
        Ok((response.hash, header.revision))
    }
}
