//! `cairn gateway start`: connections to one address, passed on byte by byte to the members of a cluster.
//!
//! It knows nothing of what goes through it, TLS included: which member a connection goes to is all that
//! it decides ([`Choice`]). A member that cannot be reached gets no connections until a look, one every
//! `--retry-delay`, finds it again; the connection goes to the next one meanwhile.

mod choice;
mod endpoints;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub(crate) use self::choice::Remote;
use self::choice::{Choice, RemoteId};
pub(crate) use self::endpoints::{find, given};

/// How long a member may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait after a failed accept, so that a gateway out of descriptors does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Connections that are passed on at once; later ones wait to be accepted. Each takes two descriptors.
const CONNECTIONS_MAX: usize = 16 * 1024;

/// A gateway that is ready to pass on.
pub(crate) struct Gateway {
    listener: TcpListener,
    choice: Arc<Mutex<Choice>>,
    retry_delay: Duration,
}

impl Gateway {
    /// Listens at `address` for the sake of `remotes`.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) async fn bind(
        address: SocketAddr,
        remotes: Vec<Remote>,
        retry_delay: Duration,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            choice: Arc::new(Mutex::new(Choice::new(remotes))),
            retry_delay,
        })
    }

    /// Passes connections on, until the process ends.
    pub(crate) async fn run(self) {
        let endpoints = self.choice.lock().addresses().join(",");
        tracing::info!(endpoints, "ready to proxy client requests");
        tokio::join!(self.accept(), self.look_again());
    }

    async fn accept(&self) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((client, _)) => {
                    let choice = Arc::clone(&self.choice);
                    let retry_delay = self.retry_delay;
                    tokio::spawn(async move {
                        pass_on(client, &choice, retry_delay).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    /// Looks for members that could not be reached.
    async fn look_again(&self) {
        loop {
            tokio::time::sleep(self.retry_delay).await;
            let missing = self.choice.lock().inactive();
            for (id, address) in missing {
                match connect(&address).await {
                    Ok(_) => {
                        self.choice.lock().activate(id);
                        tracing::info!(address, "activated");
                    }
                    Err(error) => tracing::warn!(
                        address,
                        interval = ?self.retry_delay,
                        %error,
                        "failed to activate endpoint (stay inactive for another interval)"
                    ),
                }
            }
        }
    }
}

/// Carries one connection to its end. A client of whom no member wants anything is cut off.
async fn pass_on(mut client: TcpStream, choice: &Mutex<Choice>, retry_delay: Duration) {
    let Some(mut member) = reach(choice, retry_delay).await else {
        return;
    };
    // Requests and answers are small, and wait for each other.
    let _ = client.set_nodelay(true);
    let _ = member.set_nodelay(true);
    // Whichever side ends first, or breaks, ends the other too.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut member).await;
}

/// A connection to a member: to one that was there when last tried, or else to any.
async fn reach(choice: &Mutex<Choice>, retry_delay: Duration) -> Option<TcpStream> {
    loop {
        let picked = choice.lock().pick(&mut rand::rng());
        let Some((id, address)) = picked else {
            break;
        };
        match connect(&address).await {
            Ok(member) => return Some(member),
            Err(error) => {
                choice.lock().deactivate(id);
                tracing::warn!(address, interval = ?retry_delay, %error, "deactivated endpoint");
            }
        }
    }
    // All are missing: one that has come back need not wait for the next look.
    let missing: Vec<(RemoteId, String)> = choice.lock().inactive();
    for (id, address) in missing {
        if let Ok(member) = connect(&address).await {
            choice.lock().activate(id);
            tracing::info!(address, "activated");
            return Some(member);
        }
    }
    None
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
