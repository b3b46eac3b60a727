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
use crate::load::client::{Client, Pace};
use crate::load::exchange::Exchange;
use crate::load::gate::{Gate, Phase, TICK};
use crate::load::tally::Tally;
use crate::measurement::{Measurement, Span};
use crate::progress::Progress;
use crate::target::Target;

/// How long clients may take to finish after the end, and to connect before the start.
const GRACE: Duration = Duration::from_secs(30);

/// One request: what a [`Workload`] hands to a client.
#[derive(Clone, Debug)]
pub struct Call {
    /// The gRPC method.
    pub method: Method,
    /// The framed request.
    pub framed: Bytes,
    /// Which of [`Workload::kinds`] it is.
    pub kind: usize,
}

/// How one client's requests and answers travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Each request is a call of its own.
    Calls,
    /// Each client holds one stream open, on which a request is a message and its answer another.
    Stream,
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
    /// HTTP/2 connections, spread over the threads; at least one a thread.
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
                let open = open_all(&self.target, share(self.connections));
                let connections = runtime.block_on(open)?;
                Ok((runtime, connections))
            });
        // Whatever happened: the others wait here.
        gate.wait_for_generators();
        let (runtime, connections) = started?;
        let tally = Rc::new(RefCell::new(Tally::new(workload.kinds().len())));
        let clients = LocalSet::new();
        let all = self.clients.max(threads);
        for (index, connection) in (thread..all)
            .step_by(threads)
            .zip(connections.iter().cycle())
        {
            clients.spawn_local(
                Client {
                    exchange: Exchange::new(connection.clone(), workload.channel()),
                    next_call: workload.client(index),
                    pace: self.rate.map(|rate| Pace::new(rate, index, all)),
                    tally: Rc::clone(&tally),
                    gate: Arc::clone(gate),
                }
                .run(),
            );
        }
        drop(connections);
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
}

async fn open_all(target: &Target, count: usize) -> Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    for endpoint in target.in_turn().take(count) {
        let open = async {
            match target.user() {
                Some(user) => Connection::open_as(endpoint, Some(user)).await,
                None => Connection::open(endpoint).await,
            }
        };
        let open = tokio::time::timeout(GRACE, open);
        connections.push(
            open.await
                .map_err(|_| anyhow!("{endpoint} does not answer"))??,
        );
    }
    Ok(connections)
}
