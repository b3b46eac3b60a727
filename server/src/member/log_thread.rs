//! The log thread: writes and syncs what the consensus thread gives it, so that ticks, heartbeats
//! and answers never wait for the disk (docs/decisions/0009).

use cairn_consensus::{LogDone, LogWork, NodeError, SharedLog};
use crossbeam_channel::{Receiver, Sender, bounded};

/// What may wait for the disk before entries of a leader are left in the inbox.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// The log thread's state.
pub(crate) struct LogThread {
    log: SharedLog,
    work: Receiver<LogWork>,
    done: Sender<LogDone>,
}

impl LogThread {
    /// Runs until the consensus thread is gone.
    ///
    /// # Errors
    ///
    /// [`NodeError`]: what is on disk is not known and the process must stop.
    pub(crate) fn run(self) -> Result<(), NodeError> {
        for work in self.work {
            let done = self.log.perform(work)?;
            if self.done.send(done).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// The consensus thread's end: what it has given to the log thread, and what waits its turn.
///
/// Invariants:
/// 1. Work is given in the order in which it came; at most one piece is with the thread.
/// 2. Nothing waits unless the thread has work. What waits is joined: one write, one sync.
pub(crate) struct LogHandle {
    work: Sender<LogWork>,
    done: Receiver<LogDone>,
    is_busy: bool,
    waiting: LogWork,
    waiting_bytes: usize,
}

impl LogHandle {
    /// The handle and its thread, around `log`.
    pub(crate) fn new(log: SharedLog) -> (Self, LogThread) {
        let (work, works) = bounded(1);
        let (dones, done) = bounded(1);
        let handle = Self {
            work,
            done,
            is_busy: false,
            waiting: LogWork::default(),
            waiting_bytes: 0,
        };
        let thread = LogThread {
            log,
            work: works,
            done: dones,
        };
        (handle, thread)
    }

    /// Has `work` done, after all that was given before.
    pub(crate) fn give(&mut self, work: LogWork) {
        self.waiting_bytes += work.bytes();
        self.waiting.join(work);
        self.hand_on();
    }

    /// What has been done since the last call, if anything.
    pub(crate) fn take_done(&mut self) -> Option<LogDone> {
        let done = self.done.try_recv().ok()?;
        self.is_busy = false;
        self.hand_on();
        Some(done)
    }

    /// Readable when something has been done.
    pub(crate) const fn done(&self) -> &Receiver<LogDone> {
        &self.done
    }

    /// Whether so much waits for the disk that more should not be taken.
    pub(crate) const fn is_behind(&self) -> bool {
        self.waiting_bytes > WAITING_BYTES_MAX
    }

    fn hand_on(&mut self) {
        if self.is_busy || self.waiting.is_empty() {
            return;
        }
        self.waiting_bytes = 0;
        let work = std::mem::take(&mut self.waiting);
        // If the thread is gone, its failure has ended the process.
        self.is_busy = self.work.try_send(work).is_ok();
    }
}
