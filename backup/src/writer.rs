//! One member's side of a backup, a step at a time.
//!
//! ```text
//! seek ──► follow ──► put entries, now and then a base, delete what is old
//!   ▲         │
//!   └─────────┘ a name was taken; the tail does not reach back
//! ```
//!
//! A writer needs no memory of its own: it finds the end of the sequence, and goes on there if that is in
//! its member's history. Otherwise it begins a timeline, with a base.

use std::time::Duration;

use bytes::Bytes;
use cairn_backend::{Applied, Backend};
use cairn_consensus::{ClusterId, LogIndex, Term};
use cairn_migrate::{SnapshotPlan, Stopped};
use ring::digest::{Context, SHA256};

use crate::base::{Base, PART_BYTES};
use crate::catalog::Catalog;
use crate::error::Error;
use crate::name::{BaseId, Names, Sequence};
use crate::record::{Anchor, Position, Record};
use crate::retention::Retention;
use crate::sealed::{Digest, Key, Nonce, seal};
use crate::store::{Put, Store, StoreError};
use crate::tail::{Following, Tail};
use crate::walk::{Found, read_record};

/// How often a piece of a base is tried.
const PART_ATTEMPTS: u32 = 5;
/// The rest before such an attempt is repeated.
const PART_REST: Duration = Duration::from_secs(1);

/// The most memory that is kept from one object to the next.
const CONTENT_KEPT_BYTES: usize = 16 << 20;

/// How a backup is made.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Whose backup it is.
    pub cluster: ClusterId,
    /// Entries are written when the first of them has waited for so long,
    pub interval: Duration,
    /// or when they are so many bytes.
    pub segment_bytes: usize,
    /// The time from one base to the next.
    pub base_interval: Duration,
    /// For how long one can go back; without it, to the first base.
    pub retention: Option<Duration>,
    /// The key that objects are encrypted with, if they are.
    pub key: Option<Key>,
}

/// Clock and chance.
pub trait Environment {
    /// The time, in milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// A number that was not given before.
    ///
    /// # Errors
    ///
    /// [`Error::Chance`] if the system has none.
    fn nonce(&self) -> Result<Nonce, Error>;

    /// Waits.
    fn rest(&self, time: Duration);

    /// Whether to go on. A base, which takes long, is given up when it says no.
    fn goes_on(&self) -> bool;

    /// Is told what happened, while it happens.
    fn note(&self, event: Event<'_>);
}

/// What happened to a backup.
#[derive(Debug)]
pub enum Event<'a> {
    /// Everything up to this revision and log entry can be restored.
    Covered {
        /// The revision.
        revision: u64,
        /// The entry.
        index: LogIndex,
    },
    /// An object with entries was written.
    Wrote {
        /// The length of the object.
        bytes: usize,
    },
    /// A timeline begins: what came before cannot be gone on with.
    Began {
        /// Why.
        reason: &'static str,
        /// The revision that it begins at.
        revision: u64,
    },
    /// A base was written.
    Base(&'a Base),
    /// Old objects were deleted.
    Deleted {
        /// How many.
        objects: usize,
    },
    /// Something failed beside a base, and will be tried again.
    Failed(&'a Error),
}

/// What a writer works with.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// What the member applied last.
    pub tail: &'a Tail,
    /// What it holds.
    pub backend: &'a Backend,
    /// Clock and chance.
    pub environment: &'a dyn Environment,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Another step at once.
    Again,
    /// Nothing, for as long as nothing new is applied.
    Idle,
    /// Nothing for this long, unless much is applied meanwhile.
    Wait(Duration),
}

/// Writes a cluster's backup.
pub struct Writer {
    options: WriterOptions,
    names: Names,
    chain: Option<Chain>,
    /// The time of the last base of the timeline; none if it has none yet.
    base_ms: Option<u64>,
    /// The last entry in it.
    base_index: Option<LogIndex>,
    retention: Retention,
    /// What the last object held, for the memory of the next.
    content: Vec<u8>,
}

/// The end of the sequence, at which this writer goes on.
#[derive(Clone, Debug)]
struct Chain {
    next: Sequence,
    previous: Digest,
    timeline: Sequence,
    end: Position,
    anchor: Option<Anchor>,
}

impl Chain {
    fn behind(at: Sequence, record: &Record, digest: Digest) -> Self {
        Self {
            next: at.next(),
            previous: digest,
            timeline: record.timeline,
            end: record.end(),
            anchor: record.anchor.clone(),
        }
    }
}

impl Writer {
    /// A writer that has yet to find out what there is.
    #[must_use]
    pub fn new(options: WriterOptions) -> Self {
        let names = Names(options.cluster);
        Self {
            retention: Retention::new(names, options.retention),
            content: Vec::new(),
            options,
            names,
            chain: None,
            base_ms: None,
            base_index: None,
        }
    }

