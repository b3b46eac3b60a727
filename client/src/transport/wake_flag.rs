//! Which of a task's futures is to be polled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

/// Wakes a task, and says for which of its futures. One future that wakes another of the same task then
/// costs no second poll of both.
pub(super) struct WakeFlag {
    task: Waker,
    is_raised: AtomicBool,
}

impl WakeFlag {
    /// A flag that is raised, so that its future is polled at first.
    pub(super) fn raised(task: Waker) -> Arc<Self> {
        Arc::new(Self {
            task,
            is_raised: AtomicBool::new(true),
        })
    }

    /// Whether the future was woken since this was asked last.
    pub(super) fn lower(&self) -> bool {
        self.is_raised.swap(false, Ordering::AcqRel)
    }
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_raised.swap(true, Ordering::AcqRel) {
            self.task.wake_by_ref();
        }
    }
}
