//! The past: unsynced watchers are carried to the present, a bounded piece at a time.
//!
//! A sweep goes through history from the oldest revision that anyone needs to the present of its
//! beginning, one window at a time, and takes along everyone it meets: those who need one stretch of
//! history have it read once for all, and nobody waits for longer than one sweep.

use cairn_index::Revision;
use cairn_mvcc::{Change, EventLimits, Events};

use super::Hub;
use crate::event::EventPool;
use crate::history::History;
use crate::reply::ReplyKind;
use crate::sink::{SINK_BYTES_MAX, Sink};
use crate::stream::Sent;
use crate::watcher::{Standing, WatcherKey};
use crate::watcher_group::WatcherGroup;

/// How many watchers a step serves. Times [`STEP_CHANGES_MAX`] this is the most that a step
/// delivers: some milliseconds, for which the others wait.
pub(crate) const STEP_WATCHERS_MAX: usize = 256;

/// How many changes a step reads, and so the most revisions that come in one reply.
pub(crate) const STEP_CHANGES_MAX: usize = 1000;

/// How many bytes of changes a step reads before it stops at the end of a revision.
pub(crate) const STEP_BYTES_MAX: usize = SINK_BYTES_MAX / 4;

// A sink that has room at all has room for what a step read.
const _: () = assert!(STEP_BYTES_MAX <= SINK_BYTES_MAX / 2);

/// Where a sweep is.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Watchers that need a revision below have had their turn.
    position: Revision,
    /// The sweep ends when it has passed this revision.
    end: Revision,
}

impl Sweep {
    pub(super) const fn new(at: Revision) -> Self {
        Self {
            position: at,
            end: at,
        }
    }
}

/// Whether there is more to catch up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// Unsynced watchers are left: another step is due soon.
    More,
    /// All watchers are synced or victims.
    Done,
}

/// The watchers of a step: they need what came from `from` on.
struct Window {
    watchers: Vec<WatcherKey>,
    from: Revision,
    /// The revision that the first watcher after them needs, if there is one.
    left_out: Option<Revision>,
}

/// What a step has read: all changes through the revision `through` that its watchers want.
struct Reading {
    changes: Vec<Change>,
    /// For each watcher of the window, the places of the changes that it wants.
    places: Vec<Vec<usize>>,
    through: Revision,
    /// The store's revision when it was read: the replies' header.
    current: Revision,
}

impl<H: History, S: Sink> Hub<H, S> {
    /// Carries some unsynced watchers forward. Bounded work: see the constants beside it.
    ///
    /// A watcher that reaches the present is synced before the next revision is notified, since both
    /// happen here, one after the other; if the present is ahead of what the hub was notified of, it
    /// passes over what it has got.
    ///
    /// # Errors
    ///
    /// If the history cannot be read. Nobody has lost anything.
    pub fn sync_step(&mut self) -> Result<CatchUp, H::Error> {
        self.end_compacted();
        if let Some(window) = self.window() {
            let reading = self.read(&window)?;
            // What was read is whole only if no compaction has caught up with it meanwhile; if one
            // has, the next step ends its watchers.
            if !self.is_compacted(window.from) {
                let read = reading.through.next();
                self.sweep.position = window.left_out.map_or(read, |left_out| left_out.min(read));
                self.advance(&window, reading)?;
            }
        }
        self.debug_check();
        Ok(if self.unsynced.is_empty() {
            CatchUp::Done
        } else {
            CatchUp::More
        })
    }

    /// Ends unsynced watchers that need what is compacted.
    fn end_compacted(&mut self) {
        let Some(compacted) = self.history.compacted() else {
            return;
        };
        let ended: Vec<_> = self
            .unsynced
            .iter()
            .take_while(|(next, _)| *next < compacted)
            .take(STEP_WATCHERS_MAX)
            .copied()
            .collect();
        let revision = self.current();
        for (next, key) in ended {
            let (watch, stream) = (self.watcher(key).id, self.watcher(key).stream);
            let compacted = ReplyKind::Compacted { watch, compacted };
            match self.send(stream, revision, compacted) {
                Sent::Refused => self.make_victim(key, next),
                Sent::Taken => {
                    self.unsynced.remove(&(next, key));
                    self.watchers.remove(key.0);
                    self.stream_mut(stream).ids.insert(watch, None);
                }
            }
        }
    }

