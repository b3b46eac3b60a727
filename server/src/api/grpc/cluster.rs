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
use crate::member::auth::Caller;
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
        let caller = Caller::of_request(&request);
        if request.into_inner().linearizable {
            self.member.linearizable().await?;
        }
        self.member.check_somebody(&caller).await?;
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
        request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        self.member
            .check_admin(&Caller::of_request(&request))
            .await?;
        let request = request.into_inner();
        let added = self
            .member
            .add_member(&request.peer_urls, request.is_learner);
        let (member, members) = added.await?;
        Ok(Response::new(MemberAddResponse {
            header: Some(self.member.header(None)),
            member: Some(member.to_wire()),
            members,
        }))
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        self.member
            .check_admin(&Caller::of_request(&request))
            .await?;
        let members = self.member.remove_member(request.into_inner().id).await?;
        let header = Some(self.member.header(None));
        Ok(Response::new(MemberRemoveResponse { header, members }))
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        self.member
            .check_admin(&Caller::of_request(&request))
            .await?;
        let request = request.into_inner();
        let updated = self.member.update_member(request.id, &request.peer_urls);
        let members = updated.await?;
        let header = Some(self.member.header(None));
        Ok(Response::new(MemberUpdateResponse { header, members }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        self.member
            .check_admin(&Caller::of_request(&request))
            .await?;
        let members = self.member.promote_member(request.into_inner().id).await?;
        let header = Some(self.member.header(None));
        Ok(Response::new(MemberPromoteResponse { header, members }))
    }
}