    /// Forgets what it found: another member may write now.
    pub fn rewind(&mut self) {
        self.chain = None;
        self.forget_base();
    }

    const fn forget_base(&mut self) {
        self.base_ms = None;
        self.base_index = None;
    }

    /// The last log entry that can be restored.
    #[must_use]
    pub fn covered(&self) -> Option<LogIndex> {
        self.base_ms?;
        Some(self.chain.as_ref()?.end.index)
    }

    /// Does what is next. After an error another step tries again.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn step(&mut self, around: &Around<'_>) -> Result<Step, Error> {
        let Some(chain) = &self.chain else {
            return self.seek(around);
        };
        let after = chain.end.index;
        if around.tail.following(after, 0) == Following::Unknown {
            return self.begin_timeline(
                around,
                "too much was applied while nothing could be written",
            );
        }
        let now = around.environment.now_ms();
        let is_due = |base| now.saturating_sub(base) >= millis(self.options.base_interval);
        let is_new = self.base_index != Some(after) || around.tail.lag(after).since_ms.is_some();
        if self.base_ms.is_none_or(is_due) && is_new {
            let held = around.backend.send().map_err(Error::database)?;
            self.write_base(around, SnapshotPlan::new(held.view())?)?;
            return Ok(Step::Again);
        }
        if self.flush(around)? {
            return Ok(Step::Again);
        }
        if self.retention.step(around, self.options.key.as_ref())? {
            return Ok(Step::Again);
        }
        Ok(self.rest(around))
    }

    /// How long nothing is to be done.
    fn rest(&self, around: &Around<'_>) -> Step {
        let Some(chain) = &self.chain else {
            return Step::Again;
        };
        let Some(since) = around.tail.lag(chain.end.index).since_ms else {
            return Step::Idle;
        };
        let waited = around.environment.now_ms().saturating_sub(since);
        let interval = millis(self.options.interval);
        Step::Wait(Duration::from_millis(interval.saturating_sub(waited)))
    }

    /// Finds the end of the sequence, and whether this member can go on there.
    fn seek(&mut self, around: &Around<'_>) -> Result<Step, Error> {
        let Some(chain) = self.find_end(around)? else {
            return self.begin_timeline(around, "there is no backup yet");
        };
        let continues =
            around
                .tail
                .continues(chain.end.index, chain.end.term, chain.anchor.as_ref());
        let timeline = chain.timeline;
        self.chain = Some(chain);
        if !continues {
            return self.begin_timeline(around, "this member's log does not continue the backup's");
        }
        let catalog = Catalog::read(
            around.store,
            self.options.cluster,
            self.options.key.as_ref(),
        )?;
        // Those of earlier timelines were begun where this one begins, at the latest.
        let mut ours = catalog.bases().iter().rev();
        let last = ours.find(|base| base.timeline == timeline && base.id.resume > timeline);
        self.base_ms = last.map(Base::time_ms);
        self.note_covered(around);
        Ok(Step::Again)
    }

    /// The last object, from the last that a listing shows.
    fn find_end(&self, around: &Around<'_>) -> Result<Option<Chain>, Error> {
        let key = self.options.key.as_ref();
        // From the object before the newest base on, which is always kept.
        let bases = around.store.list(&self.names.base_folder(), "")?;
        let newest = bases
            .iter()
            .filter_map(|name| self.names.parse_base(name))
            .max();
        let before = newest.and_then(|base| base.resume.0.checked_sub(2));
        let after = before.map_or_else(String::new, |at| self.names.log(Sequence(at)));
        let listed = around.store.list(&self.names.log_folder(), &after)?;
        let read = |at| read_record(around.store, self.names, at, key);
        let mut chain = None;
        let mut at = Sequence::FIRST;
        // The last of them may have been lost.
        for listed in listed
            .iter()
            .rev()
            .filter_map(|name| self.names.parse_log(name))
        {
            at = listed;
            if let Found::Record(record, digest) = read(at)? {
                chain = Some(Chain::behind(at, &record, digest));
                at = at.next();
                break;
            }
        }
        if chain.is_none() && !(listed.is_empty() && bases.is_empty()) {
            let reason = "the end of the backup is not where its listings say".to_owned();
            return Err(StoreError(reason).into());
        }
        while let Found::Record(record, digest) = read(at)? {
            chain = Some(Chain::behind(at, &record, digest));
            at = at.next();
        }
        Ok(chain)
    }

