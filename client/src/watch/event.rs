//! What a watch tells.

use bytes::Bytes;
use cairn_proto::mvccpb;

use crate::error::Error;
use crate::kv::{KeyValue, strip};
use crate::revision::Revision;

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key was written.
    Put {
        /// The new version.
        kv: KeyValue,
        /// The version before, if it was asked for, there was one and it is not compacted.
        previous: Option<KeyValue>,
    },
    /// The key was deleted, by a request or by the end of its lease.
    Delete {
        /// The key.
        key: Bytes,
        /// The revision that deleted it.
        revision: Revision,
        /// The version before, if it was asked for and is not compacted.
        previous: Option<KeyValue>,
    },
}

/// An item of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Changes, in order. All changes of one revision are in one update.
    Events {
        /// The changes; there is at least one.
        events: Vec<Event>,
        /// The revision of the last of them.
        revision: Revision,
    },
    /// All changes up to this revision were told.
    Progress(Revision),
    /// Changes were missed: those that the watch would have gone on with are compacted. This is
    /// the watch's last item. A new one can begin at this revision; what the keys are can be read.
    Compacted(Revision),
}

impl Event {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { kv, .. } => &kv.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision that changed it.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put { kv, .. } => kv.mod_revision,
            Self::Delete { revision, .. } => *revision,
        }
    }

    /// The version before the change.
    #[must_use]
    pub fn previous(&self) -> Option<&KeyValue> {
        match self {
            Self::Put { previous, .. } | Self::Delete { previous, .. } => previous.as_ref(),
        }
    }

    /// Whether the key was not there before.
    #[must_use]
    pub fn is_create(&self) -> bool {
        matches!(self, Self::Put { kv, .. } if kv.create_revision == kv.mod_revision)
    }

    /// The change with its key as the server knows it.
    pub(super) fn from_wire(event: mvccpb::Event) -> Result<Self, Error> {
        let whole = Bytes::new();
        let kind = event.r#type();
        if i32::from(kind) != event.r#type {
            return Err(Error::protocol("an event of an unknown kind"));
        }
        let kv = event
            .kv
            .ok_or_else(|| Error::protocol("an event without a key"))?;
        let previous = event
            .prev_kv
            .map(|kv| KeyValue::from_wire(kv, &whole))
            .transpose()?;
        Ok(match kind {
            mvccpb::event::EventType::Put => Self::Put {
                kv: KeyValue::from_wire(kv, &whole)?,
                previous,
            },
            mvccpb::event::EventType::Delete => Self::Delete {
                revision: Revision::from_wire(kv.mod_revision)?,
                key: kv.key,
                previous,
            },
        })
    }

    /// Takes the namespace from its key.
    pub(super) fn strip(&mut self, namespace: &Bytes) -> Result<(), Error> {
        let (key, previous) = match self {
            Self::Put { kv, previous } => (&mut kv.key, previous),
            Self::Delete { key, previous, .. } => (key, previous),
        };
        let of_previous = previous.as_mut().map(|kv| &mut kv.key);
        for key in std::iter::once(key).chain(of_previous) {
            *key = strip(std::mem::take(key), namespace)?;
        }
        Ok(())
    }
}
