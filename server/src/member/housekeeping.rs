//! What goes on behind the requests: deleting what was compacted, shortening the log, watching the
//! quota and the clocks, compacting by itself.
//!
//! One thread does it all, a piece at a time, so that at most one such task competes with requests.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use cairn_backend::{DefragmentError, Uncommitted};
use cairn_consensus::MemberId;
use cairn_mvcc::{CompactionPoint, CompactionWork, HashKv, Progress as CompactionProgress, Store};
use cairn_proto::etcdserverpb::{AlarmRequest, CompactionRequest, alarm_request::AlarmAction};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::consensus_thread::{ConsensusInput, Request};
use super::disk_space::{DiskSpace, Look};
use super::progress::Progress;
use super::reply::Reply;
use super::wall_clock::{self, WallClock};
use crate::logging::Chain;
use crate::logging::size::size;
use crate::member::auto_compaction::Schedule;
use crate::metrics::Metrics;
use crate::settings::{CompactionSettings, Quota};
use cairn_replica::alarms::{Alarm, Alarms};
use cairn_replica::consensus::Proposal;
use cairn_replica::log_request::LogRequest;
use cairn_replica::request_ids::RequestIds;

/// How often the quota is looked at when nothing else wakes the thread.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What others tell the housekeeper. Flags and numbers, not a queue: only the last word counts.
#[derive(Debug, Default)]
struct Notes {
    compact: AtomicBool,
    no_space: AtomicBool,
    shorten_log: AtomicBool,
    contradicted: Mutex<BTreeSet<MemberId>>,
}

/// The others' end.
#[derive(Clone)]
pub(crate) struct Housekeeping {
    notes: Arc<Notes>,
    wake: Sender<()>,
    compacted: watch::Receiver<Option<CompactionPoint>>,
}

/// The housekeeper is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl Housekeeping {
    /// A compaction was scheduled.
    pub(crate) fn compact(&self) {
        self.notes.compact.store(true, Ordering::Release);
        self.wake();
    }

    /// A request was refused for want of space.
    pub(crate) fn no_space(&self) {
        self.notes.no_space.store(true, Ordering::Release);
        self.wake();
    }

    /// The log is long.
    pub(crate) fn shorten_log(&self) {
        self.notes.shorten_log.store(true, Ordering::Release);
        self.wake();
    }

    /// A member has shown to this one, which leads, that one of the two has forgotten what it promised.
    pub(crate) fn contradicted_by(&self, member: MemberId) {
        if self.notes.contradicted.lock().insert(member) {
            self.wake();
        }
    }

    /// Waits until everything before `point` has been deleted.
    ///
    /// # Errors
    ///
    /// [`Gone`] if the member stops first.
    pub(crate) async fn wait_compacted(&self, point: CompactionPoint) -> Result<(), Gone> {
        let mut compacted = self.compacted.clone();
        let reached = compacted
            .wait_for(|done| done.is_some_and(|done| done >= point))
            .await;
        reached.map(drop).map_err(|_| Gone)
    }

    fn wake(&self) {
        // A full channel means that it will wake anyway.
        let _ = self.wake.try_send(());
    }
}

/// The thread's end.
pub(crate) struct Housekeeper {
    notes: Arc<Notes>,
    woken: Receiver<()>,
    compacted: watch::Sender<Option<CompactionPoint>>,
    tasks: Tasks,
}

/// Compacted revisions that are being deleted, batch by batch with a rest after each.
struct Deletion {
    begun: Instant,
    next_batch: Instant,
    work: CompactionWork,
    /// The store's hash at the revision that is compacted, unless that had begun before.
    hash: Option<HashKv>,
}

impl Deletion {
    fn begin() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            next_batch: now,
            work: CompactionWork::default(),
            hash: None,
        }
    }

    fn rest_for(&mut self, rest: Duration) {
        self.next_batch = Instant::now() + rest;
    }

    /// How long until the next batch.
    fn rest(&self) -> Duration {
        self.next_batch.saturating_duration_since(Instant::now())
    }
}

/// What the housekeeper works with.
pub(crate) struct Tasks {
    /// The store to compact.
    pub store: Store,
    /// The log to shorten.
    pub consensus: Sender<ConsensusInput>,
    /// Whether this member leads.
    pub progress: Arc<Progress>,
    /// Numbers for its own requests.
    pub request_ids: Arc<RequestIds>,
    /// The alarms that are on.
    pub alarms: Arc<ArcSwap<Alarms>>,
    /// This member.
    pub member: MemberId,
    /// The limit of the database.
    pub quota: Quota,
    /// The room on disk.
    pub space: Arc<DiskSpace>,
    /// How long space must have been back until its alarm ends by itself.
    pub alarm_clear_delay: Duration,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How gently to compact, and when without being asked.
    pub compaction: CompactionSettings,
}