    /// Writes that a timeline begins here, and its base.
    fn begin_timeline(&mut self, around: &Around<'_>, reason: &'static str) -> Result<Step, Error> {
        self.forget_base();
        // Counted as one that sends, so that what frees many pages waits.
        let held = around.backend.send().map_err(Error::database)?;
        let plan = SnapshotPlan::new(held.view())?;
        let end = position(&plan, around.environment.now_ms());
        let (next, previous) = match &self.chain {
            Some(chain) => (chain.next, chain.previous),
            None => (Sequence::FIRST, Digest::default()),
        };
        let record = Record {
            previous,
            timeline: next,
            anchor: around.tail.anchor(end.index),
            after: end,
            entries: Vec::new(),
        };
        let revision = record.after.revision;
        if self.put_record(around, &record)? == Put::Done {
            around.environment.note(Event::Began { reason, revision });
            self.write_base(around, plan)?;
        }
        Ok(Step::Again)
    }

    /// Writes the entries that are due, if any are.
    fn flush(&mut self, around: &Around<'_>) -> Result<bool, Error> {
        let Some(chain) = &self.chain else {
            return Ok(false);
        };
        let lag = around.tail.lag(chain.end.index);
        let Some(since) = lag.since_ms else {
            return Ok(false);
        };
        let waited = around.environment.now_ms().saturating_sub(since);
        if lag.bytes < self.options.segment_bytes && waited < millis(self.options.interval) {
            return Ok(false);
        }
        let following = around
            .tail
            .following(chain.end.index, self.options.segment_bytes);
        let Following::Entries(entries) = following else {
            // The next step sees to that.
            return Ok(true);
        };
        let said = entries.iter().rev().find_map(|it| Anchor::of(&it.entry));
        let record = Record {
            previous: chain.previous,
            timeline: chain.timeline,
            after: chain.end.clone(),
            anchor: said.or_else(|| chain.anchor.clone()),
            entries,
        };
        if self.put_record(around, &record)? == Put::Done {
            around.tail.trim(record.end().index);
            self.note_covered(around);
        }
        Ok(true)
    }

    /// Writes the next object of the sequence. If there is one already, the writer looks at it all anew:
    /// it is another's, or its own of an attempt that seemed to fail.
    fn put_record(&mut self, around: &Around<'_>, record: &Record) -> Result<Put, Error> {
        let at = self.chain.as_ref().map_or(Sequence::FIRST, |it| it.next);
        let name = self.names.log(at);
        let nonce = around.environment.nonce()?;
        let key = self.options.key.as_ref();
        // Fresh memory is most of what this costs.
        self.content.clear();
        self.content.shrink_to(CONTENT_KEPT_BYTES);
        record.encode(&mut self.content);
        let (object, digest) = seal(&name, &self.content, key, nonce)?;
        let bytes = object.len();
        let put = around.store.put_new(&name, object)?;
        match put {
            Put::Done => {
                self.chain = Some(Chain::behind(at, record, digest));
                around.environment.note(Event::Wrote { bytes });
            }
            Put::Exists => self.rewind(),
        }
        Ok(put)
    }

    fn note_covered(&self, around: &Around<'_>) {
        if let (Some(chain), Some(_)) = (&self.chain, self.base_ms) {
            around.environment.note(Event::Covered {
                revision: chain.end.revision,
                index: chain.end.index,
            });
        }
    }

