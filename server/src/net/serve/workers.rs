//! The threads that serve connections.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::connection::{self, ConnectionLimits};
use super::descriptors;
use super::listen_endpoint::ListenEndpoint;
use super::listener::{Bound, BoundAddress, Listener, SocketOptions};
use super::socket::Accepted;
use crate::settings::ListenAddress;

/// Connections that may wait for a worker to take them: more than a burst of clients at start, few
/// enough that a stuck worker is noticed by its clients and not by the machine's memory.
const HANDOVER_CONNECTIONS_MAX: usize = 1024;
/// How long to wait after a failed accept, so that a server out of descriptors does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A thread with a runtime of its own.
pub(crate) struct Worker {
    handle: Handle,
    connections: mpsc::Sender<Handover>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// A connection on its way to a worker.
struct Handover {
    accepted: Accepted,
    endpoint: Arc<ListenEndpoint>,
    /// Its part of the connections that there may be.
    permit: OwnedSemaphorePermit,
}

/// All workers of a server. Dropping them closes every connection.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    permits: Arc<Semaphore>,
}

impl Worker {
    fn start(name: String) -> io::Result<(Self, mpsc::Receiver<Handover>)> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let (connections, incoming) = mpsc::channel(HANDOVER_CONNECTIONS_MAX);
        let thread = thread::Builder::new().name(name).spawn(move || {
            // Both an order to stop and a dropped `Worker` end the runtime and all its tasks.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(Duration::from_millis(100));
        })?;
        Ok((
            Self {
                handle,
                connections,
                stop: Some(stop),
                thread: Some(thread),
            },
            incoming,
        ))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Workers {
    /// Starts a worker for each of `names`, which its thread gets.
    ///
    /// # Errors
    ///
    /// The system's, if it refuses a thread or a runtime's descriptors.
    pub(crate) fn start(
        names: impl IntoIterator<Item = String>,
        limits: ConnectionLimits,
    ) -> io::Result<Self> {
        let mut workers = Vec::new();
        for name in names {
            let (worker, mut incoming) = Worker::start(name)?;
            worker.handle.spawn(async move {
                while let Some(connection) = incoming.recv().await {
                    connection.serve(limits);
                }
            });
            workers.push(worker);
        }
        let connections_max = descriptors::connections_max().min(Semaphore::MAX_PERMITS);
        Ok(Self {
            workers,
            permits: Arc::new(Semaphore::new(connections_max)),
        })
    }

    /// Accepts connections at `address` from now on and deals them out in turn.
    ///
    /// # Errors
    ///
    /// The system's, most often that the address is in use.
    pub(crate) fn listen(
        &self,
        address: &ListenAddress,
        options: SocketOptions,
        endpoint: Arc<ListenEndpoint>,
    ) -> io::Result<BoundAddress> {
        let bound = Bound::bind(address, options)?;
        let at = bound.address()?;
        let senders: Vec<_> = self
            .workers
            .iter()
            .map(|worker| worker.connections.clone())
            .collect();
        let Some(first) = self.workers.first() else {
            return Ok(at);
        };
        let _runtime = first.handle.enter();
        let listener = bound.into_listener()?;
        let permits = Arc::clone(&self.permits);
        first
            .handle
            .spawn(accept(listener, endpoint, permits, senders));
        Ok(at)
    }

    /// The runtimes of all workers.
    pub(crate) fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.workers.iter().map(|worker| &worker.handle)
    }

    /// The runtime of the first worker, for the few tasks that belong to no connection.
    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.workers.first().map(|worker| &worker.handle)
    }
}

impl Handover {
    fn serve(self, limits: ConnectionLimits) {
        match self.accepted.into_socket() {
            Ok(socket) => {
                tokio::spawn(async move {
                    connection::serve(socket, self.endpoint, limits).await;
                    drop(self.permit);
                });
            }
            Err(error) => tracing::warn!(%error, "a connection was lost"),
        }
    }
}

async fn accept(
    listener: Listener,
    endpoint: Arc<ListenEndpoint>,
    permits: Arc<Semaphore>,
    workers: Vec<mpsc::Sender<Handover>>,
) {
    let mut turn = workers.iter().cycle();
    loop {
        // Clients beyond the limit wait in the listener's backlog.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let accepted = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Some(worker) = turn.next() else {
            return;
        };
        let connection = Handover {
            accepted,
            endpoint: Arc::clone(&endpoint),
            permit,
        };
        if worker.send(connection).await.is_err() {
            return;
        }
    }
}
