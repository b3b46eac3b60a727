//! An ordinary client beside hostile ones: a put every 10 ms, and now and then a newcomer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use cairn_bench::latencies::Latencies;
use cairn_proto::etcdserverpb::PutRequest;
use prost::Message;
use tokio::task::JoinSet;

use super::caller::{Caller, framed};
use super::port::Port;

/// Between two puts.
const INTERVAL: Duration = Duration::from_millis(10);
/// Between two newcomers, each of whom connects and puts once.
const NEWCOMER_INTERVAL: Duration = Duration::from_millis(500);
/// No answer for so long is none.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const PATH: &str = "/etcdserverpb.KV/Put";

/// Puts that go out on time, whatever became of those before.
pub(super) struct Pulse {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What came of the puts.
#[derive(Debug, Default)]
pub(super) struct Beats {
    pub(super) puts: Latencies,
    pub(super) newcomers: Latencies,
    /// What puts and newcomers were told who were not served.
    pub(super) failures: Vec<String>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    beats: Mutex<Beats>,
}

impl Pulse {
    pub(super) fn start(port: Port) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("pulse".to_owned())
            .spawn(move || beat(&port, &own))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Ends it, after the last put was answered.
    pub(super) fn end(mut self) -> Result<Beats> {
        self.shared.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it has ended")?;
        thread.join().map_err(|_| anyhow!("the pulse panicked"))??;
        Ok(std::mem::take(&mut *self.shared.beats()))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn beats(&self) -> std::sync::MutexGuard<'_, Beats> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what came of a put that was due at `due`.
    fn note(&self, due: Instant, ended: Result<()>, latencies: fn(&mut Beats) -> &mut Latencies) {
        let mut beats = self.beats();
        match ended {
            Ok(()) => latencies(&mut beats).record(due.elapsed()),
            Err(error) => beats.failures.push(format!("{error:#}")),
        }
    }
}

fn beat(port: &Port, shared: &Arc<Shared>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let put = PutRequest {
        key: "pulse".into(),
        value: "beat".into(),
        ..PutRequest::default()
    };
    let put = framed(&put.encode_to_vec());
    runtime.block_on(async {
        let caller = Arc::new(Caller::connect(port).await?);
        let mut clock = tokio::time::interval(INTERVAL);
        let mut running = JoinSet::new();
        let mut newcomer_due = Instant::now();
        while !shared.ended.load(Ordering::Relaxed) {
            let due = clock.tick().await.into_std();
            let (caller, put, shared) = (Arc::clone(&caller), put.clone(), Arc::clone(shared));
            if due >= newcomer_due {
                newcomer_due = due + NEWCOMER_INTERVAL;
                let (port, put, shared) = (port.clone(), put.clone(), Arc::clone(&shared));
                running.spawn(async move {
                    let ended = in_time(come_and_put(&port, put)).await;
                    let ended = ended.context("a newcomer");
                    shared.note(due, ended, |beats| &mut beats.newcomers);
                });
            }
            running.spawn(async move {
                let ended = in_time(put_once(&caller, put)).await;
                shared.note(due, ended, |beats| &mut beats.puts);
            });
            while running.try_join_next().is_some() {}
        }
        while running.join_next().await.is_some() {}
        Ok(())
    })
}

async fn in_time(put: impl Future<Output = Result<()>>) -> Result<()> {
    match tokio::time::timeout(ANSWER_MAX, put).await {
        Ok(ended) => ended,
        Err(_) => bail!("no answer for {ANSWER_MAX:?}"),
    }
}

async fn come_and_put(port: &Port, put: Bytes) -> Result<()> {
    put_once(&Caller::connect(port).await?, put).await
}

async fn put_once(caller: &Caller, put: Bytes) -> Result<()> {
    let ended = caller.call(PATH, put).await?;
    if ended.is_ok() {
        Ok(())
    } else {
        bail!("{ended}")
    }
}
