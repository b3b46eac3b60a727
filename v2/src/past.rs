//! What happened: the history of the event's key is the history of events.

use cairn_mvcc::{EventLimits, ReadError, Revision, Store};

use crate::error::StorageError;
use crate::event::Event;
use crate::hub::{Hub, Sink, Watch, event_of};
use crate::layout;

/// How much of the history one step looks through.
const STEP: EventLimits = EventLimits {
    scanned_max: 4096,
    bytes_max: 4 << 20,
};

/// What a step through the history found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Past {
    /// The first event that the watcher waits for.
    Found(Box<Event>),
    /// None up to before this revision.
    NothingBefore(Revision),
    /// History does not reach back to where the watcher begins, but to here.
    Cleared(Revision),
}

/// Looks through the history from `from` on for what a watcher waits for: one bounded step of the
/// way to the present.
///
/// # Errors
///
/// [`StorageError`] if it cannot be read.
pub fn past(store: &Store, watch: &Watch, from: Revision) -> Result<Past, StorageError> {
    let current = store.current();
    if from > current {
        return Ok(Past::NothingBefore(from));
    }
    let read = store.events(from, current, STEP, &mut layout::is_event);
    let events = match read {
        Ok(events) => events,
        Err(ReadError::Compacted { compacted, .. }) => {
            let first = compacted.revision().unwrap_or(Revision::FIRST);
            return Ok(Past::Cleared(first));
        }
        Err(error) => return Err(error.into()),
    };
    for change in &events.changes {
        let event = event_of(change)?;
        if event.is_found_by(watch) {
            return Ok(Past::Found(Box::new(event)));
        }
    }
    let next = events.next.unwrap_or_else(|| current.next());
    Ok(Past::NothingBefore(next))
}

/// Tells the hub of what happened up to `through` and it was not told of. Who waits for what is
/// compacted already is let go.
///
/// # Errors
///
/// [`StorageError`] if the history cannot be read.
pub fn catch_up<S: Sink>(
    hub: &mut Hub<S>,
    store: &Store,
    through: Revision,
) -> Result<(), StorageError> {
    while hub.seen() < through {
        if hub.is_empty() {
            return hub.notify(&[], through);
        }
        let mut wanted = |key: &[u8]| layout::is_event(key) || layout::is_node(key);
        match store.events(hub.seen().next(), through, STEP, &mut wanted) {
            Ok(events) => {
                let before = events.next.and_then(Revision::previous);
                hub.notify(&events.changes, before.unwrap_or(through))?;
            }
            Err(ReadError::Compacted { .. }) => hub.clear(through),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
