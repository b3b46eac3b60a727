//! Answers that nobody reads: what they hold in memory is bounded over all connections.
//!
//! A client may ask for much and read none of it. An answer that begins is watched if it is large: what
//! it holds is counted, and given to the connection in small copies, so that what is counted is all
//! there is of it. When all answers together hold more than the budget, the one that has gone longest
//! without being read loses the rest of it, and ends with `RESOURCE_EXHAUSTED`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame};
use parking_lot::Mutex;
use prometheus::IntCounter;
use tonic::Status;

/// What is given to a connection in one go, and the size from which an answer is watched.
const PIECE_BYTES: usize = 64 << 10;

const LOST: &str = "etcdserver: the answer was not read in time, and others need its memory: read \
                    faster, set a limit and read pages, or use RangeStream";

/// The budget of all answers that wait to be read. Clones share it.
#[derive(Clone)]
pub(crate) struct Unread(Arc<Inner>);

struct Inner {
    bytes_max: usize,
    /// Counted by [`Share`]s.
    bytes: AtomicUsize,
    queue: Mutex<Queue>,
    lost: IntCounter,
}

/// The answers that are watched, in the order in which they were last read.
#[derive(Default)]
struct Queue {
    next: u64,
    answers: BTreeMap<u64, Weak<Mutex<Answer>>>,
}

impl Unread {
    /// A budget of `bytes_max`; `lost` counts the answers that it costs.
    pub(crate) fn new(bytes_max: usize, lost: IntCounter) -> Self {
        Self(Arc::new(Inner {
            bytes_max,
            bytes: AtomicUsize::new(0),
            queue: Mutex::default(),
            lost,
        }))
    }

    /// Nothing of the budget yet.
    pub(crate) fn share(&self) -> Share {
        Share {
            of: Self(Arc::clone(&self.0)),
            bytes: 0,
        }
    }

    /// Whether so much is held that an answer which can be read a second time should be.
    pub(crate) fn is_scarce(&self) -> bool {
        self.0.bytes.load(Ordering::Relaxed) > self.0.bytes_max / 2
    }

    /// Watches an answer, if it is large.
    pub(crate) fn watch(&self, answer: Response<Body>) -> Response<Body> {
        if answer.body().size_hint().lower() < PIECE_BYTES as u64 {
            return answer;
        }
        let kind = answer.headers().get(CONTENT_TYPE);
        let has_trailers =
            kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        answer.map(|body| {
            let (share, piece) = (self.share(), Bytes::new());
            let held = Held { body, piece, share };
            let answer = Arc::new(Mutex::new(Answer {
                place: 0,
                held: Some(held),
            }));
            self.moved(&answer);
            Body::new(Watched {
                answer,
                has_trailers,
                unread: self.clone(),
            })
        })
    }

    /// Puts an answer at the end of the queue: it was just read.
    fn moved(&self, answer: &Arc<Mutex<Answer>>) {
        let mut queue = self.0.queue.lock();
        let place = queue.next;
        queue.next += 1;
        let before = std::mem::replace(&mut answer.lock().place, place);
        queue.answers.remove(&before);
        queue.answers.insert(place, Arc::downgrade(answer));
    }

    /// Takes from the slowest what they hold, until the budget is kept or nobody is left.
    fn keep_budget(&self) {
        while self.0.bytes.load(Ordering::Relaxed) > self.0.bytes_max {
            let slowest = self.0.queue.lock().answers.pop_first();
            let Some((_, slowest)) = slowest else { return };
            // One that is just ending needs nothing.
            let held = slowest
                .upgrade()
                .and_then(|answer| answer.lock().held.take());
            if let Some(held) = held {
                self.0.lost.inc();
                tracing::warn!(
                    budget_bytes = self.0.bytes_max,
                    "an answer was not read in time, and others need its memory: its call ends"
                );
                drop(held);
            }
        }
    }
}

/// What one answer has of the budget.
pub(crate) struct Share {
    of: Unread,
    bytes: usize,
}

