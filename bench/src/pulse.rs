//! Small puts at a steady pace, and when they were acknowledged: from outside, a cluster is
//! without a leader for as long as no write is.
//!
//! Each put goes out on time, to the next member in turn, whatever became of those before it, so
//! that what is measured is the cluster, and not how patient a client is: a put that was lost with
//! a leader is answered seconds later with an error, and a client that waited for that would see
//! those seconds too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use cairn_proto::etcdserverpb::PutRequest;
use tokio::task::LocalSet;

use crate::connection::{Connection, Method};
use crate::endpoint::Endpoint;
use crate::framing::frame;

/// Between two puts.
const INTERVAL: Duration = Duration::from_millis(5);
/// How often those who wait look.
const LOOK: Duration = Duration::from_millis(2);

/// Puts that go out until it is ended or dropped.
#[derive(Debug)]
pub struct Pulse {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    acknowledged: Mutex<Vec<Beat>>,
}

/// A put that was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Beat {
    sent: Instant,
    acknowledged: Instant,
}

impl Pulse {
    /// Begins to put to these members in turn.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started; failing puts only count as not acknowledged.
    pub fn start(endpoints: Vec<Endpoint>) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("pulse".to_owned())
            .spawn(move || beat(&endpoints, &own))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Waits until a put that was sent after `moment` is acknowledged.
    ///
    /// # Errors
    ///
    /// If none is for so long, or puts could not be sent at all.
    pub fn wait_for_one_sent_after(&self, moment: Instant, wait_max: Duration) -> Result<()> {
        let deadline = Instant::now() + wait_max;
        while !self.beats().iter().any(|beat| beat.sent > moment) {
            if Instant::now() >= deadline {
                bail!("no write was acknowledged for {wait_max:?}");
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Ends it, and returns when puts were acknowledged, in order.
    ///
    /// # Errors
    ///
    /// If no connection could be had.
    pub fn end(mut self) -> Result<Vec<Instant>> {
        self.shared.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it has ended")?;
        thread.join().map_err(|_| anyhow!("the pulse panicked"))??;
        let beats = self.beats();
        Ok(beats.iter().map(|beat| beat.acknowledged).collect())
    }

    fn beats(&self) -> std::sync::MutexGuard<'_, Vec<Beat>> {
        self.shared.beats()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn beats(&self) -> std::sync::MutexGuard<'_, Vec<Beat>> {
        // The list is whole at any moment: a panic elsewhere does not spoil it.
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's part.
fn beat(endpoints: &[Endpoint], shared: &Arc<Shared>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let put = frame(&PutRequest {
        key: "pulse".into(),
        value: "beat".into(),
        ..PutRequest::default()
    });
    LocalSet::new().block_on(&runtime, async {
        let mut connections = Vec::new();
        for &endpoint in endpoints {
            connections.push(Connection::open(endpoint).await?);
        }
        let mut clock = tokio::time::interval(INTERVAL);
        for connection in connections.iter().cycle() {
            clock.tick().await;
            if shared.ended.load(Ordering::Relaxed) {
                break;
            }
            let (mut connection, put) = (connection.clone(), put.clone());
            let shared = Arc::clone(shared);
            tokio::task::spawn_local(async move {
                let sent = Instant::now();
                if connection.call(Method::Put, put).await.is_ok() {
                    let acknowledged = Instant::now();
                    shared.beats().push(Beat { sent, acknowledged });
                }
            });
        }
        Ok(())
    })
}
