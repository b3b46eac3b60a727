//! The load through this workspace's client, which chooses members and tries again itself; and caches,
//! one for each member, whose snapshots are reads of what they claim to be.
//!
//! What the client says of a failure is taken at its word: an error that is not ambiguous is a refusal,
//! and the history is bad if the write was done all the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use cairn_client::{Cache, Client, ConnectOptions, Error, Keys};
use cairn_history::{
    Answer, ClientId, KeyRange, LeaseId, MemberId, Outcome, RangeRequest, RangeResponse, Refusal,
    Request, Response, Revision, TxnResponse,
};
use cairn_proto::{etcdserverpb as pb, mvccpb, v3lockpb};
use tokio::task::JoinSet;

use super::endpoints::Endpoints;
use super::recorder::Recorder;

/// How long a call may take, with all that is tried for it.
const CALL_MAX: Duration = Duration::from_secs(3);
const CONNECT_MAX: Duration = Duration::from_millis(500);
/// How often the list of members is looked at, and each cache.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Numbers of those who read caches, beyond any other client's.
const CACHE_READER: u32 = 3000;
/// Which member answers, nobody knows: each operation has one of its own, which has no other.
const MEMBER_FIRST: u64 = 1 << 32;

/// The client, and whom it stands for in a history; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Ours {
    client: Client,
    members: Arc<AtomicU64>,
}

impl Ours {
    /// A client of whoever has an endpoint.
    pub(crate) fn new(endpoints: &Endpoints) -> Result<Self> {
        let options = ConnectOptions::new(endpoints.urls())?
            .request_timeout(CALL_MAX)
            .connect_timeout(CONNECT_MAX);
        Ok(Self {
            client: options.connect_lazy(),
            members: Arc::new(AtomicU64::new(MEMBER_FIRST)),
        })
    }

