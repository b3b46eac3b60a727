//! The time of leases: a thread that looks, several times a second, which have expired; and which
//! keys of the second API.
//!
//! What it decides is `cairn_replica::lease_duties`'; here are the clock, the log and who waits for
//! what.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_lease::{Moment, Term, Ttl};
use cairn_mvcc::Store;
use cairn_replica::apply::{Outcome, SharedLeases};
use cairn_replica::consensus::Proposal;
use cairn_replica::lease_duties::{self, Decided};
use cairn_replica::request_ids::RequestIds;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tokio::sync::{Notify, futures::Notified, oneshot};

use super::consensus_thread::{ConsensusInput, Request};
use super::progress::Progress;
use super::reply::Reply;
use super::v2_expiry::V2Expiry;
use crate::member::error::{Error, ProposeError};

/// How often the thread looks when nothing wakes it: by so much a lease may outlive its time.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The leases as the API and the apply thread see them.
#[derive(Clone)]
pub(crate) struct LeaseKeeping {
    shared: Arc<Shared>,
    wake: Sender<()>,
}

struct Shared {
    leases: SharedLeases,
    /// The start of leases' time.
    started: Instant,
    /// An expiry came through or failed, or this member began or ceased to lead.
    settled: Notify,
    ttl_min: Ttl,
}

impl LeaseKeeping {
    /// The leases; whoever locks them waits for nothing meanwhile.
    pub(crate) fn leases(&self) -> &SharedLeases {
        &self.shared.leases
    }

    /// The present, in leases' time.
    pub(crate) fn now(&self) -> Moment {
        Moment::after_start(self.shared.started.elapsed())
    }

    /// The shortest time to live that is granted.
    pub(crate) fn ttl_min(&self) -> Ttl {
        self.shared.ttl_min
    }

    /// Ends when renewals that waited should try again. What happens after the call is not missed.
    pub(crate) fn settled(&self) -> Notified<'_> {
        self.shared.settled.notified()
    }

    /// Expiries or checkpoints were applied.
    pub(crate) fn applied(&self) {
        self.shared.settled.notify_waiters();
        // A full channel means that the thread will wake anyway.
        let _ = self.wake.try_send(());
    }
}

/// The thread's end.
pub(crate) struct LeaseKeeper {
    shared: Arc<Shared>,
    woken: Receiver<()>,
    tasks: LeaseTasks,
    under_way: Vec<UnderWay>,
    v2: V2Expiry,
}

/// What the thread works with.
pub(crate) struct LeaseTasks {
    /// The leases.
    pub leases: SharedLeases,
    /// The way into the log.
    pub consensus: Sender<ConsensusInput>,
    /// Whether this member leads.
    pub progress: Arc<Progress>,
    /// Numbers for its own requests.
    pub request_ids: Arc<RequestIds>,
    /// `--election-timeout`.
    pub election_timeout: Duration,
    /// The store, for what expires of the second API.
    pub store: Store,
}

/// What the thread proposed, until it knows what became of it.
struct UnderWay {
    decided: Decided,
    answer: oneshot::Receiver<Result<Outcome, Error>>,
}

impl LeaseKeeper {
    /// Both ends.
    pub(crate) fn new(tasks: LeaseTasks) -> (LeaseKeeping, Self) {
        let shared = Arc::new(Shared {
            leases: Arc::clone(&tasks.leases),
            started: Instant::now(),
            settled: Notify::new(),
            ttl_min: Ttl::shortest_granted(tasks.election_timeout),
        });
        let (wake, woken) = bounded(1);
        let keeping = LeaseKeeping {
            shared: Arc::clone(&shared),
            wake,
        };
        let v2 = V2Expiry::new(&tasks);
        let keeper = Self {
            v2,
            shared,
            woken,
            tasks,
            under_way: Vec::new(),
        };
        (keeping, keeper)
    }

    /// Keeps leases' time until every [`LeaseKeeping`] is gone.
    ///
    /// # Errors
    ///
    /// None.
    pub(crate) fn run(mut self) -> Result<(), std::convert::Infallible> {
        loop {
            self.follow_leadership();
            self.collect_answers();
            self.look();
            self.v2.look();
            match self.woken.recv_timeout(LOOK_INTERVAL) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn now(&self) -> Moment {
        Moment::after_start(self.shared.started.elapsed())
    }

    /// Promotes the leases once this member has applied an entry of the term that it leads in.
    fn follow_leadership(&self) {
        let progress = &self.tasks.progress;
        // In this order: what is applied of a term was handed on after its leader was known.
        let applied_term = progress.applied_term();
        let term = progress.term();
        let leads = progress.role().leads() && applied_term == term && progress.term() == term;
        let led = leads.then_some(Term(term.get()));
        let now = self.now();
        if lease_duties::follow_leadership(&mut self.shared.leases.lock(), led, now) {
            self.shared.settled.notify_waiters();
        }
    }

    /// Proposes what is due.
    fn look(&mut self) {
        let decided = lease_duties::due(&mut self.shared.leases.lock(), self.now());
        for decided in decided {
            self.propose(decided);
        }
    }

    fn propose(&mut self, decided: Decided) {
        let id = self.tasks.request_ids.next();
        let data = decided.request().encode(id, None);
        let (reply, answer) = Reply::channel();
        let request = Request {
            id,
            proposal: Proposal::Request(data),
            reply,
        };
        let sent = self
            .tasks
            .consensus
            .try_send(ConsensusInput::Propose(request));
        if sent.is_ok() {
            self.under_way.push(UnderWay { decided, answer });
        } else {
            self.failed(&decided);
        }
    }

    /// Takes back what is known not to have been carried out. What nothing is known of stays as it is:
    /// it is applied some time, or the term ends.
    fn collect_answers(&mut self) {
        let mut under_way = std::mem::take(&mut self.under_way);
        under_way.retain_mut(|it| match it.answer.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => true,
            Ok(Err(error)) if was_not_carried_out(&error) => {
                tracing::debug!(%error, "what was decided of leases was not carried out");
                self.failed(&it.decided);
                false
            }
            Ok(_) | Err(oneshot::error::TryRecvError::Closed) => false,
        });
        self.under_way = under_way;
    }

    fn failed(&self, decided: &Decided) {
        decided.take_back(&mut self.shared.leases.lock(), self.now());
        self.shared.settled.notify_waiters();
    }
}

/// Whether it is certain that a request neither was nor will be carried out.
const fn was_not_carried_out(error: &Error) -> bool {
    matches!(
        error,
        Error::Apply(_) | Error::Propose(ProposeError::NoLeader | ProposeError::TooManyRequests)
    )
}
