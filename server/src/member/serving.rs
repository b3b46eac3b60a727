//! From when on a member serves clients.
//!
//! A member that restarts with data of its own serves at once, before there is a leader, as any follower
//! that has lost one. A member without data, or into which another's database is on its way, would
//! answer from an empty store, at revision 1 where the cluster is at thousands: its clients wait until
//! it has made itself known through the log, as etcd's do.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether a member serves clients.
///
/// Invariant: once it is published, it serves.
#[derive(Debug)]
pub(crate) struct Serving {
    is_open: AtomicBool,
    is_published: AtomicBool,
    opened: Notify,
}

impl Serving {
    /// Of a member that starts with data of its own, or without.
    pub(crate) fn at_start(has_data: bool) -> Self {
        Self {
            is_open: AtomicBool::new(has_data),
            is_published: AtomicBool::new(false),
            opened: Notify::new(),
        }
    }

    /// Whether clients are served.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Waits until clients are served.
    pub(crate) async fn wait(&self) {
        while !self.is_open() {
            let opened = self.opened.notified();
            if !self.is_open() {
                opened.await;
            }
        }
    }

    /// The member has made itself known through the log: it has all that was acknowledged before.
    pub(crate) fn published(&self) {
        self.is_published.store(true, Ordering::SeqCst);
        self.is_open.store(true, Ordering::SeqCst);
        self.opened.notify_waiters();
    }

    /// The database of another member is on its way: what there is is far behind. It goes on serving
    /// if it has been published.
    pub(crate) fn receiving(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        if self.is_published.load(Ordering::SeqCst) {
            self.is_open.store(true, Ordering::SeqCst);
            self.opened.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_serves_at_once_with_data_of_its_own_and_otherwise_when_it_is_published() {
        let restarted = Serving::at_start(true);
        assert!(restarted.is_open());
        restarted.receiving();
        assert!(!restarted.is_open());
        restarted.published();
        assert!(restarted.is_open());
        restarted.receiving();
        assert!(restarted.is_open());
        let joining = Serving::at_start(false);
        assert!(!joining.is_open());
        joining.published();
        assert!(joining.is_open());
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_it_opens() {
        let serving = std::sync::Arc::new(Serving::at_start(false));
        let waiting = tokio::spawn({
            let serving = std::sync::Arc::clone(&serving);
            async move { serving.wait().await }
        });
        tokio::task::yield_now().await;
        serving.published();
        waiting.await.unwrap();
    }
}