    /// A member that no other operation names.
    pub(crate) fn some_member(&self) -> MemberId {
        MemberId(self.members.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends a request; returns what became of it.
    pub(crate) async fn call(&self, request: &Request, recorder: &Recorder) -> Outcome {
        let sent = self.send(request).await;
        let at = recorder.now();
        match sent {
            Ok((header, body)) => Outcome::Ok(Answer::with_header(at, header.as_ref(), body)),
            Err(Error::Server(error)) => {
                let known = Outcome::from_error(at, request, error.code.number(), &error.message);
                match known {
                    // A lock is several requests, of which others may have been done.
                    Outcome::Unknown { .. } if !matches!(request, Request::Lock { .. }) => {
                        let why = Refusal::Other(error.message);
                        Outcome::Refused { at, why }
                    }
                    known => known,
                }
            }
            Err(error @ Error::Unavailable { .. }) => Outcome::Refused {
                at,
                why: Refusal::Other(error.to_string()),
            },
            Err(error) => Outcome::Unknown {
                at: Some(at),
                error: error.to_string(),
            },
        }
    }

    async fn send(
        &self,
        request: &Request,
    ) -> Result<(Option<pb::ResponseHeader>, Response), Error> {
        let client = &self.client;
        match request {
            Request::Range(range) => {
                let got = client.call(pb::RangeRequest::from(range)).await?;
                Ok((got.header, Response::Range(RangeResponse::from(&got))))
            }
            Request::Put(put) => {
                let got = client.call(pb::PutRequest::from(put)).await?;
                let body = Response::from(&got);
                Ok((got.header, body))
            }
            Request::DeleteRange(delete) => {
                let got = client.call(pb::DeleteRangeRequest::from(delete)).await?;
                let body = Response::DeleteRange((&got).into());
                Ok((got.header, body))
            }
            Request::Txn(txn) => {
                let got = client.call(pb::TxnRequest::from(txn)).await?;
                let body = Response::Txn(TxnResponse::from(&got));
                Ok((got.header, body))
            }
            Request::Compact(revision) => {
                let compact = pb::CompactionRequest {
                    revision: revision.0,
                    physical: false,
                };
                Ok((client.call(compact).await?.header, Response::Done))
            }
            other => self.send_lease(other).await,
        }
    }

    async fn send_lease(
        &self,
        request: &Request,
    ) -> Result<(Option<pb::ResponseHeader>, Response), Error> {
        let client = &self.client;
        match request {
            Request::LeaseGrant { id, ttl_secs } => {
                let grant = pb::LeaseGrantRequest {
                    ttl: *ttl_secs,
                    id: id.unwrap_or_default().0,
                };
                let got = client.call(grant).await?;
                let body = Response::LeaseGrant {
                    id: LeaseId(got.id),
                    ttl_secs: got.ttl,
                };
                Ok((got.header, body))
            }
            Request::LeaseRevoke(id) => {
                let got = client.call(pb::LeaseRevokeRequest { id: id.0 }).await?;
                Ok((got.header, Response::Done))
            }
            Request::LeaseKeepAlive(id) => {
                let lease = cairn_client::LeaseId::new(id.0).ok_or_else(not_ours)?;
                let left = client.leases().keep_alive_once(lease).await?;
                let secs = left.map_or(0, |left| i64::try_from(left.as_secs()).unwrap_or(i64::MAX));
                Ok((None, Response::LeaseKeepAlive(secs)))
            }
            Request::LeaseTimeToLive { id, keys } => {
                let ask = pb::LeaseTimeToLiveRequest {
                    id: id.0,
                    keys: *keys,
                };
                let got = client.call(ask).await?;
                let body = Response::LeaseTimeToLive {
                    ttl_secs: got.ttl,
                    granted_secs: got.granted_ttl,
                    keys: got.keys.into_iter().map(Into::into).collect(),
                };
                Ok((got.header, body))
            }
            Request::Lock { name, lease } => {
                let lock = v3lockpb::LockRequest {
                    name: name.clone().into(),
                    lease: lease.0,
                };
                let got = client.call(lock).await?;
                Ok((got.header, Response::Lock(got.key.into())))
            }
            Request::Unlock(key) => {
                let key = key.clone().into();
                let got = client.call(v3lockpb::UnlockRequest { key }).await?;
                Ok((got.header, Response::Done))
            }
            _ => Err(not_ours()),
        }
    }

    /// Calls whoever has an endpoint, and keeps a cache on each, until it is aborted.
    pub(crate) async fn follow(self, endpoints: Endpoints, recorder: Recorder) {
        let mut caches: BTreeMap<String, u32> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let mut known = Vec::new();
        loop {
            let urls = endpoints.urls();
            if urls != known && self.client.set_endpoints(&urls).is_ok() {
                known.clone_from(&urls);
            }
            for url in urls {
                let number = CACHE_READER + u32::try_from(caches.len()).unwrap_or(u32::MAX / 2);
                if caches.contains_key(&url) {
                    continue;
                }
                caches.insert(url.clone(), number);
                tasks.spawn(
                    self.clone()
                        .keep_cache(url, ClientId(number), recorder.clone()),
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Keeps a cache on one member, and notes what it claims to be, for ever.
    async fn keep_cache(self, url: String, reader: ClientId, recorder: Recorder) {
        let Ok(options) = ConnectOptions::new([&url]) else {
            return;
        };
        let options = options.connect_timeout(CONNECT_MAX);
        let client = options.request_timeout(CALL_MAX).connect_lazy();
        let cache = loop {
            match client.cache(Keys::all()).await {
                Ok(cache) => break cache,
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        };
        loop {
            for is_of_now in [false, true] {
                self.read(&cache, is_of_now, reader, &recorder).await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Reads all of a cache: as it is, or as of now.
    async fn read(&self, cache: &Cache, is_of_now: bool, reader: ClientId, recorder: &Recorder) {
        let mut read = RangeRequest::new(KeyRange::all());
        read.serializable = !is_of_now;
        let op = recorder.call(reader, self.some_member(), Request::Range(read));
        let snapshot = if is_of_now {
            cache.linearizable().await
        } else {
            Ok(cache.snapshot())
        };
        let at = recorder.now();
        let outcome = match snapshot {
            Ok(snapshot) => {
                let kvs = snapshot.iter().map(|entry| to_wire(entry.kv()));
                let whole = pb::RangeResponse {
                    kvs: kvs.collect(),
                    count: i64::try_from(snapshot.len()).unwrap_or(i64::MAX),
                    ..pb::RangeResponse::default()
                };
                Outcome::Ok(Answer {
                    at,
                    revision: Some(Revision(snapshot.revision().get())),
                    term: None,
                    body: Response::Range(RangeResponse::from(&whole)),
                })
            }
            Err(error) => Outcome::Unknown {
                at: Some(at),
                error: error.to_string(),
            },
        };
        recorder.end(op, outcome);
    }
}

fn to_wire(kv: &cairn_client::KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key.clone(),
        create_revision: kv.create_revision.get(),
        mod_revision: kv.mod_revision.get(),
        version: i64::try_from(kv.version).unwrap_or(i64::MAX),
        value: kv.value.clone(),
        lease: kv.lease.map_or(0, cairn_client::LeaseId::get),
    }
}

fn not_ours() -> Error {
    Error::Invalid {
        what: "request".to_owned(),
        reason: "clients of the load do not make it".to_owned(),
    }
}
