//! The Election service: leaders by name.

use std::pin::Pin;
use std::sync::Arc;

use cairn_proto::mvccpb::KeyValue;
use cairn_proto::stored::EncodedKeyValue;
use cairn_proto::stored::v3electionpb::LeaderResponse;
use cairn_proto::stored::v3electionpb::election_server::Election;
use cairn_proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, ProclaimRequest, ProclaimResponse,
    ResignRequest, ResignResponse,
};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::queue::{Place, Session, Waited};
use crate::member::Member;
use crate::member::auth::Caller;

/// Leaders that an observer may be behind.
const OBSERVED_MAX: usize = 1;

/// The Election service of a member.
pub(super) struct ElectionService {
    member: Arc<Member>,
}

impl ElectionService {
    /// The service of `member`.
    pub(super) const fn new(member: Arc<Member>) -> Self {
        Self { member }
    }

    /// The place of a leader, as it says.
    async fn place_of(&self, leader: Option<LeaderKey>, caller: Caller) -> Result<Place, Status> {
        let Some(leader) = leader else {
            return Err(Status::unknown("\"leader\" field must be provided"));
        };
        let session = Session::open(&self.member, caller, leader.lease).await?;
        Ok(session.place(leader.name, leader.key, leader.rev))
    }
}

#[tonic::async_trait]
impl Election for ElectionService {
    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let caller = Caller::of_request(&request);
        let CampaignRequest { name, lease, value } = request.into_inner();
        let session = Session::open(&self.member, caller, lease).await?;
        let joined = session.join(&name, value.clone()).await?;
        let place = joined.place;
        if joined.before.is_some_and(|before| before.value != value) {
            let (is_there, _) = place.proclaim(value).await?;
            if !is_there {
                return Err(not_leader());
            }
        }
        match place.wait_until_in_front().await? {
            Waited::InFront(_) => {}
            Waited::Lost => return Err(not_leader()),
        }
        let leader = LeaderKey {
            name,
            key: place.key,
            rev: place.rev,
            lease: session.lease(),
        };
        Ok(Response::new(CampaignResponse {
            header: joined.header,
            leader: Some(leader),
        }))
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let caller = Caller::of_request(&request);
        let ProclaimRequest { leader, value } = request.into_inner();
        let place = self.place_of(leader, caller).await?;
        match place.proclaim(value).await? {
            (true, header) => Ok(Response::new(ProclaimResponse { header })),
            (false, _) => Err(not_leader()),
        }
    }

    async fn leader(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<LeaderResponse>, Status> {
        let caller = Caller::of_request(&request);
        let session = Session::of(&self.member, caller, -1);
        let (front, header) = session.front(&request.into_inner().name).await?;
        let kv = front.ok_or_else(|| Status::unknown("election: no leader"))?;
        let kv = Some(encoded(&kv));
        Ok(Response::new(LeaderResponse { header, kv }))
    }

    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    async fn observe(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let caller = Caller::of_request(&request);
        let session = Session::of(&self.member, caller, -1);
        let (sender, receiver) = mpsc::channel(OBSERVED_MAX);
        tokio::spawn(observe(session, request.into_inner().name.to_vec(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn resign(
        &self,
        request: Request<ResignRequest>,
    ) -> Result<Response<ResignResponse>, Status> {
        let caller = Caller::of_request(&request);
        let place = self.place_of(request.into_inner().leader, caller).await?;
        let header = place.give_up().await?;
        Ok(Response::new(ResignResponse { header }))
    }
}

/// Tells an observer of the leader, and of each change of the leader or its value. Not every value on
/// the way to the latest is told, but the latest always is.
async fn observe(
    session: Session,
    name: Vec<u8>,
    sender: mpsc::Sender<Result<LeaderResponse, Status>>,
) {
    let mut told = None;
    loop {
        let rev = match session.front(&name).await {
            Ok((front, header)) => {
                let seen = front.as_ref().map(|kv| (kv.key.clone(), kv.mod_revision));
                if let Some(kv) = front.filter(|_| seen != told) {
                    told = seen;
                    let kv = Some(encoded(&kv));
                    if sender
                        .send(Ok(LeaderResponse { header, kv }))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
                header.map_or(0, |header| header.revision)
            }
            Err(status) => {
                let _ = sender.send(Err(status)).await;
                return;
            }
        };
        tokio::select! {
            () = session.wait_for_change(&name, rev) => {}
            () = sender.closed() => return,
        }
    }
}

fn encoded(kv: &KeyValue) -> EncodedKeyValue {
    EncodedKeyValue(kv.encode_to_vec().into())
}

fn not_leader() -> Status {
    Status::unknown("election: not leader")
}
