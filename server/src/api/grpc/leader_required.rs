//! Calls that are worth nothing to their client while there is no leader: those with the metadata
//! `hasleader: true`, as Kubernetes' watches have it.
//!
//! Such a call is refused while no leader is known, and such a stream ends when none has been known for
//! three election timeouts: streams cost more to open again than an election lasts.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::watch;
use tonic::Status;

use crate::member::Member;
use crate::member::error::{Error, ProposeError};

const METADATA: &str = "hasleader";
/// Looks without a leader, an election timeout apart, after which streams end.
const LOOKS_MAX: u32 = 3;

/// Whether a call asks for a leader.
pub(super) fn is_required(headers: &HeaderMap) -> bool {
    headers.get(METADATA).is_some_and(|value| value == "true")
}

/// What a call without the leader it asks for is told.
pub(super) fn no_leader() -> Status {
    Status::from(Error::from(ProposeError::NoLeader))
}

/// Tells when streams have been without a leader for too long.
#[derive(Clone)]
pub(crate) struct LeaderLoss(watch::Receiver<bool>);

impl LeaderLoss {
    /// Looks for `member`'s leader once every `election_timeout`, on this runtime, as long as somebody
    /// wants to know.
    pub(crate) fn watch(
        member: Arc<Member>,
        election_timeout: Duration,
        runtime: &tokio::runtime::Handle,
    ) -> Self {
        let (told, lost) = watch::channel(false);
        runtime.spawn(async move {
            let mut patience = Patience::default();
            while !told.is_closed() {
                tokio::time::sleep(election_timeout).await;
                let is_lost = patience.look(member.progress().leader().is_some());
                told.send_if_modified(|told| std::mem::replace(told, is_lost) != is_lost);
            }
        });
        Self(lost)
    }

    /// Ends `body` when the leader is lost.
    pub(super) fn ends<B>(&self, body: B) -> WhileLed<B> {
        let mut lost = self.0.clone();
        let lost = async move {
            if lost.wait_for(|lost| *lost).await.is_err() {
                // Nobody looks any more: the server is about to end.
                std::future::pending::<()>().await;
            }
        };
        WhileLed {
            body: Some(body),
            lost: Box::pin(lost),
        }
    }
}

/// Counts looks without a leader.
#[derive(Default)]
struct Patience {
    looks: u32,
}

impl Patience {
    /// Whether a leader has been missed for too long.
    fn look(&mut self, has_leader: bool) -> bool {
        self.looks = if has_leader {
            0
        } else {
            self.looks.saturating_add(1)
        };
        self.looks >= LOOKS_MAX
    }
}

/// A stream of answers that ends with the leader.
pub(super) struct WhileLed<B> {
    /// Until the leader is lost.
    body: Option<B>,
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for WhileLed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let led = self.get_mut();
        let Some(body) = &mut led.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(context);
        if frame.is_ready() || led.lost.as_mut().poll(context).is_pending() {
            return frame;
        }
        led.body = None;
        let mut trailers = HeaderMap::new();
        if no_leader().add_header(&mut trailers).is_err() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn a_leader_is_lost_after_three_looks_in_a_row_and_found_at_once() {
        let mut patience = Patience::default();
        let looks = [false, false, true, false, false, false, false, true, false];
        let lost = looks.map(|has_leader| patience.look(has_leader));
        let expected = [false, false, false, false, false, true, true, false, false];
        assert_eq!(lost, expected);
    }

    /// A stream that says one thing and then waits for ever.
    #[derive(Default)]
    struct Silent {
        has_spoken: bool,
    }

    impl Body for Silent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            if std::mem::replace(&mut self.get_mut().has_spoken, true) {
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"event")))))
        }
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_leader_and_says_so() {
        let (told, lost) = watch::channel(false);
        let mut body = LeaderLoss(lost).ends(Silent::default());
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "event");
        told.send(true).unwrap();
        let last = body.frame().await.unwrap().unwrap();
        let trailers = last.into_trailers().unwrap();
        assert_eq!(trailers.get("grpc-status").unwrap(), "14");
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.message(), "etcdserver: no leader");
        assert!(body.frame().await.is_none());
    }

    #[test]
    fn only_the_word_true_asks_for_a_leader() {
        for (value, required) in [("true", true), ("True", false), ("1", false), ("", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(METADATA, value.parse().unwrap());
            assert_eq!(is_required(&headers), required, "{value}");
        }
        assert!(!is_required(&HeaderMap::new()));
    }
}
