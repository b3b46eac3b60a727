//! `KV/Range`, answered without holding more of it in memory than a bound.
//!
//! A range is read chunk by chunk, the stored bytes spliced into ready frames. A small answer leaves
//! as one buffer. An answer beyond [`HELD_BYTES_MAX`] is read twice: gRPC puts a message's length in
//! front of it, so the rest is first measured, then sent as it is read again. Both passes see the
//! same revision; if a compaction overtakes the second one, the stream is reset.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use cairn_index::KeyRange;
use cairn_mvcc::{RangeScan, RangeSummary, ScanProgress};
use cairn_proto::etcdserverpb::RangeRequest;
use cairn_proto::stored::{EncodedKvsBuilder, RangeResponse};
use http::{HeaderMap, Response};
use http_body::Frame;
use prost::Message;
use prost::encoding::encoded_len_varint;
use tonic::{Code, Status};

use super::unary;
use crate::error::Error;
use crate::member::Member;
use crate::request::Range;

/// Bytes of an answer that are held before the rest of it is measured and read a second time. An
/// answer of 100,000 keys of ordinary size stays below.
const HELD_BYTES_MAX: usize = 64 << 20;
/// Bytes read in one go, before other requests of the worker get their turn.
const CHUNK_BYTES: usize = 256 << 10;
/// Keys read in one go; keys alone are cheap in bytes, not in time.
const CHUNK_KEYS: NonZeroUsize = NonZeroUsize::new(2000).expect("2000 is not zero");
/// An answer up to this size is copied into one frame, so that it leaves in one packet.
const ONE_FRAME_BYTES_MAX: usize = 16 << 10;

/// The method.
#[derive(Clone)]
pub(super) struct RangeService {
    member: Arc<Member>,
}

type Answer = Response<axum::body::Body>;

impl RangeService {
    pub(super) const fn new(member: Arc<Member>) -> Self {
        Self { member }
    }

    pub(super) async fn answer(&self, request: RangeRequest) -> Result<Answer, Status> {
        let range = Range::parse(request)?;
        if !range.serializable {
            self.member.linearizable().await?;
        }
        if matches!(range.query.range, KeyRange::One(_)) {
            let mut response = self.member.range(&range).map_err(Error::from)?;
            self.member.fill(&mut response.header);
            return Ok(unary::answer(&response));
        }
        self.scan(&range).await.map_err(Status::from)
    }

