//! The Watch service: a task that reads what the client asks, and a body of what it is told.
//!
//! One event may go to thousands of watchers, so what is told is written straight into the body's
//! frames, many replies to a frame, the event's encoding spliced in as it is.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body as AnswerBody;
use bytes::{BufMut, Bytes, BytesMut};
use cairn_index::KeyRange;
use cairn_proto::codec::LenientDecoder;
use cairn_proto::etcdserverpb::{ResponseHeader, WatchRequest, watch_request::RequestUnion};
use cairn_watch::{Fragments, ReplyKind, WatchId, WatchRefusal, WatchReply};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use prost::Message;
use prost::encoding::{
    WireType, encode_key, encode_varint, encoded_len_varint, int64, key_len, message,
};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tonic::codec::Streaming;
use tonic::{Code, Status};

use super::{OVERHEAD_BYTES, unary};
use crate::member::Member;
use crate::member::auth::Caller;
use crate::member::watching::{WatchAsks, WatchReplies};
use crate::metrics::Metrics;

/// How long a client that has not taken its answers waits before it may ask more.
const ASK_RETRY: Duration = Duration::from_millis(5);
/// Bytes of replies that leave in one frame, if so many wait.
const FRAME_BYTES: usize = 32 << 10;

/// Fields of `WatchResponse` that replies with events have.
mod field {
    pub(super) const HEADER: u32 = 1;
    pub(super) const WATCH_ID: u32 = 2;
    pub(super) const EVENTS: u32 = 11;
}

/// Answers a call of the method.
pub(super) async fn answer<B>(
    member: &Arc<Member>,
    call: Request<B>,
    caller: Caller,
) -> Response<AnswerBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tonic::codegen::StdError>,
{
    let bytes_max = member.limits().request_bytes_max + OVERHEAD_BYTES;
    let decoder = LenientDecoder::<WatchRequest>::default();
    let requests = Streaming::new_request(decoder, call.into_body(), None, Some(bytes_max));
    let (asks, replies) = member.watches().open().await;
    let (broken, breaking) = oneshot::channel();
    let reading = read_requests(requests, asks, Arc::clone(member), caller);
    tokio::spawn(async move {
        if let Err(status) = reading.await {
            // A client that is gone hears nothing.
            let _ = broken.send(status);
        }
    });
    let member = Arc::clone(member);
    unary::response(Answers {
        member,
        replies,
        breaking: Some(breaking),
        trailers: Some(unary::ok_trailers()),
    })
}

/// Hands a client's requests to the dispatcher until it listens no more. One that has said all it has
/// to say goes on listening.
///
/// # Errors
///
/// What is wrong with a request that cannot be read, which ends the stream.
async fn read_requests(
    mut requests: Streaming<WatchRequest>,
    mut asks: WatchAsks,
    member: Arc<Member>,
    caller: Caller,
) -> Result<(), Status> {
    let mut is_asking = true;
    let mut progress = tokio::time::interval(member.limits().watch_progress_interval);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick of an interval comes at once.
    progress.tick().await;
    loop {
        let request = tokio::select! {
            () = asks.gone() => return Ok(()),
            request = requests.message(), if is_asking && asks.may_ask() => request,
            _ = progress.tick() => {
                asks.progress_tick().await;
                continue;
            }
            () = tokio::time::sleep(ASK_RETRY), if is_asking && !asks.may_ask() => continue,
        };
        match request? {
            Some(request) => ask(&asks, request, &member, &caller).await,
            None => is_asking = false,
        }
    }
}

async fn ask(asks: &WatchAsks, request: WatchRequest, member: &Member, caller: &Caller) {
    match request.request_union {
        Some(RequestUnion::CreateRequest(create)) => {
            match cairn_watch::WatchRequest::from_wire(&create) {
                Ok(request) => match refusal(&request.range, member, caller).await {
                    None => asks.create(request).await,
                    Some(denied) => asks.refuse(denied).await,
                },
                Err(refusal) => asks.refuse(refusal).await,
            }
        }
        Some(RequestUnion::CancelRequest(cancel)) => {
            asks.cancel(WatchId::new(cancel.watch_id)).await;
        }
        Some(RequestUnion::ProgressRequest(_)) => asks.request_progress().await,
        // Requests of a later protocol are passed over, as etcd does.
        None => {}
    }
}

/// Why a range may not be watched, if so. It is asked once, when the watcher is created; etcd too lets
/// a watcher go on when the rules change.
async fn refusal(range: &KeyRange, member: &Member, caller: &Caller) -> Option<WatchRefusal> {
    let error = member.permit_range(range, caller).await.err()?;
    let status = Status::from(error);
    // The text form of Go's status errors, which is how etcd says it here.
    let code = match status.code() {
        Code::InvalidArgument => "InvalidArgument",
        Code::Unauthenticated => "Unauthenticated",
        _ => "PermissionDenied",
    };
    let reason = format!("rpc error: code = {code} desc = {}", status.message());
    Some(WatchRefusal::Denied { reason })
}

/// What a client is told, as frames of messages.
struct Answers {
    member: Arc<Member>,
    replies: WatchReplies,
    /// Why the call ends, if that is the client's fault.
    breaking: Option<oneshot::Receiver<Status>>,
    /// The end of the call, until it has been sent.
    trailers: Option<HeaderMap>,
}

