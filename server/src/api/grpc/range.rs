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
use http_body::{Frame, SizeHint};
use prost::Message;
use prost::encoding::encoded_len_varint;
use tonic::{Code, Status};

use super::unary;
use crate::api::unread::{Share, Unread};
use crate::member::Member;
use crate::member::auth::{Caller, Permit};
use crate::member::error::Error;
use cairn_replica::request::Range;

/// Bytes of an answer that are held before the rest of it is measured and read a second time. An
/// answer of 100,000 keys of ordinary size stays below.
const HELD_BYTES_MAX: usize = 64 << 20;
/// Bytes read in one go, before other requests of the worker get their turn.
const CHUNK_BYTES: usize = 1 << 20;
/// Keys read in one go; keys alone are cheap in bytes, not in time.
const CHUNK_KEYS: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not zero");
/// An answer up to this size is copied into one frame, so that it leaves in one packet.
const ONE_FRAME_BYTES_MAX: usize = 16 << 10;

/// The method.
#[derive(Clone)]
pub(super) struct RangeService {
    member: Arc<Member>,
    unread: Unread,
}

type Answer = Response<axum::body::Body>;

impl RangeService {
    pub(super) const fn new(member: Arc<Member>, unread: Unread) -> Self {
        Self { member, unread }
    }

    pub(super) async fn answer(
        &self,
        request: RangeRequest,
        caller: &Caller,
    ) -> Result<Answer, Status> {
        let range = Range::parse(request).map_err(Error::from)?;
        if !range.serializable {
            self.member.linearizable().await?;
        }
        if matches!(range.query.range, KeyRange::One(_)) {
            let mut response = self.member.range(&range, caller).await?;
            self.member.fill(&mut response.header);
            return Ok(unary::answer(&response));
        }
        self.scan(&range, caller).await.map_err(Status::from)
    }

    async fn scan(&self, range: &Range, caller: &Caller) -> Result<Answer, Error> {
        let permit = self.member.permit_range(&range.query.range, caller).await?;
        self.member.metrics.mvcc_range_total.inc();
        let mut scan = self.member.scan(range, &permit)?;
        let mut held = Held::new(self.unread.share());
        loop {
            let mut kvs = EncodedKvsBuilder::with_capacity(held.next_chunk_bytes());
            let progress = scan.next_chunk(CHUNK_KEYS, &mut |kv| {
                kvs.push(kv.encoded);
                break_at(kvs.framed_len() >= CHUNK_BYTES)
            })?;
            held.add(kvs);
            if let ScanProgress::Done(summary) = progress {
                self.member.confirm(permit)?;
                return Ok(self.finish(&summary, held, None));
            }
            if held.bytes >= HELD_BYTES_MAX || held.share.is_scarce() {
                return self.large(scan, held, permit).await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Measures what `scan` has left, then answers with what is held and a second reading of that.
    async fn large(&self, scan: RangeScan, held: Held, permit: Permit) -> Result<Answer, Error> {
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
        self.member.confirm(permit)?;
        Ok(self.finish(&summary, held, Some((scan, rest_bytes))))
    }

    /// Puts the answer together: its head, what is held, what will be read again, its tail.
    fn finish(
        &self,
        summary: &RangeSummary,
        held: Held,
        rest: Option<(RangeScan, usize)>,
    ) -> Answer {
        let head = self.head(summary);
        let tail = RangeResponse {
            more: summary.more,
            count: i64::try_from(summary.count).unwrap_or(i64::MAX),
            ..RangeResponse::default()
        };
        let rest_bytes = rest.as_ref().map_or(0, |(_, bytes)| *bytes);
        let len = head.encoded_len() + held.bytes + rest_bytes + tail.encoded_len();
        let Some(prefix) = unary::prefix(len as u64) else {
            return unary::refusal(Status::new(Code::ResourceExhausted, TOO_LONG));
        };
        let mut start = BytesMut::with_capacity(prefix.len() + len.min(ONE_FRAME_BYTES_MAX));
        start.extend_from_slice(&prefix);
        head.encode_raw(&mut start);
        let mut frames = VecDeque::with_capacity(held.chunks.len() + 2);
        let Held { chunks, share, .. } = held;
        if len <= ONE_FRAME_BYTES_MAX {
            chunks
                .iter()
                .for_each(|chunk| start.extend_from_slice(chunk));
            tail.encode_raw(&mut start);
            frames.push_back(start.freeze());
        } else {
            frames.push_back(start.freeze());
            frames.extend(chunks);
            if rest.is_none() {
                frames.push_back(tail.encode_to_vec().into());
            }
        }
        let tail = tail.encode_to_vec().into();
        let rest = rest.map(|(scan, bytes_left)| Rest {
            scan,
            bytes_left,
            tail,
        });
        unary::response(RangeBody {
            bytes: len as u64,
            frames,
            share,
            rest,
            trailers: Some(unary::ok_trailers()),
        })
    }

    fn head(&self, summary: &RangeSummary) -> RangeResponse {
        let header = Some(self.member.header(Some(summary.revision)));
        RangeResponse {
            header,
            ..RangeResponse::default()
        }
    }
}

/// The part of an answer that is in memory: ready chunks, since one growing buffer would be copied
/// over and over.
struct Held {
    chunks: Vec<Bytes>,
    bytes: usize,
    share: Share,
}

impl Held {
    const fn new(share: Share) -> Self {
        Self {
            chunks: Vec::new(),
            bytes: 0,
            share,
        }
    }

    fn add(&mut self, kvs: EncodedKvsBuilder) {
        self.bytes += kvs.framed_len();
        self.share.add(kvs.framed_len());
        self.chunks.push(kvs.finish().framed().clone());
    }

    /// Room for a chunk: most ranges end with their first one and are small, later ones are full.
    fn next_chunk_bytes(&self) -> usize {
        if self.chunks.is_empty() {
            0
        } else {
            CHUNK_BYTES + CHUNK_BYTES / 16
        }
    }
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
    /// The message's.
    bytes: u64,
    frames: VecDeque<Bytes>,
    share: Share,
    rest: Option<Rest>,
    trailers: Option<HeaderMap>,
}

/// The part of an answer that is read as it is sent.
struct Rest {
    scan: RangeScan,
    bytes_left: usize,
    tail: Bytes,
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
            body.share.give_back(frame.len());
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

    fn size_hint(&self) -> SizeHint {
        unary::at_least(self.bytes)
    }
}
