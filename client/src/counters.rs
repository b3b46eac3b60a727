//! What a client has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a client has done since it was made, clones included; see
/// [`Client::counters`](crate::Client::counters). Each number only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Calls with one answer, however they ended.
    pub calls: u64,
    /// Of these, those that ended with an error.
    pub failed: u64,
    /// Of the errors, those that leave open whether a write was applied.
    pub ambiguous: u64,
    /// Attempts that failed and were repeated.
    pub retries: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Connections that were lost.
    pub connections_lost: u64,
    /// Streams that watches went over, one after the other.
    pub watch_streams: u64,
    /// Streams that leases were renewed over, one after the other.
    pub lease_streams: u64,
    /// Tokens that were fetched.
    pub logins: u64,
}

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// [`Counters`] as they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    pub(crate) calls: Count,
    pub(crate) failed: Count,
    pub(crate) ambiguous: Count,
    pub(crate) retries: Count,
    pub(crate) connections: Count,
    pub(crate) connections_lost: Count,
    pub(crate) watch_streams: Count,
    pub(crate) lease_streams: Count,
    pub(crate) logins: Count,
}

impl Counting {
    pub(crate) fn read(&self) -> Counters {
        Counters {
            calls: self.calls.get(),
            failed: self.failed.get(),
            ambiguous: self.ambiguous.get(),
            retries: self.retries.get(),
            connections: self.connections.get(),
            connections_lost: self.connections_lost.get(),
            watch_streams: self.watch_streams.get(),
            lease_streams: self.lease_streams.get(),
            logins: self.logins.get(),
        }
    }
}
