//! Events on their way to watchers: encoded once, shared by all who get them.

use std::sync::Arc;

use cairn_mvcc::{Change, ChangeKind};
use cairn_proto::mvccpb::event::EventType;
use cairn_proto::stored::EncodedEvent;

use crate::history::History;
use crate::watcher::PrevKv;

/// The events of a reply: shared by every watcher that gets just these.
pub type EventList = Arc<[EncodedEvent]>;

/// The changes of a notification or of a piece of catching up, and what was encoded of them.
///
/// A change is encoded when the first watcher wants it, and looks for the pair that it replaced
/// when the first watcher wants that. Watchers that want the same changes as the one before them,
/// and most watchers do, get the same list.
#[derive(Debug)]
pub(crate) struct EventPool<'a> {
    changes: &'a [Change],
    plain: Form,
    with_prev_kv: Form,
}

/// Events in one of the two forms: with what they replaced, or without.
#[derive(Debug)]
struct Form {
    encoded: Vec<Option<EncodedEvent>>,
    last: Option<(Vec<usize>, EventList)>,
}

impl<'a> EventPool<'a> {
    pub(crate) fn new(changes: &'a [Change]) -> Self {
        let form = || Form {
            encoded: vec![None; changes.len()],
            last: None,
        };
        Self {
            changes,
            plain: form(),
            with_prev_kv: form(),
        }
    }

    /// The list of the changes at these places.
    pub(crate) fn list<H: History>(
        &mut self,
        places: impl Iterator<Item = usize> + Clone,
        prev_kv: PrevKv,
        history: &H,
    ) -> Result<EventList, H::Error> {
        let form = match prev_kv {
            PrevKv::Omit => &mut self.plain,
            PrevKv::Include => &mut self.with_prev_kv,
        };
        if let Some((last, list)) = &form.last
            && places.clone().eq(last.iter().copied())
        {
            return Ok(list.clone());
        }
        let places: Vec<usize> = places.collect();
        form.encode(self.changes, &places, prev_kv, history)?;
        #[expect(clippy::indexing_slicing, reason = "a place is that of a change")]
        let events = places.iter().map(|&place| &form.encoded[place]);
        let list: EventList = events.flatten().cloned().collect();
        form.last = Some((places, list.clone()));
        Ok(list)
    }
}

impl Form {
    /// Encodes those of the changes at these places that are not yet; the pairs that they replaced
    /// are looked up together.
    fn encode<H: History>(
        &mut self,
        changes: &[Change],
        places: &[usize],
        prev_kv: PrevKv,
        history: &H,
    ) -> Result<(), H::Error> {
        let missing = |place: &&usize| matches!(self.encoded.get(**place), Some(None));
        let places: Vec<usize> = places.iter().filter(missing).copied().collect();
        #[expect(clippy::indexing_slicing, reason = "a place is that of a change")]
        let wanted: Vec<&Change> = places.iter().map(|&at| &changes[at]).collect();
        let replaced: Vec<&Change> = match prev_kv {
            PrevKv::Include => wanted.iter().copied().filter(|it| !it.created).collect(),
            PrevKv::Omit => Vec::new(),
        };
        let mut previous = match replaced.as_slice() {
            [] => Vec::new(),
            replaced => history.previous(replaced)?,
        }
        .into_iter();
        for (place, change) in places.into_iter().zip(wanted) {
            let previous = match prev_kv {
                PrevKv::Include if !change.created => previous.next().flatten(),
                PrevKv::Include | PrevKv::Omit => None,
            };
            let kind = match change.kind {
                ChangeKind::Put => EventType::Put,
                ChangeKind::Delete => EventType::Delete,
            };
            let event = EncodedEvent::splice(kind, &change.kv, previous.as_deref());
            if let Some(encoded) = self.encoded.get_mut(place) {
                *encoded = Some(event);
            }
        }
        Ok(())
    }
}
