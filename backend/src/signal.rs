//! Wakes the committer before its interval is over.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Why a waiting committer woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The interval is over.
    Interval,
    /// Enough is buffered.
    Due,
    /// The committer is to end.
    Stop,
}

/// A flag that one thread waits for.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: Mutex<Option<Wake>>,
    changed: Condvar,
}

impl Signal {
    /// Forgets a stop, for the next committer.
    pub(crate) fn reset(&self) {
        *self.raised.lock() = None;
    }

    /// Says that a commit is due.
    pub(crate) fn due(&self) {
        let mut raised = self.raised.lock();
        if raised.is_none() {
            *raised = Some(Wake::Due);
            self.changed.notify_one();
        }
    }

    /// Says that the committer is to end.
    pub(crate) fn stop(&self) {
        *self.raised.lock() = Some(Wake::Stop);
        self.changed.notify_one();
    }

    /// Waits for the flag, but not longer than `interval`; a stop stays raised.
    pub(crate) fn wait(&self, interval: Duration) -> Wake {
        let mut raised = self.raised.lock();
        if raised.is_none() {
            self.changed.wait_for(&mut raised, interval);
        }
        match *raised {
            None => Wake::Interval,
            Some(Wake::Stop) => Wake::Stop,
            Some(wake) => {
                *raised = None;
                wake
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_wakes_once_and_stop_until_it_is_reset() {
        let signal = Signal::default();
        assert_eq!(signal.wait(Duration::ZERO), Wake::Interval);
        signal.due();
        signal.due();
        assert_eq!(signal.wait(Duration::MAX), Wake::Due);
        assert_eq!(signal.wait(Duration::ZERO), Wake::Interval);
        signal.stop();
        signal.due();
        assert_eq!(signal.wait(Duration::MAX), Wake::Stop);
        assert_eq!(signal.wait(Duration::MAX), Wake::Stop);
        signal.reset();
        assert_eq!(signal.wait(Duration::ZERO), Wake::Interval);
    }
}