    async fn scan(&self, range: &Range) -> Result<Answer, Error> {
        self.member.metrics.mvcc_range_total.inc();
        let mut scan = self.member.store().scan(&range.query)?;
        let mut kvs = EncodedKvsBuilder::new();
        loop {
            let chunk_end = kvs.framed_len() + CHUNK_BYTES;
            let progress = scan.next_chunk(CHUNK_KEYS, &mut |kv| {
                kvs.push(kv.encoded);
                break_at(kvs.framed_len() >= chunk_end)
            })?;
            if let ScanProgress::Done(summary) = progress {
                let mut response = crate::apply::txn::range_response(&summary, kvs.finish());
                self.member.fill(&mut response.header);
                return Ok(held(&response));
            }
            if kvs.framed_len() >= HELD_BYTES_MAX {
                return self.large(scan, kvs).await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Measures what `scan` has left, then answers with what is held and a second reading of that.
    async fn large(&self, scan: RangeScan, held: EncodedKvsBuilder) -> Result<Answer, Error> {
        let mut measure = scan.clone();
        let mut rest_bytes = 0;
        let summary = loop {
            let progress = measure.next_chunk(CHUNK_KEYS, &mut |kv| {
                rest_bytes += record_bytes(kv.encoded.len());
                ControlFlow::Continue(())
            })?;
            match progress {
                ScanProgress::Done(summary) => break summary,
                ScanProgress::More => tokio::task::yield_now().await,
            }
        };
        let body = RangeBody::large(&self.head(&summary), held, scan, rest_bytes, &summary);
        Ok(body.map_or_else(too_long, unary::response))
    }

    fn head(&self, summary: &RangeSummary) -> RangeResponse {
        let header = Some(self.member.header(Some(summary.revision)));
        RangeResponse {
            header,
            ..RangeResponse::default()
        }
    }
}

/// Answers with what is held: small answers in one buffer, so that they leave in one packet.
fn held(response: &RangeResponse) -> Answer {
    if response.kvs.framed().len() <= ONE_FRAME_BYTES_MAX {
        return unary::answer(response);
    }
    RangeBody::whole(response).map_or_else(too_long, unary::response)
}

fn too_long() -> Answer {
    unary::refusal(Status::new(Code::ResourceExhausted, TOO_LONG))
}

const TOO_LONG: &str = "the answer is over 4 GiB, which a gRPC message cannot be: \
     set a limit and read it in pages, or use RangeStream";

/// Bytes of one key-value in the answer: the tag of field 2, the length, the key-value.
const fn record_bytes(encoded_len: usize) -> usize {
    1 + encoded_len_varint(encoded_len as u64) + encoded_len
}

const fn break_at(full: bool) -> ControlFlow<()> {
    if full {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// An answer's body: ready frames, then what is still to be read, then the end of the message.
struct RangeBody {
    frames: VecDeque<Bytes>,
    rest: Option<Rest>,
    trailers: Option<HeaderMap>,
}

/// The part of an answer that is read as it is sent.
struct Rest {
    scan: RangeScan,
    bytes_left: usize,
    tail: Bytes,
}

impl RangeBody {
    /// An answer that is held; none if it is longer than gRPC allows, which what is held never is.
    fn whole(response: &RangeResponse) -> Option<Self> {
        let prefix = unary::prefix(response.encoded_len() as u64)?;
        let head = RangeResponse {
            header: response.header,
            ..RangeResponse::default()
        };
        let kvs = response.kvs.framed().clone();
        let frames = VecDeque::from([
            start(prefix, &head),
            kvs,
            tail(response.more, response.count),
        ]);
        Some(Self {
            frames,
            rest: None,
            trailers: Some(unary::ok_trailers()),
        })
    }

    /// None if the message would be longer than gRPC allows.
    fn large(
        head: &RangeResponse,
        held: EncodedKvsBuilder,
        scan: RangeScan,
        rest_bytes: usize,
        summary: &RangeSummary,
    ) -> Option<Self> {
        let count = i64::try_from(summary.count).unwrap_or(i64::MAX);
        let tail = tail(summary.more, count);
        let len = head.encoded_len() + held.framed_len() + rest_bytes + tail.len();
        let prefix = unary::prefix(len as u64)?;
        let held = held.finish().framed().clone();
        let frames = VecDeque::from([start(prefix, head), held]);
        let rest = Some(Rest {
            scan,
            bytes_left: rest_bytes,
            tail,
        });
        Some(Self {
            frames,
            rest,
            trailers: Some(unary::ok_trailers()),
        })
    }
}

fn start(prefix: [u8; unary::PREFIX_BYTES], head: &RangeResponse) -> Bytes {
    let mut start = BytesMut::with_capacity(prefix.len() + head.encoded_len());
    start.extend_from_slice(&prefix);
    head.encode_raw(&mut start);
    start.freeze()
}

/// Everything of an answer that comes after its key-values.
fn tail(more: bool, count: i64) -> Bytes {
    RangeResponse {
        more,
        count,
        ..RangeResponse::default()
    }
    .encode_to_vec()
    .into()
}

impl Rest {
    fn next_frame(&mut self) -> Result<Option<Bytes>, Status> {
        if self.bytes_left == 0 {
            return Ok((!self.tail.is_empty()).then(|| std::mem::take(&mut self.tail)));
        }
        let mut kvs = EncodedKvsBuilder::with_capacity(CHUNK_BYTES.min(self.bytes_left));
        let read = self.scan.next_chunk(CHUNK_KEYS, &mut |kv| {
            kvs.push(kv.encoded);
            break_at(kvs.framed_len() >= CHUNK_BYTES)
        });
        read.map_err(|error| Status::from(Error::from(error)))?;
        let frame = kvs.finish().framed().clone();
        let left = self
            .bytes_left
            .checked_sub(frame.len())
            .filter(|_| !frame.is_empty());
        self.bytes_left = left.ok_or_else(|| Status::internal("two readings of a range differ"))?;
        Ok(Some(frame))
    }
}

impl http_body::Body for RangeBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let body = self.get_mut();
        if let Some(frame) = body.frames.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        if let Some(rest) = &mut body.rest {
            match rest.next_frame() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
                Ok(None) => body.rest = None,
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
        }
        Poll::Ready(
            body.trailers
                .take()
                .map(|trailers| Ok(Frame::trailers(trailers))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.is_none() && self.trailers.is_none()
    }
}
