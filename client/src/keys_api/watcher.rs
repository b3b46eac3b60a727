//! Watching v2 keys by long polls.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::sleep;

use super::WatcherOptions;
use super::http::{Http, Query};
use super::node::{V2Error, V2Response};
use crate::error::Error;

/// How long to wait when no member answers.
const PAUSE: Duration = Duration::from_millis(200);

/// A watch of a v2 key.
#[derive(Debug)]
pub struct V2Watcher {
    http: Http,
    key: String,
    recursive: bool,
    /// The index that the next change has at least.
    next: Option<u64>,
    ready: VecDeque<V2Response>,
}

impl V2Watcher {
    pub(super) fn new(http: Http, key: &str, options: WatcherOptions) -> Self {
        Self {
            http,
            key: key.to_owned(),
            recursive: options.recursive,
            next: options.after_index.map(|after| after + 1),
            ready: VecDeque::new(),
        }
    }

    /// The next change. Nothing is lost if the future is dropped once a first change was told, or
    /// if [`WatcherOptions::after_index`] was given.
    ///
    /// # Errors
    ///
    /// [`V2Error`] with code 401 if changes were missed because the server's history, of 1000
    /// changes, no longer has them: read, and watch after the index of what was read.
    pub async fn next(&mut self) -> Result<V2Response, V2Error> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            let mut query = Query::default();
            query.flag("wait", true);
            query.flag("recursive", self.recursive);
            if let Some(next) = self.next {
                query.text("waitIndex", &next.to_string());
            }
            let next = &mut self.next;
            let told = self.http.poll(&self.key, query, |index| {
                // Where "now" is: a poll that breaks is taken up there.
                next.get_or_insert(index + 1);
            });
            match told.await {
                Ok(Some(change)) => {
                    self.next = Some(change.node.modified_index + 1);
                    self.ready.push_back(change);
                }
                // The server ended the poll, or went away.
                Ok(None) | Err(V2Error::Client(Error::Lost { .. })) => {}
                Err(V2Error::Client(Error::Unavailable { .. })) => sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }
}
