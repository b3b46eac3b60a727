//! Waking the tasks of many streams at once.
//!
//! Waking a task of another thread costs a lock and a system call. An event may have a thousand streams
//! to wake, on few threads: each thread is woken once, and wakes its tasks itself, where that costs
//! nothing.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Tasks to wake after which their threads are told, so that they begin while others are added.
const WAKES_MAX: usize = 64;

thread_local! {
    /// The tasks of this thread that are to be woken, if it wakes them.
    static HERE: RefCell<Option<Arc<Due>>> = const { RefCell::new(None) };
    /// What this thread gathers, if it is the dispatcher's.
    static GATHERED: RefCell<Option<Gathered>> = const { RefCell::new(None) };
}

/// The tasks of a thread that are to be woken.
///
/// Invariant: while there are any, the thread is told, or is among those that the dispatcher will tell.
#[derive(Default)]
struct Due {
    tasks: Mutex<Vec<Arc<StreamWaker>>>,
    told: Notify,
}

/// The threads that are to be told.
#[derive(Default)]
struct Gathered {
    threads: Vec<Arc<Due>>,
    tasks: usize,
}

impl Gathered {
    fn add(&mut self, due: &Arc<Due>, task: Arc<StreamWaker>) {
        let mut tasks = due.tasks.lock();
        if tasks.is_empty() {
            self.threads.push(Arc::clone(due));
        }
        tasks.push(task);
        drop(tasks);
        self.tasks += 1;
        if self.tasks >= WAKES_MAX {
            self.send();
        }
    }

    fn send(&mut self) {
        self.tasks = 0;
        for thread in self.threads.drain(..) {
            thread.told.notify_one();
        }
    }
}

/// While it lives, this thread gathers the tasks that it wakes.
pub(super) struct Gathering(());

impl Gathering {
    pub(super) fn begin() -> Self {
        GATHERED.set(Some(Gathered::default()));
        Self(())
    }

    /// Has the tasks woken that were gathered.
    pub(super) fn send(&self) {
        GATHERED.with_borrow_mut(|gathered| gathered.as_mut().map(Gathered::send));
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.send();
        GATHERED.set(None);
    }
}

/// The task that wakes others of its thread; their streams must be opened while it runs. It never ends.
pub(super) async fn wake_here() {
    struct Here(Arc<Due>);

    impl Drop for Here {
        fn drop(&mut self) {
            // A thread that ends has none any more.
            let _ = HERE.try_with(RefCell::take);
        }
    }

    let here = Here(Arc::default());
    HERE.set(Some(Arc::clone(&here.0)));
    loop {
        here.0.told.notified().await;
        let tasks = std::mem::take(&mut *here.0.tasks.lock());
        for task in tasks {
            task.task.wake();
        }
    }
}

/// Wakes a stream's task: through its own thread if the dispatcher does so, at once if another.
pub(super) struct StreamWaker {
    /// Of the thread that opened the stream.
    due: Option<Arc<Due>>,
    task: AtomicWaker,
}

impl StreamWaker {
    /// For a stream of this thread.
    pub(super) fn here() -> Arc<Self> {
        Arc::new(Self {
            due: HERE.with_borrow(Clone::clone),
            task: AtomicWaker::new(),
        })
    }

    /// Has this task woken.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }
}

impl Wake for StreamWaker {
    fn wake(self: Arc<Self>) {
        if let Some(due) = &self.due {
            let is_gathered = GATHERED.try_with(|gathered| {
                let mut gathered = gathered.borrow_mut();
                let gathered = gathered.as_mut();
                gathered.map(|it| it.add(due, Arc::clone(&self))).is_some()
            });
            if is_gathered == Ok(true) {
                return;
            }
        }
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Task {
        fn woken(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// Tasks whose streams were opened on this thread, and what wakes each.
    fn streams(count: usize) -> (Vec<Arc<Task>>, Vec<Waker>) {
        let streams = (0..count).map(|_| {
            let (task, waker) = (Arc::new(Task::default()), StreamWaker::here());
            waker.register(&Waker::from(Arc::clone(&task)));
            (task, Waker::from(waker))
        });
        streams.unzip()
    }

    fn woken(tasks: &[Arc<Task>]) -> usize {
        tasks.iter().map(|task| task.woken()).sum()
    }

    async fn settle() {
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_the_dispatcher_gathers_is_woken_on_the_streams_own_thread() {
        tokio::spawn(wake_here());
        settle().await;
        let count = WAKES_MAX + 3;
        let (tasks, wakers) = streams(count);
        let dispatcher = std::thread::spawn(move || {
            let gathering = Gathering::begin();
            wakers.iter().for_each(Waker::wake_by_ref);
            gathering.send();
        });
        dispatcher.join().unwrap();
        assert_eq!(woken(&tasks), 0, "only their own thread wakes them");
        settle().await;
        assert_eq!(woken(&tasks), count);
    }

    #[tokio::test]
    async fn what_was_gathered_is_woken_when_gathering_ends() {
        tokio::spawn(wake_here());
        settle().await;
        let (tasks, wakers) = streams(1);
        let gathering = Gathering::begin();
        wakers[0].wake_by_ref();
        settle().await;
        assert_eq!(woken(&tasks), 0);
        drop(gathering);
        settle().await;
        assert_eq!(woken(&tasks), 1);
        // A task is woken as often as it has registered.
        wakers.iter().for_each(Waker::wake_by_ref);
        assert_eq!(woken(&tasks), 1);
    }

    #[tokio::test]
    async fn other_threads_and_streams_of_other_threads_are_woken_at_once() {
        let (tasks, wakers) = streams(1);
        let gathering = Gathering::begin();
        wakers[0].wake_by_ref();
        assert_eq!(woken(&tasks), 1, "no task here wakes others");
        drop(gathering);
        tokio::spawn(wake_here());
        settle().await;
        let (tasks, wakers) = streams(1);
        wakers[0].wake_by_ref();
        assert_eq!(woken(&tasks), 1, "nobody gathers");
    }
}
