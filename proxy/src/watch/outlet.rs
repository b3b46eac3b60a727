//! What waits for one client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::HttpBody;
use bytes::Bytes;
use cairn_proto::etcdserverpb::WatchResponse;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use http_body_util::StreamBody;
use tokio::sync::{Notify, mpsc};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use crate::grpc;

/// Bytes that may wait for a client before its watchers leave their feeds. One answer may be longer.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// The way to a client. The queue has no bound of its own: whoever fills it asks for room first, and
/// answers to a client's own requests are few.
#[derive(Clone)]
pub(super) struct Outlet {
    queue: mpsc::UnboundedSender<Result<Bytes, Status>>,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    taken: Notify,
}

impl Outlet {
    /// Both ends: the second is the body of an answer.
    pub(super) fn new() -> (
        Self,
        impl HttpBody<Data = Bytes, Error = Status> + Send + 'static,
    ) {
        let (queue, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(Waiting::default());
        let outlet = Self {
            queue,
            waiting: Arc::clone(&waiting),
        };
        let frames = UnboundedReceiverStream::new(receiver).map(move |frame| match frame {
            Ok(bytes) => {
                waiting.bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
                waiting.taken.notify_waiters();
                Ok(bytes)
            }
            Err(status) => Err(status),
        });
        let frames = frames.map(|frame| match frame {
            Ok(bytes) => Ok(http_body::Frame::data(bytes)),
            Err(status) => Ok(http_body::Frame::trailers(trailers(&status))),
        });
        (
            outlet,
            StreamBody::new(frames).map_err(|never: Status| never),
        )
    }

    pub(super) fn send(&self, answer: &WatchResponse) {
        let frame = grpc::frame(answer);
        self.waiting.bytes.fetch_add(frame.len(), Ordering::Relaxed);
        // A client that is gone takes its watchers with it.
        let _ = self.queue.send(Ok(frame));
    }

    /// Ends the client's call.
    pub(super) fn end(&self, status: Status) {
        let _ = self.queue.send(Err(status));
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.bytes.load(Ordering::Relaxed) < WAITING_BYTES_MAX
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Returns when the client has read most of what waits, or is gone.
    pub(super) async fn drained(&self) {
        loop {
            let taken = self.waiting.taken.notified();
            let waiting = self.waiting.bytes.load(Ordering::Relaxed);
            if waiting < WAITING_BYTES_MAX / 2 || self.is_closed() {
                return;
            }
            tokio::select! {
                () = taken => {}
                () = self.queue.closed() => return,
            }
        }
    }

    /// Returns when the client is gone.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // A text that is no header is left out.
    let _ = status.add_header(&mut headers);
    headers
}
