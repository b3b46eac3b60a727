//! A way to servers that a test opens and closes.

use std::io;
use std::net::SocketAddr;

use cairn_client::{Connecting, Endpoint, Socket};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Whether there is a way.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Closed,
    /// What is sent vanishes, and nobody is told.
    BlackHole,
}

/// Decides whether there is a way.
pub(crate) struct Gate(watch::Sender<State>);

impl Gate {
    /// Breaks every connection and lets no other be made.
    pub(crate) fn close(&self) {
        self.0.send_replace(State::Closed);
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(State::Open);
    }

    /// Lets everything vanish that is sent either way, without a word.
    pub(crate) fn swallow(&self) {
        self.0.send_replace(State::BlackHole);
    }
}

/// A gate that is open, and the connections that go through it.
pub(crate) fn gate() -> (
    Gate,
    impl Fn(Endpoint) -> Connecting + Send + Sync + 'static,
) {
    let (sender, state) = watch::channel(State::Open);
    let connector = move |endpoint: Endpoint| -> Connecting {
        let state = state.clone();
        Box::pin(async move { pass(&endpoint, state).await })
    };
    (Gate(sender), connector)
}

async fn pass(
    endpoint: &Endpoint,
    mut state: watch::Receiver<State>,
) -> io::Result<Box<dyn Socket>> {
    let now = *state.borrow_and_update();
    match now {
        State::Open => {}
        State::Closed => return Err(io::ErrorKind::ConnectionRefused.into()),
        State::BlackHole => std::future::pending().await,
    }
    let text = endpoint.to_string();
    let address = text.trim_start_matches("http://").parse::<SocketAddr>();
    let mut server = TcpStream::connect(address.map_err(io::Error::other)?).await?;
    let (client, mut inside) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        tokio::select! {
            _ = copy_bidirectional(&mut inside, &mut server) => {}
            _ = state.wait_for(|state| *state != State::Open) => {}
        }
        // Both sockets stay open as long as the hole is there.
        let _ = state.wait_for(|state| *state != State::BlackHole).await;
    });
    Ok(Box::new(client))
}
