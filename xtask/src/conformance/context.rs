//! What a rule has: a server, clients of it, and keys of its own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::auth_client::AuthClient;
use cairn_proto::etcdserverpb::cluster_client::ClusterClient;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::lease_client::LeaseClient;
use cairn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use cairn_proto::etcdserverpb::watch_client::WatchClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::page;
use crate::server_process::{ApiVersion, ServerCommand, ServerProcess};

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    Etcd,
    Cairn,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Etcd => "etcd",
            Self::Cairn => "cairn",
        })
    }
}

/// A rule's surroundings. Clones have other keys.
pub(super) struct Context {
    pub(super) channel: Channel,
    /// The host and port that it listens at.
    pub(super) authority: String,
    pub(super) version: ApiVersion,
    /// How to start more of them.
    pub(super) command: Option<ServerCommand>,
    home: PathBuf,
    product: Product,
    number: u32,
    next: Arc<AtomicU32>,
}

impl Context {
    pub(super) async fn of_endpoint(url: &str) -> Result<Self> {
        Self::new(url, None, PathBuf::new()).await
    }

    pub(super) async fn of_server(
        command: &ServerCommand,
        server: &ServerProcess,
        home: &Path,
    ) -> Result<Self> {
        Self::new(&server.url(), Some(command.clone()), home.to_path_buf()).await
    }

    async fn new(url: &str, command: Option<ServerCommand>, home: PathBuf) -> Result<Self> {
        let authority = url
            .strip_prefix("http://")
            .with_context(|| format!("{url} is no plain URL"))?
            .trim_end_matches('/');
        let channel = Endpoint::from_shared(url.to_owned())?.connect().await?;
        let status = MaintenanceClient::new(channel.clone())
            .status(pb::StatusRequest {})
            .await?
            .into_inner();
        let mut numbers = status.version.split('.').map(str::parse);
        let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
            bail!("{:?} is no version", status.version);
        };
        let facts = page::get(authority, "/debug/vars").await?;
        let product = if facts.body.contains("cairn_version") {
            Product::Cairn
        } else {
            Product::Etcd
        };
        Ok(Self {
            channel,
            authority: authority.to_owned(),
            version: ApiVersion { major, minor },
            command,
            home,
            product,
            number: 0,
            next: Arc::new(AtomicU32::new(1)),
        })
    }

    /// The same server, with keys and a folder that no other rule has.
    pub(super) fn for_rule(&self) -> Self {
        Self {
            channel: self.channel.clone(),
            authority: self.authority.clone(),
            version: self.version,
            command: self.command.clone(),
            home: self.home.clone(),
            product: self.product,
            number: self.next.fetch_add(1, Ordering::Relaxed),
            next: Arc::clone(&self.next),
        }
    }

    pub(super) const fn product(&self) -> Product {
        self.product
    }

    /// The server's command line, for rules of processes.
    pub(super) fn server(&self) -> Result<ServerCommand> {
        self.command.clone().context("no server to start")
    }

    /// A folder that no other rule has.
    pub(super) fn folder(&self) -> PathBuf {
        self.home.join(self.number.to_string())
    }

    /// A server of the rule's own, on a fresh folder.
    pub(super) async fn fresh(&self, flags: &[&str]) -> Result<(ServerProcess, Self)> {
        let mut command = self.server()?;
        for flag in flags {
            command = command.flag(*flag);
        }
        let server = command.start(&self.folder()).await?;
        let fresh = Self::of_server(&command, &server, &self.folder()).await?;
        Ok((server, fresh))
    }

    /// A key of this rule's.
    pub(super) fn key(&self, name: &str) -> Vec<u8> {
        format!("conformance/{}/{name}", self.number).into_bytes()
    }

    /// A number that no other rule has.
    pub(super) fn id(&self, number: i64) -> i64 {
        0x0c0f_0000_0000 + i64::from(self.number) * 100 + number
    }

    pub(super) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(super) fn watches(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(super) fn leases(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    pub(super) fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    pub(super) fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(super) fn auth(&self) -> AuthClient<Channel> {
        AuthClient::new(self.channel.clone())
    }

    pub(super) async fn ask_put(&self, put: pb::PutRequest) -> Result<pb::PutResponse, Status> {
        Ok(self.kv().put(put).await?.into_inner())
    }

    pub(super) async fn ask_range(
        &self,
        range: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Status> {
        Ok(self.kv().range(range).await?.into_inner())
    }

    pub(super) async fn ask_txn(&self, txn: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        Ok(self.kv().txn(txn).await?.into_inner())
    }

    pub(super) async fn ask_delete(
        &self,
        delete: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Status> {
        Ok(self.kv().delete_range(delete).await?.into_inner())
    }

    /// Puts, and says at which revision.
    pub(super) async fn put(&self, name: &str, value: &str) -> Result<i64> {
        let put = pb::PutRequest {
            key: self.key(name).into(),
            value: value.to_owned().into(),
            ..pb::PutRequest::default()
        };
        revision(self.ask_put(put).await?.header.as_ref())
    }

    /// Deletes, and says at which revision.
    pub(super) async fn delete(&self, name: &str) -> Result<i64> {
        let delete = pb::DeleteRangeRequest {
            key: self.key(name).into(),
            ..pb::DeleteRangeRequest::default()
        };
        revision(self.ask_delete(delete).await?.header.as_ref())
    }

    /// A range of one key, to be changed and asked.
    pub(super) fn one(&self, name: &str) -> pb::RangeRequest {
        pb::RangeRequest {
            key: self.key(name).into(),
            ..pb::RangeRequest::default()
        }
    }

    /// A range of all keys of the rule.
    pub(super) fn all(&self) -> pb::RangeRequest {
        let mut end = self.key("");
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        pb::RangeRequest {
            key: self.key("").into(),
            range_end: end.into(),
            ..pb::RangeRequest::default()
        }
    }

    /// The pair of a key, if it is there.
    pub(super) async fn get(&self, name: &str) -> Result<Option<cairn_proto::mvccpb::KeyValue>> {
        let answer = self.ask_range(self.one(name)).await?;
        Ok(answer.kvs.into_iter().next())
    }

    /// The names of pairs, without what is in front of them.
    pub(super) fn names(&self, kvs: &[cairn_proto::mvccpb::KeyValue]) -> Vec<String> {
        let front = self.key("").len();
        let name = |kv: &cairn_proto::mvccpb::KeyValue| {
            String::from_utf8_lossy(kv.key.get(front..).unwrap_or_default()).into_owned()
        };
        kvs.iter().map(name).collect()
    }

    pub(super) async fn current(&self) -> Result<i64> {
        revision(self.ask_range(self.one("none")).await?.header.as_ref())
    }

    pub(super) async fn compact(&self, revision: i64) -> Result<(), Status> {
        let compact = pb::CompactionRequest {
            revision,
            physical: true,
        };
        self.kv().compact(compact).await.map(drop)
    }

    pub(super) async fn status(&self) -> Result<pb::StatusResponse> {
        Ok(self
            .maintenance()
            .status(pb::StatusRequest {})
            .await?
            .into_inner())
    }
}

/// The revision in a header.
pub(super) fn revision(header: Option<&pb::ResponseHeader>) -> Result<i64> {
    Ok(header.context("an answer without a header")?.revision)
}