impl Housekeeper {
    /// Both ends.
    pub(crate) fn new(tasks: Tasks) -> (Housekeeping, Self) {
        let notes = Arc::new(Notes::default());
        // A compaction that a crash cut off goes on.
        notes.compact.store(true, Ordering::Release);
        let (wake, woken) = bounded(1);
        let (done, compacted) = watch::channel(None);
        let handle = Housekeeping {
            notes: Arc::clone(&notes),
            wake,
            compacted,
        };
        (
            handle,
            Self {
                notes,
                woken,
                compacted: done,
                tasks,
            },
        )
    }

    /// Keeps house until every [`Housekeeping`] is gone.
    ///
    /// # Errors
    ///
    /// What storage said: the process must stop.
    pub(crate) fn run(self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let started = Instant::now();
        let mut schedule = self.tasks.compaction.auto.map(Schedule::new);
        let mut next_sample = Duration::ZERO;
        let mut deletion: Option<Deletion> = None;
        let mut space_since = None;
        let mut clock = WallClock::new(SystemTime::now(), started);
        loop {
            if self.notes.compact.swap(false, Ordering::AcqRel) && deletion.is_none() {
                deletion = Some(Deletion::begin());
            }
            if let Some(begun) = &mut deletion
                && begun.rest().is_zero()
                && !self.delete_some(begun)?
            {
                deletion = None;
            }
            if self.notes.shorten_log.swap(false, Ordering::AcqRel) {
                self.shorten_log()?;
            }
            if let Some(jump) = clock.look(SystemTime::now(), Instant::now()) {
                wall_clock::tell(jump);
            }
            self.watch_space(&mut space_since);
            self.alarm_contradicted();
            if let Some(schedule) = &mut schedule
                && started.elapsed() >= next_sample
            {
                let now = started.elapsed();
                self.compact_if_due(schedule, now);
                next_sample = now + schedule.interval();
            }
            let rest = deletion.as_ref().map_or(LOOK_INTERVAL, Deletion::rest);
            // The only place where this thread waits: whoever stops the member ends it.
            match self.woken.recv_timeout(rest.min(LOOK_INTERVAL)) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Deletes one batch of what was compacted; false if there is nothing left to delete.
    fn delete_some(
        &self,
        deletion: &mut Deletion,
    ) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        let tasks = &self.tasks;
        if tasks.store.backend().is_sending() {
            // Pages freed now could not be used again, and the file would grow: look again later.
            deletion.rest_for(LOOK_INTERVAL);
            return Ok(true);
        }
        if let Some(hash) = tasks.store.remember_hash()? {
            tracing::info!(
                hash = hash.hash,
                revision = hash.revision.to_wire(),
                compact_revision = hash.compacted.map_or(-1, CompactionPoint::to_wire),
                "storing new hash"
            );
            deletion.hash = Some(hash);
        }
        let step_begun = Instant::now();
        let before = deletion.work.deleted;
        let progress = tasks.store.compaction_step_seen(
            tasks.compaction.batch_revisions,
            &|| step_begun.elapsed(),
            &mut deletion.work,
        )?;
        if progress != CompactionProgress::Idle {
            let deleted = deletion.work.deleted - before;
            tasks.metrics.compaction_step(step_begun.elapsed(), deleted);
        }
        match progress {
            CompactionProgress::Idle => {
                // An installed database may have brought more than was done here.
                self.compacted
                    .send_replace(tasks.store.compaction_finished());
                return Ok(false);
            }
            CompactionProgress::Working => deletion.rest_for(tasks.compaction.batch_rest),
            CompactionProgress::Finished(point) => {
                if tasks.alarms.load().is_on(Alarm::NoSpace) {
                    // Deleting scattered revisions leaves pages half empty; packing them gives
                    // the space back.
                    self.defragment()?;
                }
                self.tell_compacted(point, deletion);
                self.compacted.send_replace(Some(point));
                *deletion = Deletion::begin();
            }
        }
        Ok(true)
    }

    /// Says and counts that a compaction is done, with what etcd says of it.
    fn tell_compacted(&self, point: CompactionPoint, deletion: &Deletion) {
        let took = deletion.begun.elapsed();
        self.tasks.metrics.compaction_finished(took, deletion.work);
        let backend = self.tasks.store.backend();
        let (bytes, in_use) = (backend.size(), backend.size_in_use());
        let hash = deletion.hash.as_ref();
        let hash = hash.filter(|hash| point.revision() == Some(hash.revision));
        tracing::info!(
            compact_revision = point.to_wire(),
            took = ?took,
            number_of_keys_compacted = deletion.work.deleted,
            hash = hash.map(|hash| hash.hash),
            current_db_size_bytes = bytes,
            current_db_size = size(bytes),
            current_db_size_in_use_bytes = in_use,
            current_db_size_in_use = size(in_use),
            "finished scheduled compaction"
        );
    }

    /// Lets the log forget what the database holds, once that is on disk.
    fn shorten_log(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let applied = self.tasks.progress.applied();
        match self.tasks.store.backend().force_commit() {
            Ok(()) => {}
            // The backend has said so. The log stays as long as it is needed.
            Err(Uncommitted::NoSpace { .. }) => {
                self.notes.shorten_log.store(true, Ordering::Release);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        // A consensus thread that is gone has no log to shorten.
        let _ = self.tasks.consensus.send(ConsensusInput::Shorten(applied));
        Ok(())
    }

    /// Packs the database. If that cannot be done, all is as before, and may go on so.
    fn defragment(&self) -> Result<(), DefragmentError> {
        match self.tasks.store.backend().defragment() {
            Ok(()) => Ok(()),
            Err(error @ (DefragmentError::Poisoned(_) | DefragmentError::Swap(_))) => Err(error),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "cannot defragment the database");
                Ok(())
            }
        }
    }

    /// Raises the space alarm when a request was refused, those under way have passed the limit, or a disk
    /// is about to be full; and ends it when space has been back for a while: whoever is called because
    /// of it finds it still on.
    fn watch_space(&self, space_since: &mut Option<Instant>) {
        let tasks = &self.tasks;
        self.look_at_disks();
        let disk_is_full = tasks.space.is_low() || tasks.store.backend().no_space().is_some();
        let raised = tasks
            .alarms
            .load()
            .is_raised_by(Alarm::NoSpace, tasks.member);
        let used = tasks.store.backend().size_in_use();
        let refused = self.notes.no_space.swap(false, Ordering::AcqRel);
        let within_quota = tasks.quota.has_recovered(used);
        if raised && within_quota && !disk_is_full {
            self.end_alarm(used, space_since);
            return;
        }
        *space_since = None;
        let is_over = refused || !tasks.quota.has_room(used, 0);
        if !raised && disk_is_full {
            tracing::warn!("a disk is full or nearly so: raising an alarm");
            self.propose_alarm(AlarmAction::Activate, Alarm::NoSpace, tasks.member);
        } else if !raised && is_over && !within_quota {
            tracing::warn!(
                used_bytes = used,
                "the database is over its quota: raising an alarm"
            );
            self.propose_alarm(AlarmAction::Activate, Alarm::NoSpace, tasks.member);
        }
    }

    fn look_at_disks(&self) {
        match self.tasks.space.look() {
            Ok(Look::Same) => {}
            Ok(Look::Low(shortage)) => tracing::error!(
                directory = %shortage.directory.display(),
                available_bytes = shortage.available_bytes,
                reserve_bytes = shortage.reserve_bytes,
                "the disk is nearly full: refusing writes until there is room again. Free space \
                 there, or compact and defragment; reads, deletions, renewals and compactions go on"
            ),
            Ok(Look::Recovered) => tracing::info!("there is room on disk again"),
            Err((directory, error)) => tracing::warn!(
                directory = %directory.display(),
                %error,
                "cannot learn how much room there is"
            ),
        }
    }

    /// Ends the space alarm, if there has been space for long enough.
    fn end_alarm(&self, used: u64, space_since: &mut Option<Instant>) {
        let delay = self.tasks.alarm_clear_delay;
        let since = *space_since.get_or_insert_with(|| {
            tracing::info!(
                used_bytes = used,
                ?delay,
                "space is back: the alarm will end"
            );
            Instant::now()
        });
        if since.elapsed() >= delay {
            tracing::info!(used_bytes = used, "ending the space alarm");
            self.propose_alarm(AlarmAction::Deactivate, Alarm::NoSpace, self.tasks.member);
        }
    }

    /// Raises the alarm for members that contradict this one, until it is on.
    fn alarm_contradicted(&self) {
        let alarms = self.tasks.alarms.load();
        let mut contradicted = self.notes.contradicted.lock();
        contradicted.retain(|member| !alarms.is_raised_by(Alarm::Corrupt, *member));
        for member in contradicted.iter() {
            tracing::error!(%member, "a member has another history than this leader: raising an alarm");
            self.propose_alarm(AlarmAction::Activate, Alarm::Corrupt, *member);
        }
    }

    fn propose_alarm(&self, action: AlarmAction, alarm: Alarm, member: MemberId) {
        let alarm = AlarmRequest {
            action: action.into(),
            member_id: member.get(),
            alarm: alarm.to_wire().into(),
        };
        self.propose(&LogRequest::Alarm(alarm));
    }

    fn compact_if_due(&self, schedule: &mut Schedule, now: Duration) {
        let current = self.tasks.store.current();
        let Some(revision) = schedule.sample(now, current) else {
            return;
        };
        if !self.tasks.progress.role().leads() {
            return;
        }
        tracing::info!(revision = revision.to_wire(), "compacting as scheduled");
        let request = CompactionRequest {
            revision: revision.to_wire(),
            physical: false,
        };
        self.propose(&LogRequest::Compaction(request));
        schedule.compacted(now, revision);
    }

    /// Proposes and does not wait: what comes of it shows in the store.
    fn propose(&self, request: &LogRequest) {
        let id = self.tasks.request_ids.next();
        let data = request.encode(id, None);
        let (reply, _) = Reply::channel();
        let request = Request {
            id,
            proposal: Proposal::Request(data),
            reply,
        };
        if self
            .tasks
            .consensus
            .try_send(ConsensusInput::Propose(request))
            .is_err()
        {
            tracing::debug!("the log is busy: trying again later");
        }
    }
}
