//! Plays a script on one server, and collects the answers.

use anyhow::{Context, Result, bail};
use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::lease_client::LeaseClient;
use cairn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use cairn_proto::etcdserverpb::{
    HashKvRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, RangeRequest, WatchCreateRequest,
};
use tonic::{Response, Status};

use super::answer::Answer;
use super::gateway::{Channels, NO_ANSWER};
use super::generator::STREAMS;
use super::step::Step;
use super::watch_stream::WatchStream;
use crate::server_process::ServerProcess;

/// Plays a script on a fresh server: an answer for each step, and at last what the watches saw.
pub(super) async fn play(
    server: &ServerProcess,
    script: &[Step],
    is_json: bool,
) -> Result<Vec<Answer>> {
    let mut player = Player::new(server, is_json).await?;
    let mut answers = Vec::with_capacity(script.len() + 1);
    for step in script {
        let answer = player.step(step).await;
        let answer = answer.with_context(|| format!("{}: {}", server.name(), step.show()))?;
        // Two servers could agree in it.
        if let Answer::Failed { message, .. } = &answer
            && message.starts_with(NO_ANSWER)
        {
            bail!("{}: {}: {message}", server.name(), step.show());
        }
        answers.push(answer);
    }
    answers.push(player.finish().await?);
    Ok(answers)
}

struct Player {
    kv: KvClient<Channels>,
    lease: LeaseClient<Channels>,
    maintenance: MaintenanceClient<Channels>,
    streams: Vec<WatchStream>,
    /// Watches everything from the beginning, so that it is known what others must see.
    reference: WatchStream,
    /// The last revision that was compacted, 0 before that.
    compacted: i64,
}

impl Player {
    async fn new(server: &ServerProcess, is_json: bool) -> Result<Self> {
        let channel = server.channel()?;
        let streams = (0..STREAMS).map(|number| WatchStream::open(number, channel.clone()));
        let streams = streams.collect();
        let mut reference = WatchStream::open(STREAMS, channel.clone());
        let everything = WatchCreateRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            ..WatchCreateRequest::default()
        };
        reference.create(everything, 0).await?;
        let channel = Channels::of(server, is_json)?;
        Ok(Self {
            kv: KvClient::new(channel.clone()),
            lease: LeaseClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel),
            streams,
            reference,
            compacted: 0,
        })
    }

    async fn step(&mut self, step: &Step) -> Result<Answer> {
        Ok(match step {
            Step::Put(put) => Answer::new(self.kv.put(put.clone()).await, Answer::Put),
            Step::Range(range) => Answer::new(self.kv.range(range.clone()).await, Answer::Range),
            Step::Delete(delete) => {
                Answer::new(self.kv.delete_range(delete.clone()).await, Answer::Delete)
            }
            Step::Txn(txn) => Answer::new(self.kv.txn(txn.clone()).await, Answer::Txn),
            Step::Compact(compact) => {
                self.synchronize().await?;
                let answer = Answer::new(self.kv.compact(*compact).await, Answer::Compact);
                if matches!(answer, Answer::Compact(_)) {
                    self.compacted = compact.revision;
                }
                answer
            }
            Step::HashKv { revision } => {
                let request = HashKvRequest {
                    revision: *revision,
                };
                Answer::new(self.maintenance.hash_kv(request).await, Answer::HashKv)
            }
            Step::Grant(grant) => Answer::new(self.lease.lease_grant(*grant).await, Answer::Grant),
            Step::Revoke(revoke) => {
                Answer::new(self.lease.lease_revoke(*revoke).await, Answer::Revoke)
            }
            Step::TimeToLive(request) => Answer::new(
                self.lease.lease_time_to_live(*request).await,
                Answer::TimeToLive,
            ),
            Step::KeepAlive { lease } => self.keep_alive(*lease).await?,
            Step::Leases => Answer::new(
                self.lease.lease_leases(LeaseLeasesRequest {}).await,
                Answer::Leases,
            ),
            Step::Watch { stream, create } => {
                let compacted = self.compacted;
                let watches = self.stream(*stream)?;
                let created = watches.create(create.clone(), compacted).await?;
                if create.start_revision != 0 {
                    let now = self.synchronize().await?;
                    let watches = self.streams.get_mut(*stream).context("no such stream")?;
                    watches.settle(now, self.reference.first_events()).await;
                }
                created.map_or(Answer::Nothing, Answer::Watch)
            }
            Step::CancelWatch { stream, id } => {
                self.synchronize().await?;
                self.stream(*stream)?.cancel(*id).await?;
                Answer::Nothing
            }
            Step::Progress { stream } => {
                let now = self.synchronize().await?;
                Answer::Progress(self.stream(*stream)?.progress(now).await?)
            }
        })
    }

    async fn keep_alive(&mut self, id: i64) -> Result<Answer> {
        let request = tokio_stream::iter([LeaseKeepAliveRequest { id }]);
        let mut answers = match self.lease.lease_keep_alive(request).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Ok(Answer::new(Err(status), Answer::KeepAlive)),
        };
        let answer = answers.message().await;
        let answer = answer.and_then(|it| it.ok_or_else(|| Status::unknown("no answer")));
        Ok(Answer::new(answer.map(Response::new), Answer::KeepAlive))
    }

    async fn finish(mut self) -> Result<Answer> {
        self.synchronize().await?;
        let transcripts = self.streams.into_iter().flat_map(WatchStream::transcripts);
        Ok(Answer::Watched(transcripts.collect()))
    }

    fn stream(&mut self, number: usize) -> Result<&mut WatchStream> {
        self.streams.get_mut(number).context("no such stream")
    }

    /// Waits until all watches have seen all that happened; returns the current revision.
    async fn synchronize(&mut self) -> Result<i64> {
        let request = RangeRequest {
            key: vec![0].into(),
            ..RangeRequest::default()
        };
        let response = self.kv.range(request).await?.into_inner();
        let now = response.header.map_or(0, |header| header.revision);
        if now > 1 {
            self.reference.reach(now).await;
        }
        for stream in &mut self.streams {
            stream.catch_up(self.reference.first_events()).await;
        }
        Ok(now)
    }
}