    /// Writes a base; between its pieces, entries.
    fn write_base(&mut self, around: &Around<'_>, plan: SnapshotPlan<'_>) -> Result<(), Error> {
        let Some(chain) = self.chain.clone() else {
            return Ok(());
        };
        let position = position(&plan, around.environment.now_ms());
        if position.index < chain.end.index {
            return Err(Error::NotThere(format!(
                "entry {} is in the backup, and this member has applied {}",
                chain.end.index, position.index
            )));
        }
        let nonce = around.environment.nonce()?;
        let [a, b, c, d, e, f, g, h, ..] = nonce;
        let id = BaseId {
            resume: chain.next,
            id: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        };
        let mut parts = Parts::new();
        let mut failed = None;
        plan.write(|page| {
            let taken = parts.take(page, &mut |number, part| {
                self.put_part(around, id, number, part)?;
                self.flush_beside(around);
                Ok(())
            });
            taken.map_err(|error| {
                failed = Some(error);
                Stopped
            })
        })?;
        failed.map_or(Ok(()), Err)?;
        parts.finish(&mut |number, part| self.put_part(around, id, number, part))?;
        let base = Base {
            id,
            previous: Bytes::copy_from_slice(&chain.previous),
            timeline: chain.timeline,
            position,
            bytes: parts.bytes,
            parts: parts.number,
            digest: Bytes::copy_from_slice(parts.sum.finish().as_ref()),
        };
        self.put_object(around, &self.names.base(id), &base.encode())?;
        self.settle_base(around, &base);
        Ok(())
    }

    /// A base is there. It counts for the present timeline if that is still the one it was begun in.
    fn settle_base(&mut self, around: &Around<'_>, base: &Base) {
        around.environment.note(Event::Base(base));
        self.retention.wake();
        if self
            .chain
            .as_ref()
            .is_some_and(|chain| chain.timeline == base.timeline)
        {
            self.base_ms = Some(base.time_ms());
            self.base_index = Some(base.position.index);
            self.note_covered(around);
        }
    }

    /// Entries go on while a base is written. What fails here is tried again after it.
    fn flush_beside(&mut self, around: &Around<'_>) {
        if let Err(error) = self.flush(around) {
            around.environment.note(Event::Failed(&error));
        }
    }

    fn put_part(
        &self,
        around: &Around<'_>,
        id: BaseId,
        number: u64,
        part: &[u8],
    ) -> Result<(), Error> {
        let name = self.names.part(id, number);
        let mut attempt = 1;
        loop {
            if !around.environment.goes_on() {
                return Err(Error::Stopped);
            }
            match self.put_object(around, &name, part) {
                Err(error @ Error::Store(_)) if attempt < PART_ATTEMPTS => {
                    around.environment.note(Event::Failed(&error));
                    around.environment.rest(PART_REST);
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// Writes an object that nobody else writes: if it is there, an attempt that seemed to fail wrote it.
    fn put_object(&self, around: &Around<'_>, name: &str, content: &[u8]) -> Result<(), Error> {
        let key = self.options.key.as_ref();
        let (object, _) = seal(name, content, key, around.environment.nonce()?)?;
        match around.store.put_new(name, object)? {
            Put::Done | Put::Exists => Ok(()),
        }
    }
}

/// Where in the log a file is about to be made.
fn position(plan: &SnapshotPlan<'_>, now_ms: u64) -> Position {
    let Applied { index, term } = plan.applied();
    Position {
        index: LogIndex::new(index),
        term: Term::new(term),
        revision: plan.revision(),
        time_ms: now_ms,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The pieces of a base's file.
struct Parts {
    number: u64,
    bytes: u64,
    sum: Context,
    buffer: Vec<u8>,
}

/// Is called with the number and content of a piece.
type PutPart<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Error> + 'a;

impl Parts {
    fn new() -> Self {
        Self {
            number: 0,
            bytes: 0,
            sum: Context::new(&SHA256),
            buffer: Vec::with_capacity(PART_BYTES),
        }
    }

    fn take(&mut self, page: &[u8], put: &mut PutPart<'_>) -> Result<(), Error> {
        self.sum.update(page);
        self.bytes += page.len() as u64;
        self.buffer.extend(page);
        if self.buffer.len() >= PART_BYTES {
            self.finish(put)?;
        }
        Ok(())
    }

    /// Puts what is left.
    fn finish(&mut self, put: &mut PutPart<'_>) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            put(self.number, &self.buffer)?;
            self.number += 1;
            self.buffer.clear();
        }
        Ok(())
    }
}
