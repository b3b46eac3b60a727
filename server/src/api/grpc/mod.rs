//! The gRPC services: each file one service of etcd's, each method parse → ask the member → answer.
//!
//! Nothing here decides anything: what a request means is in [`cairn_replica::request`], what it does in
//! [`cairn_replica::apply`], what an error is called in [`crate::api::status`].

mod auth;
mod cluster;
mod deadline;
mod election;
mod health;
mod kv;
mod leader_required;
mod lease;
mod lock;
mod maintenance;
mod queue;
mod range;
mod range_stream;
mod unary;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use cairn_proto::etcdserverpb::RangeRequest;
use cairn_proto::stored::auth_server::AuthServer;
use cairn_proto::stored::cluster_server::ClusterServer;
use cairn_proto::stored::health::health_server::HealthServer;
use cairn_proto::stored::kv_server::KvServer;
use cairn_proto::stored::lease_server::LeaseServer;
use cairn_proto::stored::maintenance_server::MaintenanceServer;
use cairn_proto::stored::v3electionpb::election_server::ElectionServer;
use cairn_proto::stored::v3lockpb::lock_server::LockServer;
use http::{Request, Response};
use tonic::service::Routes;
use tower::Service;

use crate::api::unread::Unread;
use crate::member::Member;
use crate::member::auth::Caller;
use crate::member::error::Error;

pub(crate) use deadline::{exceeded as deadline_exceeded, of as deadline_of};
pub(crate) use leader_required::LeaderLoss;
pub(crate) use unary::PREFIX_BYTES;

/// What gRPC may add to a request of the largest size.
const OVERHEAD_BYTES: usize = 512 << 10;

/// The calls whose answers are streams.
const STREAMS: [&str; 6] = [
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.KV/RangeStream",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Maintenance/Snapshot",
    "/v3electionpb.Election/Observe",
    "/grpc.health.v1.Health/Watch",
];

/// All gRPC services of a member.
#[derive(Clone)]
pub(crate) struct Services {
    member: Arc<Member>,
    kv: kv::KvService,
    range: range::RangeService,
    request_bytes_max: usize,
    rest: Router,
    leader_loss: LeaderLoss,
}

impl Services {
    /// The services of `member`.
    pub(crate) fn new(member: &Arc<Member>, leader_loss: LeaderLoss, unread: Unread) -> Self {
        let request_bytes_max = member.limits().request_bytes_max + OVERHEAD_BYTES;
        let kv = kv::KvService::new(Arc::clone(member));
        let range = range::RangeService::new(Arc::clone(member), unread);
        let rest = router(member, kv.clone(), request_bytes_max);
        Self {
            member: Arc::clone(member),
            kv,
            range,
            request_bytes_max,
            rest,
            leader_loss,
        }
    }

    /// Bytes that a request may have as a message.
    pub(crate) const fn request_bytes_max(&self) -> usize {
        self.request_bytes_max
    }

    /// Whether users are asked who they are.
    pub(crate) fn is_auth_enabled(&self) -> bool {
        self.member.auth.auth_store().is_enabled()
    }

