//! The Cluster service: who the members are.

use std::sync::Arc;

use cairn_proto::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse,
};
use cairn_proto::stored::cluster_server::Cluster;
use tonic::{Request, Response, Status};

use crate::member::Member;
use cairn_replica::membership;

/// The Cluster service of a member.
#[derive(Clone)]
pub(super) struct ClusterService {
    member: Arc<Member>,
}

impl ClusterService {
    /// The service of `member`.
    pub(super) const fn new(member: Arc<Member>) -> Self {
        Self { member }
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        if request.into_inner().linearizable {
            self.member.linearizable().await?;
        }
        let members = self
            .member
            .membership()
            .iter()
            .map(membership::Member::to_wire)
            .collect();
        let header = Some(self.member.header(None));
        Ok(Response::new(MemberListResponse { header, members }))
    }

    async fn member_add(
        &self,
        _: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        Err(one_member_only())
    }

    async fn member_remove(
        &self,
        _: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        Err(one_member_only())
    }

    async fn member_update(
        &self,
        _: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        Err(one_member_only())
    }

    async fn member_promote(
        &self,
        _: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        Err(one_member_only())
    }
}

fn one_member_only() -> Status {
    Status::unimplemented("this version of cairn runs clusters of one member")
}
