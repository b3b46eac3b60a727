//! The threads that serve connections.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use axum::Router;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};

use super::connection::{self, ConnectionLimits};

/// Connections that may wait for a worker to take them: more than a burst of clients at start, few
/// enough that a stuck worker is noticed by its clients and not by the machine's memory.
const HANDOVER_CONNECTIONS_MAX: usize = 1024;
/// How long to wait after a failed accept, so that a server out of descriptors does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A thread with a runtime of its own.
pub struct Worker {
    handle: Handle,
    connections: mpsc::Sender<TcpStream>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// All workers of a server. Dropping them closes every connection.
pub struct Workers {
    workers: Vec<Worker>,
}

impl Worker {
    fn start(number: usize) -> io::Result<(Self, mpsc::Receiver<TcpStream>)> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let (connections, incoming) = mpsc::channel(HANDOVER_CONNECTIONS_MAX);
        let thread = thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
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
    /// Starts `count` workers, each serving what it is handed with `router`.
    ///
    /// # Errors
    ///
    /// The system's, if it refuses a thread or a runtime's descriptors.
    pub fn start(count: usize, router: &Router, limits: ConnectionLimits) -> io::Result<Self> {
        let mut workers = Vec::with_capacity(count);
        for number in 0..count {
            let (worker, mut incoming) = Worker::start(number)?;
            let router = router.clone();
            worker.handle.spawn(async move {
                while let Some(stream) = incoming.recv().await {
                    match tokio::net::TcpStream::from_std(stream) {
                        Ok(stream) => {
                            tokio::spawn(connection::serve(stream, router.clone(), limits));
                        }
                        Err(error) => tracing::warn!(%error, "a connection was lost"),
                    }
                }
            });
            workers.push(worker);
        }
        Ok(Self { workers })
    }

    /// Accepts connections on `address` from now on and deals them out in turn.
    ///
    /// # Errors
    ///
    /// The system's, most often that the address is in use.
    pub fn listen(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = bind(address)?;
        let bound = listener.local_addr()?;
        let senders: Vec<_> = self
            .workers
            .iter()
            .map(|worker| worker.connections.clone())
            .collect();
        let Some(first) = self.workers.first() else {
            return Ok(bound);
        };
        let _runtime = first.handle.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        first.handle.spawn(accept(listener, senders));
        Ok(bound)
    }

    /// The runtimes of all workers.
    pub fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.workers.iter().map(|worker| &worker.handle)
    }

    /// The runtime of the first worker, for the few tasks that belong to no connection.
    pub fn handle(&self) -> Option<&Handle> {
        self.workers.first().map(|worker| &worker.handle)
    }
}

async fn accept(listener: tokio::net::TcpListener, workers: Vec<mpsc::Sender<TcpStream>>) {
    let mut turn = workers.iter().cycle();
    loop {
        let accepted = match listener.accept().await {
            Ok((stream, _)) => stream.into_std(),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let (Ok(stream), Some(worker)) = (accepted, turn.next()) else {
            continue;
        };
        if worker.send(stream).await.is_err() {
            return;
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    /// Connections that the system may hold before they are accepted.
    const BACKLOG: i32 = 4096;

    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        None,
    )?;
    // A restarted server must not wait for its old connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