impl Share {
    /// Counts bytes that an answer holds from now on.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        let held = self.of.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        if held + bytes > self.of.0.bytes_max {
            self.of.keep_budget();
        }
    }

    /// Counts bytes that it holds no more.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.of.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether so much is held by all that this answer should hold no more.
    pub(crate) fn is_scarce(&self) -> bool {
        self.of.is_scarce()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// An answer in the queue.
struct Answer {
    /// Its key there.
    place: u64,
    /// `None` once it was lost.
    held: Option<Held>,
}

/// What an answer holds: a body, and the rest of the frame that came out of it last.
struct Held {
    body: Body,
    piece: Bytes,
    share: Share,
}

/// The body of an answer that is watched.
struct Watched {
    answer: Arc<Mutex<Answer>>,
    has_trailers: bool,
    unread: Unread,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let place = self.answer.lock().place;
        self.unread.0.queue.lock().answers.remove(&place);
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let watched = self.get_mut();
        // It was read, up to here.
        watched.unread.moved(&watched.answer);
        // Out of its place while it works: it may be the one that loses what it holds.
        let Some(mut held) = watched.answer.lock().held.take() else {
            return Poll::Ready(lost(watched.has_trailers));
        };
        let frame = held.poll_frame(context);
        watched.answer.lock().held = Some(held);
        frame
    }

    fn is_end_stream(&self) -> bool {
        let answer = self.answer.lock();
        let held = answer.held.as_ref();
        held.is_some_and(|held| held.piece.is_empty() && held.body.is_end_stream())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        // What is left is of interest to nobody but who begins to send it.
        let answer = self.answer.lock();
        let held = answer.held.as_ref().filter(|held| held.piece.is_empty());
        held.map_or_else(Default::default, |held| held.body.size_hint())
    }
}

impl Held {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.piece.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(frame) => frame?,
            };
            match frame.into_data() {
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                Ok(data) if data.len() <= PIECE_BYTES => {
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(data) => {
                    self.share.add(data.len());
                    self.piece = data;
                }
            }
        }
        let bytes = self.piece.len().min(PIECE_BYTES);
        // A copy: a slice would keep all of it for as long as the connection has the slice.
        let piece = self.piece.copy_to_bytes(bytes);
        let piece = Bytes::copy_from_slice(&piece);
        if self.piece.is_empty() {
            self.piece = Bytes::new();
            self.share.give_back(self.share.bytes);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

/// The end of an answer that was lost.
fn lost(has_trailers: bool) -> Option<Result<Frame<Bytes>, axum::Error>> {
    let status = Status::resource_exhausted(LOST);
    if !has_trailers {
        return Some(Err(axum::Error::new(status)));
    }
    let mut trailers = HeaderMap::new();
    match status.add_header(&mut trailers) {
        Ok(()) => Some(Ok(Frame::trailers(trailers))),
        Err(status) => Some(Err(axum::Error::new(status))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    const MIB: usize = 1 << 20;

    fn unread(bytes_max: usize) -> Unread {
        Unread::new(bytes_max, IntCounter::new("lost", "Answers.").unwrap())
    }

    fn answer(bytes: usize) -> Response<Body> {
        let mut answer = Response::new(Body::from(vec![7; bytes]));
        let grpc = http::HeaderValue::from_static("application/grpc");
        answer.headers_mut().insert(CONTENT_TYPE, grpc);
        answer
    }

    async fn next(body: &mut Body) -> Frame<Bytes> {
        body.frame().await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn who_was_read_longest_ago_loses_the_rest_when_the_budget_is_passed() {
        let unread = unread(3 * MIB);
        let mut bodies: Vec<Body> = Vec::new();
        for _ in 0..3 {
            let mut body = unread.watch(answer(MIB)).into_body();
            assert_eq!(next(&mut body).await.data_ref().unwrap().len(), PIECE_BYTES);
            bodies.push(body);
        }
        // The first is read on, so that the second is the slowest.
        next(&mut bodies[0]).await;
        let mut more = unread.watch(answer(MIB)).into_body();
        next(&mut more).await;
        assert_eq!(unread.0.lost.get(), 1);
        let end = next(&mut bodies[1]).await.into_trailers().unwrap();
        let status = Status::from_header_map(&end).unwrap();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        drop(bodies.remove(1));
        bodies.push(more);
        for body in bodies {
            let rest = body.collect().await.unwrap().to_bytes();
            assert!(
                rest.len() < MIB && rest.len() % PIECE_BYTES == 0,
                "{}",
                rest.len()
            );
        }
        assert_eq!(unread.0.bytes.load(Ordering::Relaxed), 0);
        assert!(unread.0.queue.lock().answers.is_empty());
    }

    #[tokio::test]
    async fn what_is_read_comes_whole_and_what_is_small_is_not_watched() {
        let unread = unread(MIB);
        for bytes in [
            0,
            1,
            PIECE_BYTES - 1,
            PIECE_BYTES,
            PIECE_BYTES + 1,
            5 * MIB / 7,
        ] {
            let answer = unread.watch(answer(bytes));
            let watched = unread.0.queue.lock().answers.len();
            assert_eq!(watched, usize::from(bytes >= PIECE_BYTES), "{bytes}");
            let read = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(read, vec![7; bytes]);
        }
        assert_eq!(unread.0.lost.get(), 0);
    }
}
