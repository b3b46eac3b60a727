//! The KV service, but for `Range`, which is in [`super::range`].
//!
//! Put, delete and transaction are plain functions, which [`super::Services`] calls directly; the
//! service's trait is for the rest, and for callers that come through tonic.

use std::pin::Pin;
use std::sync::Arc;

use cairn_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest,
};
use cairn_proto::stored::kv_server::Kv;
use cairn_proto::stored::{
    DeleteRangeResponse, PutResponse, RangeResponse, RangeStreamResponse, TxnResponse,
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::member::Member;
use crate::member::auth::Caller;
use crate::member::error::Error;
use cairn_replica::apply::Outcome;
use cairn_replica::log_request::LogRequest;
use cairn_replica::quota;
use cairn_replica::request::{DeleteRange, Put, Range, Txn};

use super::range_stream;

/// The KV service of a member.
#[derive(Clone)]
pub(super) struct KvService {
    member: Arc<Member>,
}

impl KvService {
    /// The service of `member`.
    pub(super) const fn new(member: Arc<Member>) -> Self {
        Self { member }
    }

    /// Writes a key.
    pub(super) async fn put(
        &self,
        request: PutRequest,
        caller: &Caller,
    ) -> Result<PutResponse, Status> {
        self.member.check_space(quota::cost_of_put(&request))?;
        // Parsed for its errors: what goes into the log is what the client sent.
        Put::parse(request.clone()).map_err(Error::from)?;
        let Outcome::Put(mut response) = self
            .member
            .propose(LogRequest::Put(request), caller)
            .await?
        else {
            return Err(mismatch());
        };
        self.member.fill(&mut response.header);
        Ok(response)
    }

    /// Deletes keys.
    pub(super) async fn delete_range(
        &self,
        request: DeleteRangeRequest,
        caller: &Caller,
    ) -> Result<DeleteRangeResponse, Status> {
        DeleteRange::parse(request.clone()).map_err(Error::from)?;
        let request = LogRequest::DeleteRange(request);
        let Outcome::DeleteRange(mut response) = self.member.propose(request, caller).await? else {
            return Err(mismatch());
        };
        self.member.fill(&mut response.header);
        Ok(response)
    }

    /// Carries out a transaction.
    pub(super) async fn txn(
        &self,
        request: TxnRequest,
        caller: &Caller,
    ) -> Result<TxnResponse, Status> {
        let cost = quota::cost_of_txn(&request);
        if cost > 0 {
            self.member.check_space(cost)?;
        }
        let txn = Txn::parse(request.clone(), self.member.limits().txn_operations_max)
            .map_err(Error::from)?;
        let mut response = if txn.is_read_only() {
            self.read_txn(&txn, caller).await?
        } else {
            let Outcome::Txn(response) = self
                .member
                .propose(LogRequest::Txn(request), caller)
                .await?
            else {
                return Err(mismatch());
            };
            response
        };
        self.member.fill(&mut response.header);
        Ok(response)
    }

    /// A transaction that only reads goes around the log: all its reads are of one state.
    async fn read_txn(&self, txn: &Txn, caller: &Caller) -> Result<TxnResponse, Error> {
        if !txn.is_serializable() {
            self.member.linearizable().await?;
        }
        self.member.read_txn(txn, caller).await
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    /// Only reached by callers that do not come through the router, where [`super::range`] stands
    /// in front of this method.
    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let caller = Caller::of_request(&request);
        let range = Range::parse(request.into_inner()).map_err(Error::from)?;
        if !range.serializable {
            self.member.linearizable().await?;
        }
        let mut response = self.member.range(&range, &caller).await?;
        self.member.fill(&mut response.header);
        Ok(Response::new(response))
    }

    type RangeStreamStream =
        Pin<Box<dyn Stream<Item = Result<RangeStreamResponse, Status>> + Send>>;

    async fn range_stream(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let caller = Caller::of_request(&request);
        let range = Range::parse(request.into_inner()).map_err(Error::from)?;
        range_stream::check(&range)?;
        if !range.serializable {
            self.member.linearizable().await?;
        }
        let permit = self
            .member
            .permit_range(&range.query.range, &caller)
            .await?;
        let stream = range_stream::answer(Arc::clone(&self.member), range, permit);
        Ok(Response::new(Box::pin(stream)))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let caller = Caller::of_request(&request);
        let put = self.put(request.into_inner(), &caller);
        put.await.map(Response::new)
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let caller = Caller::of_request(&request);
        let delete = self.delete_range(request.into_inner(), &caller);
        delete.await.map(Response::new)
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let caller = Caller::of_request(&request);
        let txn = self.txn(request.into_inner(), &caller);
        txn.await.map(Response::new)
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let caller = Caller::of_request(&request);
        self.member.check_admin(&caller).await?;
        let request = request.into_inner();
        let physical = request.physical;
        let request = LogRequest::Compaction(request);
        let Outcome::Compaction(revision) = self.member.propose(request, &caller).await? else {
            return Err(mismatch());
        };
        if physical {
            self.member.wait_compacted(revision).await?;
        }
        let header = self.member.header(Some(self.member.store().current()));
        Ok(Response::new(CompactionResponse {
            header: Some(header),
        }))
    }
}

/// An answer that does not belong to its request: a fault of ours, told to the one client.
pub(super) fn mismatch() -> Status {
    Status::internal("the answer does not belong to the request")
}
