//! The load generator: many logical clients in a closed loop, over few connections.
//!
//! Each generator thread has a runtime of its own; each client is a task that sends its next
//! request when the last one is answered. The calling thread only watches the clock: it lets the
//! clients warm up, reads the server's processor time, lets them run, and stops them.
//!
//! **Coordinated omission.** Without a rate the loop is closed: a server that stalls is sent
//! nothing meanwhile, so the latencies say what these clients saw, not what arrivals at a steady
//! rate would have seen. With a rate each request has a due time, and a request that is late
//! because the one before it was slow is timed from when it was due.

mod client;
mod exchange;
mod gate;
mod tally;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use tokio::task::LocalSet;

use crate::connection::{Connection, Method};
use crate::endpoint::Endpoint;
use crate::http1::{HttpConnection, HttpRequest};
use crate::load::client::{Client, Pace};
use crate::load::exchange::Exchange;
use crate::load::gate::{Gate, Phase, TICK};
use crate::load::tally::Tally;
use crate::measurement::{Measurement, Span};
use crate::progress::Progress;
use crate::target::Target;
use crate::user;

/// How long clients may take to finish after the end, and to connect before the start.
const GRACE: Duration = Duration::from_secs(30);

/// One request: what a [`Workload`] hands to a client.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is sent.
    pub payload: Payload,
    /// Which of [`Workload::kinds`] it is.
    pub kind: usize,
}

/// What is sent, by a channel that fits.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A message to a gRPC method.
    Grpc {
        /// The method.
        method: Method,
        /// The message, framed.
        framed: Bytes,
    },
    /// By [`Channel::Http`].
    Http(Box<HttpRequest>),
}

/// How one client's requests and answers travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Each request is a call of its own.
    Calls,
    /// Each client holds one stream open, on which a request is a message and its answer another.
    Stream,
    /// Each client has an HTTP/1.1 connection of its own, on which one request follows the other.
    Http,
}

/// What the clients send.
pub trait Workload: Sync {
    /// How it travels.
    fn channel(&self) -> Channel {
        Channel::Calls
    }

    /// The names of its kinds of requests; each has a histogram of its own.
    fn kinds(&self) -> &[&'static str];

    /// The requests of one client, given each request's number in the whole run.
    fn client(&self, index: usize) -> Box<dyn FnMut(u64) -> Call>;
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After a warm-up, this long.
    Duration {
        /// Not measured.
        warm_up: Duration,
        /// Measured.
        measure: Duration,
    },
    /// After this many requests, all measured, or at the deadline.
    Count {
        /// How many requests.
        requests: u64,
        /// The longest that it may take.
        deadline: Duration,
    },
}

/// How load is generated.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Where it goes.
    pub target: Target,
    /// Generator threads; at least one is used.
    pub threads: usize,
    /// HTTP/2 connections, spread over the threads; at least one a thread. Clients that speak
    /// HTTP/1.1 have one each.
    pub connections: usize,
    /// Logical clients, spread over the connections; at least one a thread.
    pub clients: usize,
    /// Requests per second of all clients together; `None`: as fast as answers come.
    pub rate: Option<f64>,
    /// When it ends.
    pub limit: Limit,
}

impl LoadPlan {
    /// Runs a workload and returns what it measured, under the given name.
    ///
    /// # Errors
    ///
    /// If no connection can be had or every request failed; single errors are counted.
    pub fn run(
        &self,
        name: &str,
        workload: &dyn Workload,
        progress: Progress,
    ) -> Result<Measurement> {
        let threads = self.threads.max(1);
        let gate = Arc::new(Gate::new(self.limit, threads));
        let kinds = workload.kinds();
        let (span, tallies) = std::thread::scope(|scope| {
            let generators: Vec<_> = (0..threads)
                .map(|thread| {
                    let gate = Arc::clone(&gate);
                    std::thread::Builder::new()
                        .name(format!("generator-{thread}"))
                        .spawn_scoped(scope, move || self.generate(thread, workload, &gate))
                })
                .collect();
            let span = self.watch(&gate, name, progress);
            gate.enter(Phase::Stop);
            let tallies: Vec<Result<Tally>> = generators
                .into_iter()
                .map(|generator| {
                    generator?
                        .join()
                        .map_err(|_| anyhow!("a generator thread panicked"))?
                })
                .collect();
            (span, tallies)
        });
        let mut total = Tally::new(kinds.len());
        for tally in tallies {
            total.merge(&tally?);
        }
        if total.completed() == 0 {
            bail!(
                "{name}: no request succeeded: {}",
                total.first_error.unwrap_or_default()
            );
        }
        Ok(total.into_measurement(name, kinds, &span?))
    }

