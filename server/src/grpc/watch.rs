//! The Watch service: a task that reads what the client asks, and a stream of what it is told.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use cairn_proto::etcdserverpb::{WatchRequest, watch_request::RequestUnion};
use cairn_proto::stored::WatchResponse;
use cairn_proto::stored::watch_server::Watch;
use cairn_watch::WatchId;
use tokio::time::MissedTickBehavior;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::OVERHEAD_BYTES;
use crate::member::Member;
use crate::watching::{WatchAsks, WatchReplies};

/// How long a client that has not taken its answers waits before it may ask more.
const ASK_RETRY: Duration = Duration::from_millis(5);

/// The Watch service of a member.
#[derive(Clone)]
pub struct WatchService {
    member: Arc<Member>,
}

impl WatchService {
    /// The service of `member`.
    pub const fn new(member: Arc<Member>) -> Self {
        Self { member }
    }
}

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = Answers;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (asks, replies) = self.member.watches().open().await;
        let progress_interval = self.member.limits().watch_progress_interval;
        tokio::spawn(read_requests(request.into_inner(), asks, progress_interval));
        let member = Arc::clone(&self.member);
        Ok(Response::new(Answers {
            member,
            replies,
            fragments: VecDeque::new(),
        }))
    }
}

/// Hands a client's requests to the dispatcher until it stops asking or listening.
async fn read_requests(
    mut requests: Streaming<WatchRequest>,
    mut asks: WatchAsks,
    progress_interval: Duration,
) {
    let mut progress = tokio::time::interval(progress_interval);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick of an interval comes at once.
    progress.tick().await;
    loop {
        let request = tokio::select! {
            () = asks.gone() => return,
            request = requests.message(), if asks.may_ask() => request,
            _ = progress.tick() => {
                asks.progress_tick().await;
                continue;
            }
            () = tokio::time::sleep(ASK_RETRY), if !asks.may_ask() => continue,
        };
        match request {
            Ok(Some(request)) => ask(&asks, request).await,
            Ok(None) | Err(_) => return,
        }
    }
}

async fn ask(asks: &WatchAsks, request: WatchRequest) {
    match request.request_union {
        Some(RequestUnion::CreateRequest(create)) => {
            match cairn_watch::WatchRequest::from_wire(&create) {
                Ok(request) => asks.create(request).await,
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

/// What a client is told, as messages.
pub struct Answers {
    member: Arc<Member>,
    replies: WatchReplies,
    /// The rest of a reply that was cut.
    fragments: VecDeque<WatchResponse>,
}

impl Stream for Answers {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let answers = self.get_mut();
        while answers.fragments.is_empty() {
            let Some(reply) = std::task::ready!(answers.replies.poll_next(context)) else {
                return Poll::Ready(None);
            };
            let bytes_max = answers.member.limits().request_bytes_max + OVERHEAD_BYTES;
            let header = answers.member.header(None);
            answers.fragments = reply.into_responses(header, bytes_max).into();
            let events = answers
                .fragments
                .iter()
                .map(|part| part.events.len())
                .sum::<usize>();
            let sent = &answers.member.metrics.debugging_mvcc_events_total;
            sent.inc_by(events as u64);
        }
        Poll::Ready(answers.fragments.pop_front().map(Ok))
    }
}
