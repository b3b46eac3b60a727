//! Watches: streams of changes that need no reconnect loop.
//!
//! [`Core`] is what many watches have in common on one gRPC stream, as a state machine: which
//! revision each goes on from, whom an answer belongs to, what to ask when the stream is new.
//! [`hub`] drives it over streams ([`way`]), and [`Queue`] is what a consumer reads from, with a bound.

mod answer;
mod core;
mod event;
mod hub;
#[cfg(feature = "websocket")]
mod json;
mod queue;
mod stream;
mod way;
#[cfg(feature = "websocket")]
mod websocket;

pub use event::{Event, Update};
pub use stream::{Watch, WatchRequest};

pub(crate) use hub::{Hub, Hubs};

use crate::client::Client;
use crate::keys::Keys;

impl Client {
    /// Watches keys: awaited, a [`Watch`], which is a stream of [`Update`]s.
    ///
    /// ```no_run
    /// # async fn run(client: cairn_client::Client) -> Result<(), cairn_client::Error> {
    /// use cairn_client::{Event, Keys, Update};
    ///
    /// let mut watch = client.watch(Keys::prefix("config/")).await?;
    /// while let Some(update) = watch.next().await {
    ///     match update? {
    ///         Update::Events { events, .. } => {
    ///             for event in events {
    ///                 match event {
    ///                     Event::Put { kv, .. } => println!("{:?} is {:?}", kv.key, kv.value),
    ///                     Event::Delete { key, .. } => println!("{key:?} is gone"),
    ///                 }
    ///             }
    ///         }
    ///         Update::Progress(revision) => println!("nothing else up to {revision}"),
    ///         Update::Compacted(revision) => println!("missed what was before {revision}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self, keys: impl Into<Keys>) -> WatchRequest {
        WatchRequest::new(self.clone(), &keys.into())
    }
}