    /// The calling thread's part: phases by the clock, and the server's cost at their ends.
    fn watch(&self, gate: &Gate, name: &str, progress: Progress) -> Result<Span> {
        gate.wait_for_generators();
        let bar = progress.bar(name);
        let (warm_up, measure) = match self.limit {
            Limit::Duration { warm_up, measure } => (warm_up, measure),
            Limit::Count { deadline, .. } => (Duration::ZERO, deadline),
        };
        if !warm_up.is_zero() {
            gate.enter(Phase::WarmUp);
            gate.wait_until(Instant::now() + warm_up, || ());
        }
        let before = Span::begin(self.target.processes())?;
        gate.enter(Phase::Measure);
        let start = Instant::now();
        gate.wait_until(start + measure, || {
            bar.show(match self.limit {
                Limit::Duration { .. } => start.elapsed().as_secs_f64() / measure.as_secs_f64(),
                Limit::Count { requests, .. } => gate.share_taken(requests),
            });
        });
        let span = before.end()?;
        gate.enter(Phase::Stop);
        Ok(span)
    }

    /// A generator thread's part: connects, runs its share of the clients, counts.
    fn generate(&self, thread: usize, workload: &dyn Workload, gate: &Arc<Gate>) -> Result<Tally> {
        let _ended = gate.generator();
        let threads = self.threads.max(1);
        let share = |all: usize| (all / threads + usize::from(thread < all % threads)).max(1);
        let started = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(anyhow::Error::from)
            .and_then(|runtime| {
                let all = self.clients.max(threads);
                let clients: Vec<usize> = (thread..all).step_by(threads).collect();
                let connections = share(self.connections);
                let open = self.open_all(workload.channel(), clients.len(), connections);
                let exchanges = runtime.block_on(open)?;
                Ok((runtime, clients, exchanges))
            });
        // Whatever happened: the others wait here.
        gate.wait_for_generators();
        let (runtime, indices, exchanges) = started?;
        let tally = Rc::new(RefCell::new(Tally::new(workload.kinds().len())));
        let clients = LocalSet::new();
        let all = self.clients.max(threads);
        for (index, exchange) in indices.into_iter().zip(exchanges) {
            clients.spawn_local(
                Client {
                    exchange,
                    next_call: workload.client(index),
                    pace: self.rate.map(|rate| Pace::new(rate, index, all)),
                    tally: Rc::clone(&tally),
                    gate: Arc::clone(gate),
                }
                .run(),
            );
        }
        let overdue = async {
            while gate.phase() != Phase::Stop {
                tokio::time::sleep(TICK * 10).await;
            }
            tokio::time::sleep(GRACE).await;
        };
        let in_time = runtime.block_on(async {
            tokio::select! {
                () = clients => true,
                () = overdue => false,
            }
        });
        let mut tally = tally.borrow().clone();
        if !in_time {
            tally.error("a request was not answered in time");
        }
        Ok(tally)
    }

    /// The ways of so many clients to the server.
    async fn open_all(
        &self,
        channel: Channel,
        clients: usize,
        connections: usize,
    ) -> Result<Vec<Exchange>> {
        let count = match channel {
            Channel::Calls | Channel::Stream => connections.min(clients),
            Channel::Http => clients,
        };
        let mut opened = Vec::with_capacity(count);
        for endpoint in self.target.in_turn().take(count) {
            let open = tokio::time::timeout(GRACE, self.open(channel, endpoint)).await;
            opened.push(open.map_err(|_| anyhow!("{endpoint} does not answer"))??);
        }
        // Clients of HTTP/2 share connections.
        let shared = (0..clients.saturating_sub(count)).zip((0..count).cycle());
        let shared: Vec<Exchange> = shared
            .filter_map(|(_, at)| opened.get(at)?.another())
            .collect();
        opened.extend(shared);
        opened.truncate(clients);
        Ok(opened)
    }

    async fn open(&self, channel: Channel, endpoint: Endpoint) -> Result<Exchange> {
        let own = user::own();
        let user = self.target.user().or(own);
        Ok(match channel {
            Channel::Calls => Exchange::Calls(Connection::open_as(endpoint, user).await?),
            Channel::Stream => Exchange::stream(Connection::open_as(endpoint, user).await?),
            Channel::Http => Exchange::Http(HttpConnection::open(endpoint).await?),
        })
    }
}
