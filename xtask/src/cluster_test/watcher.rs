//! Watchers: they note all they hear, and when they lose their stream they go on at another member
//! from where they were.

use std::time::Duration;

use cairn_history::{
    ClientId, MemberId, Revision, WatchId, WatchRequest, WatchResponse, WatchSays,
};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::watch_client::WatchClient;
use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::Phase;
use super::endpoints::Endpoints;
use super::recorder::Recorder;

/// How often it asks how far it is, in the end.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// How often it does meanwhile, on average, in messages.
const PROGRESS_PERCENT: u32 = 2;
const OPEN_MAX: Duration = Duration::from_secs(3);
const AFTER_ERROR: Duration = Duration::from_millis(200);

/// A watcher.
pub(crate) struct Watcher {
    client: ClientId,
    request: WatchRequest,
    endpoints: Endpoints,
    recorder: Recorder,
    phase: watch::Receiver<Phase>,
    /// Told once it has heard all that there is.
    caught_up: Option<mpsc::Sender<()>>,
    rng: SmallRng,
    /// All up to it was heard.
    through: Revision,
}

/// An open stream.
struct Open {
    watch: WatchId,
    requests: mpsc::Sender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Watcher {
    pub(crate) fn new(
        (number, seed): (u32, u64),
        request: WatchRequest,
        endpoints: Endpoints,
        recorder: Recorder,
        phase: watch::Receiver<Phase>,
        caught_up: mpsc::Sender<()>,
    ) -> Self {
        Self {
            client: ClientId(number),
            request,
            endpoints,
            recorder,
            phase,
            caught_up: Some(caught_up),
            rng: SmallRng::seed_from_u64(seed ^ (u64::from(number) << 32)),
            through: Revision(0),
        }
    }

    /// Watches until the end.
    pub(crate) async fn run(mut self) {
        while !matches!(*self.phase.borrow(), Phase::End) {
            let Some(endpoint) = self.endpoints.any(&mut self.rng) else {
                return;
            };
            match self.open(endpoint.member, &endpoint.channel).await {
                Ok(mut open) => {
                    self.listen(&mut open).await;
                    self.recorder.hear_no_more(open.watch);
                }
                Err(watch) => self.recorder.hear_no_more(watch),
            }
            tokio::time::sleep(AFTER_ERROR).await;
        }
    }

    async fn open(&mut self, member: MemberId, channel: &Channel) -> Result<Open, WatchId> {
        let (requests, receiver) = mpsc::channel(4);
        let create = pb::WatchCreateRequest::from(&self.request);
        let request = self.request.clone();
        let watch = self.recorder.watch(self.client, member, request);
        let union = Some(RequestUnion::CreateRequest(create));
        let first = pb::WatchRequest {
            request_union: union,
        };
        requests.send(first).await.map_err(|_| watch)?;
        let mut client = WatchClient::new(channel.clone());
        let opened = client.watch(ReceiverStream::new(receiver));
        match tokio::time::timeout(OPEN_MAX, opened).await {
            Ok(Ok(responses)) => Ok(Open {
                watch,
                requests,
                responses: responses.into_inner(),
            }),
            Ok(Err(_)) | Err(_) => Err(watch),
        }
    }

    /// Hears until the stream ends.
    async fn listen(&mut self, open: &mut Open) {
        loop {
            let phase = *self.phase.borrow();
            if phase == Phase::End {
                return;
            }
            let pause = match phase {
                Phase::Finish(_) => PROGRESS_EVERY,
                Phase::Load | Phase::End => Duration::from_secs(1),
            };
            match tokio::time::timeout(pause, open.responses.message()).await {
                Ok(Ok(Some(message))) => {
                    if self.hear(open.watch, &message) {
                        return;
                    }
                    if self.rng.random_range(0..100) < PROGRESS_PERCENT {
                        ask_progress(open).await;
                    }
                }
                Ok(Ok(None) | Err(_)) => return,
                Err(_) => ask_progress(open).await,
            }
            if let Phase::Finish(revision) = phase
                && self.through >= revision
                && let Some(caught_up) = self.caught_up.take()
                && caught_up.send(()).await.is_err()
            {
                return;
            }
        }
    }

    /// Notes a message; whether it was the last.
    fn hear(&mut self, watch: WatchId, message: &pb::WatchResponse) -> bool {
        let response = WatchResponse::from_wire(self.recorder.now(), message);
        let through = match &response.says {
            WatchSays::Created => match self.request.start {
                None => Some(response.revision),
                Some(_) => None,
            },
            WatchSays::Events { events, fragment } => {
                let last = events.last().map(|event| event.kv.mod_revision);
                last.filter(|_| !fragment)
            }
            WatchSays::Progress => Some(response.revision),
            WatchSays::Canceled { compacted, .. } => {
                // What is gone cannot be heard any more.
                compacted.map(Revision::previous)
            }
        };
        if let Some(through) = through {
            self.through = self.through.max(through);
            self.request.start = Some(self.through.next());
        }
        let is_last = matches!(response.says, WatchSays::Canceled { .. });
        self.recorder.hear(watch, response);
        is_last
    }
}

async fn ask_progress(open: &Open) {
    let union = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
    let request = pb::WatchRequest {
        request_union: Some(union),
    };
    // If the stream is lost, the next message will say so.
    drop(open.requests.send(request).await);
}
