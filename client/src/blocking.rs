//! The client for programs without a runtime.
//!
//! ```no_run
//! use cairn_client::{blocking, Keys};
//!
//! # fn run() -> Result<(), cairn_client::Error> {
//! let client = blocking::Client::connect(["http://127.0.0.1:2379"])?;
//! client.wait(client.put("greeting", "hello"))?;
//! for kv in client.iter(client.range(Keys::all()).stream()) {
//!     println!("{:?}", kv?.key);
//! }
//! # Ok(())
//! # }
//! ```

use std::future::IntoFuture;
use std::ops::Deref;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_stream::{Stream, StreamExt as _};

use crate::connect::ConnectOptions;
use crate::error::Error;

/// A client whose requests are waited for: it derefs to [`crate::Client`], which makes them, and
/// [`Client::wait`] sends them. What goes on in the background (leases, watches, caches) does so on
/// a thread of its own. It must not be used within an asynchronous runtime.
#[derive(Clone, Debug)]
pub struct Client {
    client: crate::Client,
    runtime: Arc<Runtime>,
}

/// A runtime that a thread drives until this is dropped.
#[derive(Debug)]
struct Runtime {
    handle: Handle,
    _ends: oneshot::Sender<()>,
}

impl Runtime {
    fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (ends, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("etcd-client".to_owned())
            .spawn(move || runtime.block_on(ended))?;
        Ok(Self {
            handle,
            _ends: ends,
        })
    }
}

impl Client {
    /// Connects to a cluster.
    ///
    /// # Errors
    ///
    /// As [`crate::Client::connect`].
    pub fn connect<I>(endpoints: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::connect_with(ConnectOptions::new(endpoints)?)
    }

    /// Connects to a cluster as told.
    ///
    /// # Errors
    ///
    /// As [`ConnectOptions::connect`]; [`Error::Invalid`] if there can be no thread.
    pub fn connect_with(options: ConnectOptions) -> Result<Self, Error> {
        let runtime = Runtime::start();
        let runtime = runtime.map_err(|error| Error::invalid("thread", error.to_string()))?;
        let client = runtime.handle.block_on(options.connect())?;
        Ok(Self {
            client,
            runtime: Arc::new(runtime),
        })
    }

    /// Sends a request and waits for the answer.
    pub fn wait<F: IntoFuture>(&self, request: F) -> F::Output {
        self.runtime.handle.block_on(request.into_future())
    }

    /// The items of a stream, each waited for: a watch, a range of many keys.
    pub fn iter<S: Stream + Unpin>(&self, mut stream: S) -> impl Iterator<Item = S::Item> {
        std::iter::from_fn(move || self.runtime.handle.block_on(stream.next()))
    }
}

impl Deref for Client {
    type Target = crate::Client;

    fn deref(&self) -> &crate::Client {
        &self.client
    }
}
