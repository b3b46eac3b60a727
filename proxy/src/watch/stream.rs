//! A client's watch stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use http::{Request, Response};
use parking_lot::Mutex;
use tonic::codec::{Codec as _, Streaming};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::class::{Class, Credentials};
use super::hub::Hub;
use super::outlet::Outlet;
use super::progress;
use super::watcher::Watcher;
use crate::grpc;

/// Watchers of one stream.
type Watchers = Arc<Mutex<BTreeMap<i64, Arc<Watcher>>>>;

struct Stream {
    hub: Hub,
    credentials: Credentials,
    outlet: Outlet,
    watchers: Watchers,
    next_id: i64,
}

/// Answers a call of the method.
pub(crate) fn answer(hub: &Hub, call: Request<Body>) -> Response<Body> {
    let (outlet, body) = Outlet::new();
    let stream = Stream {
        hub: hub.clone(),
        credentials: Credentials::of(call.headers()),
        outlet,
        watchers: Watchers::default(),
        next_id: 0,
    };
    let decoder = ProstCodec::<pb::WatchRequest, pb::WatchRequest>::default().decoder();
    let requests = Streaming::new_request(decoder, call.into_body(), None, None);
    tokio::spawn(stream.run(requests));
    grpc::streaming(Body::new(body))
}

impl Stream {
    /// Serves until the client is gone. One that has said all it has to say goes on listening.
    async fn run(mut self, mut requests: Streaming<pb::WatchRequest>) {
        let outlet = self.outlet.clone();
        let mut is_asking = true;
        loop {
            let request = tokio::select! {
                request = requests.message(), if is_asking => request,
                () = outlet.closed() => return,
            };
            match request {
                Ok(Some(request)) => {
                    if let Err(status) = self.take(request).await {
                        outlet.end(status);
                        return;
                    }
                }
                Ok(None) => is_asking = false,
                Err(status) => {
                    outlet.end(status);
                    return;
                }
            }
        }
    }

    async fn take(&mut self, request: pb::WatchRequest) -> Result<(), Status> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create).await?,
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => {
                let watchers = Arc::clone(&self.watchers);
                let answering = progress::answer(self.hub.clone(), watchers, self.outlet.clone());
                tokio::spawn(answering);
            }
            None => {}
        }
        Ok(())
    }

    async fn create(&mut self, mut create: pb::WatchCreateRequest) -> Result<(), Status> {
        if create.key.is_empty() {
            create.key = vec![0].into();
        }
        let end = &create.range_end;
        let is_range = !end.is_empty() && end.as_ref() != [0];
        if is_range && create.key >= *end {
            self.refuse(None, "mvcc: watcher range is empty");
            return Ok(());
        }
        let keys = self.hub.namespace().keys(&create.key, end);
        let class = Class::of(&create, keys, self.credentials.clone());
        let present = match self.hub.present(&class).await {
            Ok(present) => present,
            Err(status) => return self.denied(status),
        };
        if create.start_revision < 0 {
            let reason = "etcdserver: mvcc: required revision has been compacted";
            self.refuse(Some(present), reason);
            return Ok(());
        }
        let Some(id) = self.id_for(create.watch_id) else {
            let reason = "mvcc: duplicate watch ID provided on the WatchStream";
            self.refuse(Some(present), reason);
            return Ok(());
        };
        self.outlet.send(&pb::WatchResponse {
            header: Some(present),
            watch_id: id,
            created: true,
            ..pb::WatchResponse::default()
        });
        let asked_from = (create.start_revision > 0).then_some(create.start_revision);
        let from = (asked_from, asked_from.unwrap_or(present.revision + 1));
        let watcher = Watcher::new(id, class, from, create.progress_notify, self.outlet.clone());
        let watcher = Arc::new(watcher);
        self.watchers.lock().insert(id, Arc::clone(&watcher));
        self.hub.join(&watcher);
        Ok(())
    }

    /// What the client asked for, or the next one that is free.
    fn id_for(&mut self, wanted: i64) -> Option<i64> {
        let mut watchers = self.watchers.lock();
        watchers.retain(|_, watcher| !watcher.has_ended());
        if wanted != 0 {
            return (!watchers.contains_key(&wanted)).then_some(wanted);
        }
        while watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        Some(id)
    }

    /// A watch that may not be is created and canceled; what else fails ends the call.
    fn denied(&self, status: Status) -> Result<(), Status> {
        let code = match status.code() {
            Code::PermissionDenied => "PermissionDenied",
            Code::Unauthenticated => "Unauthenticated",
            Code::InvalidArgument => "InvalidArgument",
            _ => return Err(status),
        };
        let reason = format!("rpc error: code = {code} desc = {}", status.message());
        self.refuse(None, &reason);
        Ok(())
    }

    fn refuse(&self, header: Option<pb::ResponseHeader>, reason: &str) {
        self.outlet.send(&pb::WatchResponse {
            header: Some(header.unwrap_or_default()),
            watch_id: -1,
            created: true,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..pb::WatchResponse::default()
        });
    }

    fn cancel(&self, id: i64) {
        let Some(watcher) = self.watchers.lock().remove(&id) else {
            return;
        };
        if watcher.has_ended() {
            return;
        }
        if let Some(feed) = watcher.end() {
            feed.leave();
        }
        self.outlet.send(&pb::WatchResponse {
            header: Some(pb::ResponseHeader {
                revision: watcher.next() - 1,
                ..pb::ResponseHeader::default()
            }),
            watch_id: id,
            canceled: true,
            ..pb::WatchResponse::default()
        });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        for watcher in self.watchers.lock().values() {
            if let Some(feed) = watcher.end() {
                feed.leave();
            }
        }
    }
}