    /// Answers a call, if it can be answered as its client wants it: with a leader, and in time.
    /// Whatever is wrong with it is in the answer.
    pub(crate) async fn answer<B>(&self, call: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<tonic::codegen::StdError>,
    {
        let needs_leader = leader_required::is_required(call.headers());
        if needs_leader && self.member.progress().leader().is_none() {
            return unary::refusal(leader_required::no_leader());
        }
        let is_stream = needs_leader && STREAMS.contains(&call.uri().path());
        let answer = match deadline::of(call.headers()) {
            Ok(None) => self.dispatch(call).await,
            Ok(Some(time)) => match tokio::time::timeout(time, self.dispatch(call)).await {
                Ok(answer) => answer,
                Err(_) => return unary::refusal(deadline::exceeded()),
            },
            Err(malformed) => return unary::refusal(malformed),
        };
        if is_stream {
            answer.map(|body| Body::new(self.leader_loss.ends(body)))
        } else {
            answer
        }
    }

    /// The methods that carry the load are called directly, all others through tonic.
    async fn dispatch<B>(&self, call: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<tonic::codegen::StdError>,
    {
        self.member.serving.wait().await;
        let is_learner = self.member.is_learner();
        if is_learner && !serves_learners(call.uri().path()) {
            return unary::refusal(Error::NotForLearner.into());
        }
        let bytes_max = self.request_bytes_max;
        let caller = &Caller::of_client(call.headers(), call.extensions());
        let answer = match call.uri().path() {
            "/etcdserverpb.KV/Put" => {
                let put = unary::read_message(call.into_body(), bytes_max);
                unary::call(put, |put| self.kv.put(put, caller)).await
            }
            "/etcdserverpb.KV/Txn" => {
                let txn = unary::read_message(call.into_body(), bytes_max);
                unary::call(txn, |txn| self.kv.txn(txn, caller)).await
            }
            "/etcdserverpb.KV/DeleteRange" => {
                let delete = unary::read_message(call.into_body(), bytes_max);
                unary::call(delete, |delete| self.kv.delete_range(delete, caller)).await
            }
            "/etcdserverpb.KV/Range" => {
                match unary::read_message::<RangeRequest, _>(call.into_body(), bytes_max).await {
                    Ok(range) if is_learner && !range.serializable => {
                        Err(Error::NotForLearner.into())
                    }
                    Ok(range) => self.range.answer(range, caller).await,
                    Err(status) => Err(status),
                }
            }
            "/etcdserverpb.Lease/LeaseKeepAlive" => {
                return lease::keep_alive(&self.member, call, caller.clone());
            }
            "/etcdserverpb.Watch/Watch" => {
                return watch::answer(&self.member, call, caller.clone()).await;
            }
            _ => {
                let mut call = call.map(Body::new);
                call.extensions_mut().insert(caller.clone());
                return self.route(call).await;
            }
        };
        answer.unwrap_or_else(unary::refusal)
    }

    async fn route(&self, call: Request<Body>) -> Response<Body> {
        let path = call.uri().path().to_owned();
        match self.rest.clone().call(call).await {
            Ok(answer) => unary::in_etcds_words(&path, answer),
            Err(never) => match never {},
        }
    }
}

/// Whether a learner answers a method: what etcd's answers, of ranges those that are serializable. One
/// that there is not is told so by everybody.
fn serves_learners(path: &str) -> bool {
    const REFUSING: [&str; 4] = [
        "/etcdserverpb.",
        "/v3lockpb.",
        "/v3electionpb.",
        "/grpc.health.v1.",
    ];
    const SERVED: [&str; 3] = [
        "/etcdserverpb.KV/Range",
        "/etcdserverpb.Maintenance/Status",
        "/etcdserverpb.Maintenance/Snapshot",
    ];
    SERVED.contains(&path) || !REFUSING.iter().any(|service| path.starts_with(service))
}

fn router(member: &Arc<Member>, kv: kv::KvService, request_bytes_max: usize) -> Router {
    let kv = KvServer::new(kv)
        .max_decoding_message_size(request_bytes_max)
        .max_encoding_message_size(usize::MAX);
    let maintenance =
        MaintenanceServer::new(maintenance::MaintenanceService::new(Arc::clone(member)));
    let cluster = ClusterServer::new(cluster::ClusterService::new(Arc::clone(member)));
    Routes::new(kv)
        .add_service(LeaseServer::new(lease::LeaseService::new(Arc::clone(
            member,
        ))))
        .add_service(LockServer::new(lock::LockService::new(Arc::clone(member))))
        .add_service(ElectionServer::new(election::ElectionService::new(
            Arc::clone(member),
        )))
        .add_service(maintenance)
        .add_service(cluster)
        .add_service(AuthServer::new(auth::AuthService::new(Arc::clone(member))))
        .add_service(HealthServer::new(health::HealthService))
        .into_axum_router()
}