    fn is_compacted(&self, revision: Revision) -> bool {
        self.history
            .compacted()
            .is_some_and(|first| revision < first)
    }

    /// The next watchers of the sweep, none of whom needs what is compacted.
    fn window(&mut self) -> Option<Window> {
        loop {
            let ahead = self
                .unsynced
                .range((self.sweep.position, WatcherKey(0))..)
                .next();
            let from = match ahead {
                Some(&(next, _)) if next <= self.sweep.end => next,
                _ => {
                    let &(lowest, _) = self.unsynced.first()?;
                    self.sweep = Sweep {
                        position: lowest,
                        end: self.current(),
                    };
                    lowest
                }
            };
            if self.is_compacted(from) {
                return None;
            }
            let reach = from.number().saturating_add(STEP_CHANGES_MAX as u64);
            let mut left_out = None;
            let mut watchers = Vec::new();
            let mut stuck = Vec::new();
            for &(next, key) in self.unsynced.range((from, WatcherKey(0))..) {
                if self.stream(self.watcher(key).stream).blocked {
                    stuck.push((next, key));
                } else if watchers.len() < STEP_WATCHERS_MAX && next.number() < reach {
                    watchers.push(key);
                } else {
                    left_out = Some(next);
                    break;
                }
            }
            for (next, key) in stuck {
                self.make_victim(key, next);
            }
            if !watchers.is_empty() {
                return Some(Window {
                    watchers,
                    from,
                    left_out,
                });
            }
        }
    }

    /// Reads from the beginning of a window as far as the limits let it.
    fn read(&self, window: &Window) -> Result<Reading, H::Error> {
        let mut group = WatcherGroup::default();
        for (number, &key) in window.watchers.iter().enumerate() {
            group.add(&self.watcher(key).range, number);
        }
        let current = self.current();
        let limits = EventLimits {
            scanned_max: STEP_CHANGES_MAX,
            bytes_max: STEP_BYTES_MAX,
        };
        let Events { changes, next } =
            self.history
                .events(window.from, current, limits, &mut |key| {
                    let mut wanted = false;
                    group.matching(key, |_| wanted = true);
                    wanted
                })?;
        let mut places = vec![Vec::new(); window.watchers.len()];
        for (place, change) in changes.iter().enumerate() {
            group.matching(&change.key, |number: usize| {
                let of_one = (window.watchers.get(number), places.get_mut(number));
                assert!(
                    matches!(of_one, (Some(_), Some(_))),
                    "a watcher of the window"
                );
                if let (Some(&key), Some(places)) = of_one
                    && self.watcher(key).wants(change)
                {
                    places.push(place);
                }
            });
        }
        let through = next.and_then(Revision::previous).unwrap_or(current);
        Ok(Reading {
            changes,
            places,
            through,
            current,
        })
    }

    /// Sends what was read and moves everyone on who got all of it.
    fn advance(&mut self, window: &Window, reading: Reading) -> Result<(), H::Error> {
        let Reading {
            changes,
            places,
            through,
            current,
        } = reading;
        let mut pool = EventPool::new(&changes);
        let mut result = Ok(());
        for (&key, places) in window.watchers.iter().zip(&places) {
            let next = self.watcher(key).next;
            if next > through {
                continue;
            }
            if !places.is_empty() {
                match self.deliver(key, places.iter().copied(), &mut pool, current, next) {
                    Ok(Sent::Taken) => {}
                    Ok(Sent::Refused) => continue,
                    Err(failure) => {
                        result = Err(failure);
                        continue;
                    }
                }
            }
            let standing = if through == current {
                Standing::Synced
            } else {
                Standing::Unsynced
            };
            self.move_to(key, standing, through.next());
            let watcher = self.watcher_mut(key);
            watcher.progress_from = watcher.progress_from.max(current);
        }
        result
    }
}
