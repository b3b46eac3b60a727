//! A watch stream of a rule.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};

use super::context::Context;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Long enough for an answer that should not come to have come.
const SILENCE: Duration = Duration::from_millis(250);

/// A stream, and its answers.
pub(super) struct Watching {
    requests: mpsc::Sender<pb::WatchRequest>,
    answers: Streaming<pb::WatchResponse>,
}

impl Watching {
    /// A stream whose first request is `create`. A server may send nothing before its first answer.
    pub(super) async fn create(context: &Context, create: pb::WatchCreateRequest) -> Result<Self> {
        Self::create_with(context, create, None).await
    }

    /// The same, with metadata that wants a leader or carries a token.
    pub(super) async fn create_with(
        context: &Context,
        create: pb::WatchCreateRequest,
        metadata: Option<(&'static str, &str)>,
    ) -> Result<Self> {
        let (requests, receiver) = mpsc::channel(16);
        requests
            .send(request(RequestUnion::CreateRequest(create)))
            .await?;
        let mut call = Request::new(ReceiverStream::new(receiver));
        if let Some((name, value)) = metadata {
            call.metadata_mut().insert(name, value.parse()?);
        }
        let mut client = context.watches();
        let opened = tokio::time::timeout(ANSWER_MAX, client.watch(call)).await;
        Ok(Self {
            requests,
            answers: opened.context("no answer to a watch")??.into_inner(),
        })
    }

    /// A stream with one watcher that is there.
    pub(super) async fn on(context: &Context, create: pb::WatchCreateRequest) -> Result<Self> {
        let mut watching = Self::create(context, create).await?;
        let created = watching.next().await?;
        if !created.created || created.canceled {
            bail!("not created: {created:?}");
        }
        Ok(watching)
    }

    pub(super) async fn ask(&self, union: RequestUnion) -> Result<()> {
        Ok(self.requests.send(request(union)).await?)
    }

    pub(super) async fn add(&self, create: pb::WatchCreateRequest) -> Result<()> {
        self.ask(RequestUnion::CreateRequest(create)).await
    }

    pub(super) async fn cancel(&self, watch_id: i64) -> Result<()> {
        let cancel = pb::WatchCancelRequest { watch_id };
        self.ask(RequestUnion::CancelRequest(cancel)).await
    }

    pub(super) async fn progress(&self) -> Result<()> {
        self.ask(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}))
            .await
    }

    pub(super) async fn next(&mut self) -> Result<pb::WatchResponse> {
        let answer = tokio::time::timeout(ANSWER_MAX, self.answers.message()).await;
        answer
            .context("no answer of the watch in time")??
            .context("the watch ended")
    }

    /// The next so many events, however they come.
    pub(super) async fn events(&mut self, count: usize) -> Result<Vec<cairn_proto::mvccpb::Event>> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.next().await?.events);
        }
        Ok(events)
    }

    pub(super) async fn is_silent(&mut self) -> Result<()> {
        match tokio::time::timeout(SILENCE, self.answers.message()).await {
            Err(_) => Ok(()),
            Ok(answer) => bail!("it says {answer:?}"),
        }
    }
}

fn request(union: RequestUnion) -> pb::WatchRequest {
    pb::WatchRequest {
        request_union: Some(union),
    }
}
