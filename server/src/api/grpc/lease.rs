//! The Lease service.
//!
//! Renewals come many at a time: whatever a client has sent is renewed in one go, and answered in one
//! frame.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body as AnswerBody;
use bytes::{BufMut, Bytes, BytesMut};
use cairn_proto::codec::LenientDecoder;
use cairn_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, ResponseHeader,
};
use cairn_proto::stored::lease_server::Lease;
use http::{HeaderMap, Request as HttpRequest, Response as HttpResponse};
use http_body::{Body, Frame};
use prost::Message;
use tokio_stream::Stream;
use tonic::codec::Streaming;
use tonic::{Request, Response, Status};

use super::{kv, unary};
use crate::member::Member;
use crate::member::auth::Caller;
use crate::member::error::Error;
use cairn_replica::apply::Outcome;
use cairn_replica::lease_request::LeaseRequest;

/// Renewals that are taken at a time.
const BATCH_MAX: usize = 1024;
/// Bytes of a renewal's request, generously.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// The Lease service of a member.
#[derive(Clone)]
pub(super) struct LeaseService {
    member: Arc<Member>,
}

impl LeaseService {
    /// The service of `member`.
    pub(super) const fn new(member: Arc<Member>) -> Self {
        Self { member }
    }
}

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let caller = Caller::of_request(&request);
        let grant = self.member.complete_grant(request.into_inner())?;
        let grant = LeaseRequest::Grant(grant);
        let granted = self.member.propose_lease(grant, &caller).await?;
        let Outcome::LeaseGrant(mut response) = granted else {
            return Err(kv::mismatch());
        };
        self.member.fill(&mut response.header);
        Ok(Response::new(response))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let caller = Caller::of_request(&request);
        let revoke = LeaseRequest::Revoke(request.into_inner());
        let revoked = self.member.propose_lease(revoke, &caller).await?;
        let Outcome::LeaseRevoke(mut response) = revoked else {
            return Err(kv::mismatch());
        };
        self.member.fill(&mut response.header);
        Ok(Response::new(response))
    }

    type LeaseKeepAliveStream =
        Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    /// Only reached by callers that do not come through the router, where [`keep_alive`] stands in
    /// front of this method.
    async fn lease_keep_alive(
        &self,
        _: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        Err(Status::internal("renewals have a way of their own"))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let caller = Caller::of_request(&request);
        let request = request.into_inner();
        let response = self.member.lease_time_to_live(request, &caller).await?;
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let ids = self.member.lease_ids(&Caller::of_request(&request)).await?;
        let header = Some(self.member.header(Some(self.member.store().current())));
        let leases = ids.into_iter().map(|id| LeaseStatus { id }).collect();
        Ok(Response::new(LeaseLeasesResponse { header, leases }))
    }
}

/// Answers a call of `LeaseKeepAlive`.
pub(super) fn keep_alive<B>(
    member: &Arc<Member>,
    call: HttpRequest<B>,
    caller: Caller,
) -> HttpResponse<AnswerBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tonic::codegen::StdError>,
{
    let decoder = LenientDecoder::<LeaseKeepAliveRequest>::default();
    let requests = Streaming::new_request(decoder, call.into_body(), None, Some(REQUEST_BYTES_MAX));
    unary::response(Renewals {
        member: Arc::clone(member),
        caller,
        requests,
        taken: Vec::new(),
        has_ended: false,
        under_way: None,
        trailers: Some(unary::ok_trailers()),
    })
}

/// Renewed leases, or why the call ends.
type Renewed = Result<Vec<Option<i64>>, Error>;

/// A batch that could not be answered at once.
struct UnderWay {
    ids: Vec<i64>,
    header: ResponseHeader,
    renewed: Pin<Box<dyn Future<Output = Renewed> + Send>>,
}