impl Answers {
    /// The end of the call. What is wrong goes into the trailers: an error of the body itself would
    /// reset the stream, and the client would not hear of it.
    fn end(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let broken = match &mut self.breaking {
            // The task that reads says so, or is gone.
            Some(breaking) => std::task::ready!(Pin::new(breaking).poll(context)).ok(),
            None => None,
        };
        self.breaking = None;
        let Some(mut trailers) = self.trailers.take() else {
            return Poll::Ready(None);
        };
        if let Some(status) = broken {
            trailers.clear();
            if let Err(status) = status.add_header(&mut trailers) {
                return Poll::Ready(Some(Err(status)));
            }
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

impl Body for Answers {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let answers = self.get_mut();
        let header = answers.member.header(None);
        let bytes_max = answers.member.limits().request_bytes_max + OVERHEAD_BYTES;
        let mut frame = BytesMut::new();
        let mut sending = Sending::begin(&answers.member.metrics);
        while frame.len() < FRAME_BYTES {
            match answers.replies.poll_next(context) {
                Poll::Ready(Some(reply)) => {
                    sending.note(&reply.kind);
                    if let Err(status) = write(reply, header, bytes_max, &mut frame) {
                        return Poll::Ready(Some(Err(status)));
                    }
                }
                Poll::Ready(None) if frame.is_empty() => return answers.end(context),
                Poll::Pending if frame.is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        sending.end();
        Poll::Ready(Some(Ok(Frame::data(frame.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none()
    }
}

/// What a frame brings, and how long it took to make.
struct Sending<'a> {
    metrics: &'a Metrics,
    begun: Instant,
    events: usize,
    has_control: bool,
    has_progress: bool,
}

impl<'a> Sending<'a> {
    fn begin(metrics: &'a Metrics) -> Self {
        Self {
            metrics,
            begun: Instant::now(),
            events: 0,
            has_control: false,
            has_progress: false,
        }
    }

    fn note(&mut self, kind: &ReplyKind) {
        match kind {
            ReplyKind::Events { events, .. } => self.events += events.len(),
            ReplyKind::Progress { .. } => self.has_progress = true,
            _ => self.has_control = true,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a frame has few events")]
    fn end(self) {
        let metrics = self.metrics;
        let took = self.begun.elapsed().as_secs_f64();
        if self.events > 0 {
            let sent = &metrics.debugging_mvcc_events_total;
            sent.inc_by(self.events as u64);
            let all = &metrics.debugging_server_watch_send_loop_watch_stream_duration_seconds;
            all.observe(took);
            let each =
                &metrics.debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds;
            each.observe(took / self.events as f64);
        }
        if self.has_control {
            let control = &metrics.debugging_server_watch_send_loop_control_stream_duration_seconds;
            control.observe(took);
        }
        if self.has_progress {
            let progress = &metrics.debugging_server_watch_send_loop_progress_duration_seconds;
            progress.observe(took);
        }
    }
}

/// Writes a reply as one message, or several if it may be cut and is too long.
fn write(
    reply: WatchReply,
    header: ResponseHeader,
    bytes_max: usize,
    frame: &mut BytesMut,
) -> Result<(), Status> {
    if let ReplyKind::Events {
        watch,
        events,
        fragments: Fragments::Refused,
    } = &reply.kind
    {
        let header = ResponseHeader {
            revision: reply.revision.to_wire(),
            ..header
        };
        let watch_id = watch.to_wire();
        let mut len = message::encoded_len(field::HEADER, &header);
        if watch_id != 0 {
            len += int64::encoded_len(field::WATCH_ID, &watch_id);
        }
        len += events
            .iter()
            .map(|event| record_len(&event.0))
            .sum::<usize>();
        begin_message(len, frame)?;
        message::encode(field::HEADER, &header, frame);
        if watch_id != 0 {
            int64::encode(field::WATCH_ID, &watch_id, frame);
        }
        for event in events.iter() {
            encode_key(field::EVENTS, WireType::LengthDelimited, frame);
            encode_varint(event.0.len() as u64, frame);
            frame.put_slice(&event.0);
        }
        return Ok(());
    }
    for response in reply.into_responses(header, bytes_max) {
        begin_message(response.encoded_len(), frame)?;
        response.encode_raw(frame);
    }
    Ok(())
}

/// Writes the prefix of a message of `len` bytes and makes room for it.
fn begin_message(len: usize, frame: &mut BytesMut) -> Result<(), Status> {
    let Some(prefix) = unary::prefix(len as u64) else {
        return Err(Status::new(
            Code::ResourceExhausted,
            "the events of a revision are over 4 GiB",
        ));
    };
    frame.reserve(prefix.len() + len);
    frame.put_slice(&prefix);
    Ok(())
}

fn record_len(event: &[u8]) -> usize {
    key_len(field::EVENTS) + encoded_len_varint(event.len() as u64) + event.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_index::Revision;
    use cairn_proto::stored::EncodedEvent;

    #[test]
    fn spliced_replies_have_the_bytes_of_encoded_ones() {
        let header = ResponseHeader {
            cluster_id: 1,
            member_id: 2,
            raft_term: 3,
            revision: 0,
        };
        for (watch, sizes) in [(0, vec![0]), (7, vec![1, 200, 0]), (-3, vec![70_000])] {
            let events = sizes
                .iter()
                .map(|size| EncodedEvent(vec![8; *size].into()))
                .collect();
            let reply = WatchReply::new(
                Revision::FIRST.next(),
                ReplyKind::Events {
                    watch: WatchId::new(watch),
                    events,
                    fragments: Fragments::Refused,
                },
            );
            let mut spliced = BytesMut::new();
            write(reply.clone(), header, usize::MAX, &mut spliced).unwrap();
            let responses = reply.into_responses(header, usize::MAX);
            assert_eq!(responses.len(), 1);
            let encoded = responses[0].encode_to_vec();
            assert_eq!(
                spliced[..unary::PREFIX_BYTES],
                unary::prefix(encoded.len() as u64).unwrap()
            );
            assert_eq!(spliced[unary::PREFIX_BYTES..], encoded);
        }
    }
}
