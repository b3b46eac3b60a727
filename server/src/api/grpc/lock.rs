//! The Lock service: locks by name.

use std::sync::Arc;

use bytes::Bytes;
use cairn_proto::etcdserverpb::DeleteRangeRequest;
use cairn_proto::stored::v3lockpb::lock_server::Lock;
use cairn_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use tonic::{Request, Response, Status};

use super::kv::KvService;
use super::queue::{self, Session, Waited};
use crate::member::Member;
use crate::member::auth::Caller;

/// The Lock service of a member.
pub(super) struct LockService {
    member: Arc<Member>,
}

impl LockService {
    /// The service of `member`.
    pub(super) const fn new(member: Arc<Member>) -> Self {
        Self { member }
    }
}

#[tonic::async_trait]
impl Lock for LockService {
    /// Success means that the key was there, and in front, in a read that began after the wait: a
    /// session that expires while it waits is told so.
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let caller = Caller::of_request(&request);
        let LockRequest { name, lease } = request.into_inner();
        let session = Session::open(&self.member, caller, lease).await?;
        let joined = session.join(&name, Bytes::new()).await?;
        let place = joined.place;
        let is_in_front = |front: &cairn_proto::mvccpb::KeyValue| {
            front.key == place.key && front.create_revision == place.rev
        };
        let header = if joined.front.as_ref().is_some_and(is_in_front) {
            joined.header
        } else {
            match place.wait_until_in_front().await? {
                Waited::InFront(header) => header,
                Waited::Lost => return Err(Status::unknown("mutex: session is expired")),
            }
        };
        let key = place.key;
        Ok(Response::new(LockResponse { header, key }))
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        let caller = Caller::of_request(&request);
        let delete = DeleteRangeRequest {
            key: request.into_inner().key,
            ..DeleteRangeRequest::default()
        };
        let kv = KvService::new(Arc::clone(&self.member));
        let deleted = kv.delete_range(delete, &caller).await;
        let header = deleted.map_err(queue::as_unknown)?.header;
        Ok(Response::new(UnlockResponse { header }))
    }
}