/// The answers to a stream of renewals, as frames of messages.
struct Renewals {
    member: Arc<Member>,
    caller: Caller,
    requests: Streaming<LeaseKeepAliveRequest>,
    /// Requests that have come and were not begun.
    taken: Vec<i64>,
    has_ended: bool,
    under_way: Option<UnderWay>,
    /// The end of the call, until it has been sent.
    trailers: Option<HeaderMap>,
}

impl Renewals {
    /// Takes what has come.
    fn take(&mut self, context: &mut Context<'_>) -> Result<(), Status> {
        while !self.has_ended && self.taken.len() < BATCH_MAX {
            match Pin::new(&mut self.requests).poll_next(context) {
                Poll::Ready(Some(request)) => self.taken.push(request?.id),
                Poll::Ready(None) => self.has_ended = true,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Renews what was taken, if that can be done without waiting.
    fn renew_at_once(&mut self, header: ResponseHeader, frame: &mut BytesMut) {
        let renewed = self.taken.iter().map_while(|id| {
            let ttl = self.member.renew_lease_at_once(*id)?;
            write(*id, ttl.to_wire(), header, frame);
            Some(())
        });
        let count = renewed.count();
        self.taken.drain(..count);
    }

    fn begin(&mut self, header: ResponseHeader) {
        let ids = std::mem::take(&mut self.taken);
        let (member, caller) = (Arc::clone(&self.member), self.caller.clone());
        let asked = ids.clone();
        let renewed = Box::pin(async move { member.renew_leases(&asked, &caller).await });
        self.under_way = Some(UnderWay {
            ids,
            header,
            renewed,
        });
    }

    /// Ends the call with an error. It goes into the trailers: an error of the body itself would reset
    /// the stream, and the client would not hear what is wrong.
    fn refuse(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.under_way = None;
        let mut trailers = self.trailers.take().unwrap_or_default();
        trailers.clear();
        Poll::Ready(Some(
            status
                .add_header(&mut trailers)
                .map(|()| Frame::trailers(trailers)),
        ))
    }

    /// Writes the answers of the batch that is under way, once they are there.
    fn finish(
        &mut self,
        context: &mut Context<'_>,
        frame: &mut BytesMut,
    ) -> Poll<Result<(), Error>> {
        let Some(batch) = &mut self.under_way else {
            return Poll::Ready(Ok(()));
        };
        let Poll::Ready(renewed) = batch.renewed.as_mut().poll(context) else {
            return Poll::Pending;
        };
        for (id, ttl) in batch.ids.iter().zip(renewed?) {
            write(*id, ttl.unwrap_or(0), batch.header, frame);
        }
        self.under_way = None;
        Poll::Ready(Ok(()))
    }
}

impl Body for Renewals {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let renewals = self.get_mut();
        if renewals.trailers.is_none() {
            return Poll::Ready(None);
        }
        let mut frame = BytesMut::new();
        loop {
            match renewals.finish(context, &mut frame) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return renewals.refuse(&error.into()),
                Poll::Pending if frame.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
            if !frame.is_empty() {
                break;
            }
            if let Err(status) = renewals.take(context) {
                return renewals.refuse(&status);
            }
            if renewals.taken.is_empty() {
                if !renewals.has_ended {
                    return Poll::Pending;
                }
                let trailers = renewals.trailers.take();
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            // Before anything is renewed: a lease that was renewed lived at the header's revision.
            let header = renewals
                .member
                .header(Some(renewals.member.store().current()));
            renewals.renew_at_once(header, &mut frame);
            if !renewals.taken.is_empty() {
                renewals.begin(header);
            }
        }
        Poll::Ready(Some(Ok(Frame::data(frame.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none()
    }
}

/// Writes one answer.
fn write(id: i64, ttl: i64, header: ResponseHeader, frame: &mut BytesMut) {
    let response = LeaseKeepAliveResponse {
        header: Some(header),
        id,
        ttl,
    };
    let len = response.encoded_len();
    if let Some(prefix) = unary::prefix(len as u64) {
        frame.reserve(prefix.len() + len);
        frame.put_slice(&prefix);
        response.encode_raw(frame);
    }
}
