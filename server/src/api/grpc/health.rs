//! gRPC's own health check, as etcd answers it: one nameless service that serves from the start.

use std::collections::HashMap;
use std::pin::Pin;

use cairn_proto::health::health_check_response::ServingStatus;
use cairn_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use cairn_proto::stored::health::health_server::Health;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

/// The health service.
#[derive(Clone, Copy, Debug)]
pub(super) struct HealthService;

const SERVING: HealthCheckResponse = HealthCheckResponse {
    status: ServingStatus::Serving as i32,
};

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if request.into_inner().service.is_empty() {
            Ok(Response::new(SERVING))
        } else {
            Err(Status::not_found("unknown service"))
        }
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let statuses = HashMap::from([(String::new(), SERVING)]);
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// The state never changes while the server runs, so the stream says it once and stays open.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let state = if request.into_inner().service.is_empty() {
            SERVING
        } else {
            HealthCheckResponse {
                status: ServingStatus::ServiceUnknown.into(),
            }
        };
        let stream = tokio_stream::once(Ok(state)).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(stream)))
    }
}
