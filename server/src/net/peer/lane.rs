//! Messages on their way to one member, in order.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use cairn_proto::cairnpb::RaftMessages;
use cairn_proto::raftpb;
use parking_lot::Mutex;
use prost::Message as _;
use tokio_stream::Stream;

/// Messages that may wait: several times what raft has under way to one member.
const MESSAGES_MAX: usize = 4096;
/// Their bytes: a second of what a fast disk writes.
const BYTES_MAX: usize = 64 << 20;
/// Bytes of messages that travel in one frame, but for a single one that is larger.
const FRAME_BYTES: usize = 1 << 20;

/// A bounded queue of messages, open while its member is connected.
///
/// Invariants:
/// 1. A lane that is closed is empty.
/// 2. `bytes` are those of `messages`.
#[derive(Debug, Default)]
pub(super) struct Lane(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    messages: VecDeque<Waiting>,
    bytes: usize,
    waker: Option<Waker>,
}

/// A message that waits.
#[derive(Debug)]
struct Waiting {
    message: raftpb::Message,
    bytes: usize,
    since: Instant,
}

impl Lane {
    /// Puts messages behind those that wait. Those that it returns are not taken: there is no room
    /// for them, or nobody is there.
    pub(super) fn push(
        &self,
        messages: impl IntoIterator<Item = raftpb::Message>,
    ) -> Vec<raftpb::Message> {
        let since = Instant::now();
        let mut state = self.0.lock();
        let mut lost = Vec::new();
        for message in messages {
            let bytes = message.encoded_len();
            let is_full = state.messages.len() >= MESSAGES_MAX || state.bytes + bytes > BYTES_MAX;
            if !state.is_open || (is_full && !state.messages.is_empty()) {
                lost.push(message);
                continue;
            }
            state.bytes += bytes;
            state.messages.push_back(Waiting {
                message,
                bytes,
                since,
            });
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        lost
    }

    /// Opens the lane: what is put in comes out of the stream. An earlier stream ends.
    pub(super) fn open(self: &Arc<Self>) -> Frames {
        self.close();
        self.0.lock().is_open = true;
        Frames {
            lane: Arc::clone(self),
            noted: None,
        }
    }

    /// Drops what waits, and whatever comes until the lane is opened again.
    pub(super) fn close(&self) {
        let mut state = self.0.lock();
        *state = State {
            waker: state.waker.take(),
            ..State::default()
        };
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Takes as many messages as fit one frame; `None` once the lane is closed.
    fn poll_frame(
        &self,
        context: &mut Context<'_>,
        noted: Option<&Noted>,
    ) -> Poll<Option<RaftMessages>> {
        let mut state = self.0.lock();
        if !state.is_open {
            return Poll::Ready(None);
        }
        let mut frame = RaftMessages::default();
        let mut bytes = 0;
        while let Some(next) = state.messages.front() {
            if !frame.messages.is_empty() && bytes + next.bytes > FRAME_BYTES {
                break;
            }
            if let Some(taken) = state.messages.pop_front() {
                bytes += taken.bytes;
                if let Some(noted) = noted {
                    noted(&taken.message, taken.since.elapsed());
                }
                frame.messages.push(taken.message);
            }
        }
        state.bytes -= bytes;
        if frame.messages.is_empty() {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Some(frame))
    }
}

/// Who hears of each message that goes out, and how long it waited; called under the lane's lock.
type Noted = Box<dyn Fn(&raftpb::Message, Duration) + Send>;

/// What comes out of a lane.
pub(super) struct Frames {
    lane: Arc<Lane>,
    noted: Option<Noted>,
}

impl Frames {
    /// The same; who is given hears of each message.
    pub(super) fn noting(
        self,
        noted: impl Fn(&raftpb::Message, Duration) + Send + 'static,
    ) -> Self {
        let noted: Noted = Box::new(noted);
        Self {
            noted: Some(noted),
            ..self
        }
    }
}

impl Stream for Frames {
    type Item = RaftMessages;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<RaftMessages>> {
        self.lane.poll_frame(context, self.noted.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio_stream::StreamExt;

    use super::*;

    fn message(index: u64, bytes: usize) -> raftpb::Message {
        raftpb::Message {
            index: Some(index),
            context: Some(Bytes::from(vec![0; bytes])),
            ..raftpb::Message::default()
        }
    }

    #[tokio::test]
    async fn messages_come_out_in_order_in_frames_of_bounded_size() {
        let lane = Arc::new(Lane::default());
        let mut frames = lane.open();
        assert!(
            lane.push((0..5).map(|index| message(index, FRAME_BYTES / 2)))
                .is_empty()
        );
        let mut seen = Vec::new();
        while seen.len() < 5 {
            let frame = frames.next().await.unwrap();
            assert!(frame.encoded_len() <= FRAME_BYTES + 64);
            seen.extend(frame.messages.into_iter().filter_map(|it| it.index));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn a_message_larger_than_a_frame_travels_alone() {
        let lane = Arc::new(Lane::default());
        let mut frames = lane.open();
        assert!(
            lane.push([message(1, 3 * FRAME_BYTES), message(2, 1)])
                .is_empty()
        );
        assert_eq!(frames.next().await.unwrap().messages.len(), 1);
        assert_eq!(frames.next().await.unwrap().messages.len(), 1);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_said() {
        let lane = Arc::new(Lane::default());
        let _frames = lane.open();
        assert!(
            lane.push((0..MESSAGES_MAX as u64).map(|index| message(index, 0)))
                .is_empty()
        );
        assert_eq!(lane.push([message(0, 0)]).len(), 1);
        let wide = Arc::new(Lane::default());
        let _frames = wide.open();
        let one = wide.push([message(0, BYTES_MAX)]);
        assert!(one.is_empty(), "one is always taken");
        assert_eq!(wide.push([message(1, 0)]).len(), 1);
    }

    #[tokio::test]
    async fn a_closed_lane_takes_nothing_and_ends_its_stream() {
        let lane = Arc::new(Lane::default());
        assert_eq!(lane.push([message(1, 0)]).len(), 1);
        let mut frames = lane.open();
        assert!(lane.push([message(2, 0)]).is_empty());
        lane.close();
        assert!(frames.next().await.is_none());
        let mut again = lane.open();
        assert!(lane.push([message(3, 0)]).is_empty());
        assert_eq!(again.next().await.unwrap().messages[0].index, Some(3));
    }
}
