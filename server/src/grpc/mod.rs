//! The gRPC doors: each file one service of etcd's, each method parse → ask the member → answer.
//!
//! Nothing here decides anything: what a request means is in [`crate::request`], what it does in
//! [`crate::apply`], what an error is called in [`crate::status`].

mod cluster;
mod health;
mod kv;
mod maintenance;
mod range;
mod range_stream;
mod unary;
mod watch;

use std::sync::Arc;

use axum::Router;
use cairn_proto::stored::cluster_server::ClusterServer;
use cairn_proto::stored::health::health_server::HealthServer;
use cairn_proto::stored::kv_server::KvServer;
use cairn_proto::stored::maintenance_server::MaintenanceServer;
use cairn_proto::stored::watch_server::WatchServer;
use tonic::service::Routes;

use crate::member::Member;

/// What gRPC may add to a request of the largest size.
const OVERHEAD_BYTES: usize = 512 << 10;

/// All gRPC services of `member`.
pub fn router(member: &Arc<Member>) -> Router {
    let bytes_max = member.limits().request_bytes_max + OVERHEAD_BYTES;
    let kv = KvServer::new(kv::KvService::new(Arc::clone(member)))
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(usize::MAX);
    let watch = WatchServer::new(watch::WatchService::new(Arc::clone(member)))
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(usize::MAX);
    let maintenance =
        MaintenanceServer::new(maintenance::MaintenanceService::new(Arc::clone(member)));
    let cluster = ClusterServer::new(cluster::ClusterService::new(Arc::clone(member)));
    let range = range::RangeService::new(Arc::clone(member), bytes_max);
    Routes::new(kv)
        .add_service(watch)
        .add_service(maintenance)
        .add_service(cluster)
        .add_service(HealthServer::new(health::HealthService))
        .into_axum_router()
        .route_service("/etcdserverpb.KV/Range", range)
}
