//! Watchers: how fast, how soon and at what cost a put reaches everyone who watches its key.
//!
//! Each value begins with the moment it was sent, so that every event tells its own latency.
//! All of it runs on one thread: its clock starts a put and reads every event.

mod receiver;

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use cairn_proto::etcdserverpb::PutRequest;
use tokio::task::LocalSet;

use crate::connection::{Connection, Method};
use crate::endpoint::Endpoint;
use crate::key_space::value;
use crate::latencies::Latencies;
use crate::measurement::{KindLatency, Measurement, Span};
use crate::progress::Progress;
use crate::scenario::watch::receiver::{Received, Receiver, STAMP_LEN, Way};
use crate::server_process::ServerProcess;
use crate::template::Template;

/// How long it may take until all watchers exist, or all have an event.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// Seed of the value's bytes.
const VALUE_SEED: u64 = 4;

/// When the next put is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pacing {
    /// When every watcher has the event of the last one: the server is never behind.
    Delivered,
    /// So many a second, however far behind the watchers are.
    Rate(f64),
}

/// How watchers hear of events; puts go by gRPC in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By gRPC, on streams that share connections.
    Grpc,
    /// By JSON over WebSockets; each stream has its own.
    WebSocket,
}

/// Watchers of one key, and puts to it.
#[derive(Clone, Debug)]
pub struct WatchPlan {
    /// The server.
    pub endpoint: Endpoint,
    /// How watchers hear of events.
    pub transport: Transport,
    /// The watched key.
    pub key: String,
    /// Watchers of the key; at least one.
    pub watchers: usize,
    /// Watch streams that they are spread over.
    pub streams: usize,
    /// Connections that the streams are spread over.
    pub connections: usize,
    /// Bytes of each value; at least eight.
    pub value_len: usize,
    /// When puts are sent.
    pub pacing: Pacing,
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub measure: Duration,
    /// The server's process, if its cost is wanted and known.
    pub server: Option<ServerProcess>,
}

impl WatchPlan {
    /// Runs it; the operations counted are events received.
    ///
    /// Latencies: `event` from sending a put to each watcher's event, `put` to its own answer,
    /// and, when each put waits for the last one's events, `all` to the last of them.
    ///
    /// # Errors
    ///
    /// If watchers cannot be created, a stream breaks, or events are lost.
    pub fn run(&self, name: &str, progress: Progress) -> Result<Measurement> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        LocalSet::new().block_on(&runtime, self.run_local(name, progress))
    }

    async fn run_local(&self, name: &str, progress: Progress) -> Result<Measurement> {
        let received = Rc::new(Received::new());
        self.open_watchers(&received).await?;
        let mut putter = Putter {
            connection: Connection::open(self.endpoint).await?,
            template: self.put_template(),
            received: Rc::clone(&received),
            watchers: self.watchers.max(1) as u64,
            pacing: self.pacing,
            puts: 0,
            put: Latencies::new(),
            all: Latencies::new(),
        };
        let bar = progress.bar(name);
        putter.put_for(self.warm_up, &|_| ()).await?;
        let span = Span::begin(self.server.as_slice())?;
        received.start_measuring();
        (putter.put, putter.all) = (Latencies::new(), Latencies::new());
        putter
            .put_for(self.measure, &|share| bar.show(share))
            .await?;
        let span = span.end()?;
        let (event, events) = received.stop_measuring();
        let latencies = [
            ("event", &event),
            ("put", &putter.put),
            ("all", &putter.all),
        ];
        Ok(Measurement {
            latencies: latencies
                .into_iter()
                .filter(|(_, latencies)| latencies.count() > 0)
                .map(|(kind, latencies)| KindLatency {
                    kind: kind.to_owned(),
                    latency: latencies.summary(),
                })
                .collect(),
            received_bytes: received.bytes(),
            ..Measurement::of(name, events, &span)
        })
    }

    async fn open_watchers(&self, received: &Rc<Received>) -> Result<()> {
        let watchers = self.watchers.max(1);
        let streams = self.streams.clamp(1, watchers);
        let mut connections = Vec::new();
        for _ in 0..self.connections.clamp(1, streams) {
            connections.push(Connection::open(self.endpoint).await?);
        }
        for (stream, connection) in (0..streams).zip(connections.iter().cycle()) {
            let share = watchers / streams + usize::from(stream < watchers % streams);
            let way = match self.transport {
                Transport::Grpc => Way::Grpc(connection.clone()),
                Transport::WebSocket => Way::WebSocket(self.endpoint),
            };
            let receiver = Receiver {
                way,
                key: Bytes::from(self.key.clone()),
                watchers: share,
                received: Rc::clone(received),
            };
            tokio::task::spawn_local(receiver.run());
        }
        received
            .wait_for(SETTLE_MAX, |received| received.created() == watchers as u64)
            .await
            .with_context(|| format!("creating {watchers} watchers, {} exist", received.created()))
    }

    /// A put whose value begins with a place for the moment it is sent.
    fn put_template(&self) -> Template {
        let placeholder = [0xff; STAMP_LEN];
        let tail = value(self.value_len.saturating_sub(STAMP_LEN), VALUE_SEED);
        let request = PutRequest {
            key: Bytes::from(self.key.clone()),
            value: [&placeholder[..], &tail[..]].concat().into(),
            ..PutRequest::default()
        };
        Template::new(&request, &placeholder)
    }
}

/// Sends puts and keeps their times.
struct Putter {
    connection: Connection,
    template: Template,
    received: Rc<Received>,
    watchers: u64,
    pacing: Pacing,
    puts: u64,
    put: Latencies,
    all: Latencies,
}

impl Putter {
    async fn put_for(&mut self, time: Duration, show: &dyn Fn(f64)) -> Result<()> {
        let start = Instant::now();
        let mut due = start;
        while start.elapsed() < time {
            show(start.elapsed().as_secs_f64() / time.as_secs_f64());
            let sent = Instant::now();
            let framed = self.template.fill(&self.received.stamp(sent));
            self.connection.call(Method::Put, framed).await?;
            self.put.record(sent.elapsed());
            self.puts += 1;
            match self.pacing {
                Pacing::Delivered => {
                    let expected = self.puts * self.watchers;
                    let delivered = |received: &Received| received.events() >= expected;
                    self.received
                        .wait_for(SETTLE_MAX, delivered)
                        .await
                        .with_context(|| {
                            format!("{} of {expected} events arrived", self.received.events())
                        })?;
                    self.all.record(sent.elapsed());
                }
                Pacing::Rate(rate) => {
                    ensure!(rate > 0.0, "a rate of {rate} puts a second");
                    due += Duration::try_from_secs_f64(1.0 / rate)?;
                    let end = start + time;
                    tokio::time::sleep_until(due.min(end).into()).await;
                    if let Some(error) = self.received.failure() {
                        bail!("{error}");
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_has_one_place_for_the_moment_of_sending() {
        let plan = WatchPlan {
            endpoint: "127.0.0.1:1".parse().unwrap(),
            transport: Transport::Grpc,
            key: "watched".to_owned(),
            watchers: 1,
            streams: 1,
            connections: 1,
            value_len: 256,
            pacing: Pacing::Delivered,
            warm_up: Duration::ZERO,
            measure: Duration::ZERO,
            server: None,
        };
        assert_eq!(plan.put_template().places(), 1);
        assert_eq!(
            WatchPlan {
                value_len: 0,
                ..plan
            }
            .put_template()
            .places(),
            1
        );
    }
}
