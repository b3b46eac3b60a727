//! Deleting what a compaction made unreadable, a little at a time.
//!
//! [`schedule_compaction`](crate::WriteBatch::schedule_compaction) only moves the point before which
//! nothing can be read. The work is done here, in steps that a background thread calls: the index
//! says which changes each key drops, so storage need not be scanned. A step that was lost in a
//! crash is found again, since the index is rebuilt from what is stored.

use std::time::Duration;

use cairn_backend::Table;
use cairn_index::{Key, KeyChange, Revision};

use crate::bucket_key::BucketKey;
use crate::compaction_marks::Mark;
use crate::compaction_point::CompactionPoint;
use crate::error::WriteError;
use crate::store::Store;

/// How many keys of the index a step looks at for each change that it may delete: most keys have
/// nothing to drop, and looking costs far less than deleting.
const KEYS_PER_DELETION: usize = 16;

/// The compaction that is being carried out.
///
/// Invariant: `finished ≤ running ≤` the point that the store is compacted at.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    finished: Option<CompactionPoint>,
    running: Option<Running>,
    /// One that had begun when the store was read back: how far it had come is not known.
    interrupted: Option<CompactionPoint>,
}

#[derive(Debug)]
struct Running {
    at: Revision,
    /// Changes to delete from storage, the next one last.
    deletions: Vec<KeyChange>,
    /// Keys to compact in the index once these changes are deleted.
    keys: Vec<Key>,
    next: Next,
}

/// Where to look for more keys to compact.
#[derive(Debug)]
enum Next {
    Start,
    After(Key),
    End,
}

/// Where compaction stands after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing to do until the next compaction is scheduled.
    Idle,
    /// There is more to do.
    Working,
    /// A compaction, and every one before it, is finished.
    Finished(CompactionPoint),
}

/// What one step did, for whoever counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionWork {
    /// Changes that were deleted.
    pub deleted: usize,
    /// How long the step was in the index.
    pub in_index: Duration,
}

impl Store {
    /// How far a compaction has deleted all that it had to: by steps of this store, or of the one whose
    /// database was installed.
    #[must_use]
    pub fn compaction_finished(&self) -> Option<CompactionPoint> {
        self.compaction().lock().finished
    }

    /// Carries compaction on by one step that deletes at most `changes_max` changes. Between two
    /// steps writers have their turn.
    ///
    /// # Errors
    ///
    /// [`WriteError`] if the backend fails.
    pub fn compaction_step(&self, changes_max: usize) -> Result<Progress, WriteError> {
        let mut unseen = CompactionWork::default();
        self.compaction_step_seen(changes_max, &|| Duration::ZERO, &mut unseen)
    }

    /// [`compaction_step`](Self::compaction_step), which adds to `work` what it did, by `clock`'s time.
    ///
    /// # Errors
    ///
    /// [`WriteError`] if the backend fails.
    pub fn compaction_step_seen(
        &self,
        changes_max: usize,
        clock: &dyn Fn() -> Duration,
        work: &mut CompactionWork,
    ) -> Result<Progress, WriteError> {
        let mut compaction = self.compaction().lock();
        let Some(point) = self.compaction_point() else {
            return Ok(Progress::Idle);
        };
        if compaction.finished >= Some(point) && compaction.running.is_none() {
            return Ok(Progress::Idle);
        }
        let Some(at) = point.revision() else {
            return self.finish(&mut compaction, point);
        };
        let running = compaction.running.get_or_insert_with(|| Running::new(at));
        let changes_max = changes_max.max(1);
        let begun = clock();
        if running.deletions.is_empty() {
            self.look_for_work(running, changes_max.saturating_mul(KEYS_PER_DELETION));
        }
        let looked = clock();
        work.deleted += self.delete(running, changes_max)?;
        let deleted = clock();
        if running.deletions.is_empty() {
            self.compact_keys(running, changes_max);
        }
        let in_index = looked.saturating_sub(begun) + clock().saturating_sub(deleted);
        work.in_index += in_index;
        if running.is_done() {
            let finished = running.at.into();
            return self.finish(&mut compaction, finished);
        }
        Ok(Progress::Working)
    }

    fn look_for_work(&self, running: &mut Running, keys_max: usize) {
        if !running.keys.is_empty() {
            return;
        }
        let resume = match &running.next {
            Next::Start => None,
            Next::After(key) => Some(key),
            Next::End => return,
        };
        let snapshot = self.state().read().index.clone();
        let chunk = snapshot.plan_compaction(running.at, resume, keys_max);
        running.keys = chunk.keys;
        running.deletions = chunk.dropped;
        running
            .deletions
            .sort_unstable_by_key(|change| std::cmp::Reverse(change.at()));
        running.next = chunk.resume.map_or(Next::End, Next::After);
    }

    fn delete(&self, running: &mut Running, changes_max: usize) -> Result<usize, WriteError> {
        if running.deletions.is_empty() {
            return Ok(0);
        }
        let before = running.deletions.len();
        let from = before.saturating_sub(changes_max);
        let mut tx = self.backend().write();
        for change in running.deletions.drain(from..).rev() {
            let key = match change {
                KeyChange::Put(version) => BucketKey::put(version.modified),
                KeyChange::Tombstone(at) => BucketKey::tombstone(at),
            };
            tx.delete(Table::Key, key.as_bytes());
        }
        tx.end()?;
        Ok(before - from)
    }

    fn compact_keys(&self, running: &mut Running, keys_max: usize) {
        let from = running.keys.len().saturating_sub(keys_max);
        for key in running.keys.drain(from..) {
            self.state().write().index.compact_key(&key, running.at);
        }
    }

    fn finish(
        &self,
        compaction: &mut Compaction,
        point: CompactionPoint,
    ) -> Result<Progress, WriteError> {
        let mut tx = self.backend().write();
        Mark::Finished.write(point, &mut tx);
        tx.end()?;
        assert!(compaction.finished < Some(point), "compactions go forward");
        compaction.finished = Some(point);
        compaction.running = None;
        Ok(Progress::Finished(point))
    }
}

impl Compaction {
    /// The compaction of a store that was read back: compacted and finished so far.
    pub(crate) fn read_back(
        compacted: Option<CompactionPoint>,
        finished: Option<CompactionPoint>,
    ) -> Self {
        Self {
            finished,
            running: None,
            interrupted: compacted.filter(|_| compacted > finished),
        }
    }

    /// The last compaction, if the one at `point` has deleted nothing yet.
    pub(crate) fn before(&self, point: CompactionPoint) -> Option<Option<CompactionPoint>> {
        let is_untouched = self.running.is_none()
            && self.finished < Some(point)
            && self.interrupted != Some(point);
        is_untouched.then_some(self.finished)
    }
}

impl Running {
    const fn new(at: Revision) -> Self {
        Self {
            at,
            deletions: Vec::new(),
            keys: Vec::new(),
            next: Next::Start,
        }
    }

    fn is_done(&self) -> bool {
        self.deletions.is_empty() && self.keys.is_empty() && matches!(self.next, Next::End)
    }
}
