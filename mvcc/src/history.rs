//! History for watchers: the changes of a stretch of revisions, in order.
//!
//! One scan serves any number of watchers that are behind: the caller says which keys anybody wants.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use cairn_backend::Table;
use cairn_index::{FullRevision, KeyRange, Revision, Version};

use crate::bucket_key::BucketKey;
use crate::change::{Change, ChangeKind};
use crate::error::ReadError;
use crate::range_query::ReadAt;
use crate::store::Store;
use crate::stored_kv::{KvFields, MalformedKv};
use crate::view::View;

/// How much one call may do. A transaction is never split, so the last one may go beyond.
#[derive(Clone, Copy, Debug)]
pub struct EventLimits {
    /// How many stored changes are looked at, wanted or not.
    pub scanned_max: usize,
    /// How many bytes of wanted keys and values are returned.
    pub bytes_max: usize,
}

/// A piece of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// The wanted changes, in order; whole transactions.
    pub changes: Vec<Change>,
    /// The first transaction not looked at, if the limits were reached before the end.
    pub next: Option<Revision>,
}

impl Store {
    /// The changes of the transactions in `[from, to]` whose keys are `wanted`.
    ///
    /// # Errors
    ///
    /// [`ReadError::Compacted`] if `from` is compacted, [`ReadError::Future`] if `to` is in the
    /// future, others if storage fails.
    pub fn events(
        &self,
        from: Revision,
        to: Revision,
        limits: EventLimits,
        wanted: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Events, ReadError> {
        let view = self.view(ReadAt::Revision(from), &KeyRange::All)?;
        let current = view.current;
        if to > current {
            return Err(ReadError::Future {
                requested: to,
                current,
            });
        }
        let mut reader = Reader {
            view: &view,
            limits,
            wanted,
            scanned: 0,
            bytes: 0,
            last: from,
            changes: Vec::new(),
        };
        let next = reader.read(to)?;
        Ok(Events {
            changes: reader.changes,
            next,
        })
    }
}

struct Reader<'w> {
    view: &'w View,
    limits: EventLimits,
    wanted: &'w mut dyn FnMut(&[u8]) -> bool,
    scanned: usize,
    bytes: usize,
    last: Revision,
    changes: Vec<Change>,
}

impl Reader<'_> {
    /// The first transaction not looked at, if the limits were reached before the end.
    fn read(&mut self, to: Revision) -> Result<Option<Revision>, ReadError> {
        let (first, end) = (
            BucketKey::first_of(self.last),
            BucketKey::first_of(to.next()),
        );
        let bounds = (
            Bound::Included(first.as_bytes()),
            Bound::Excluded(end.as_bytes()),
        );
        let view = self.view;
        let mut next = Ok(None);
        view.values.scan(Table::Key, bounds, &mut |key, value| {
            next = self.take(key, value);
            match next {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(_)) | Err(_) => ControlFlow::Break(()),
            }
        })?;
        next
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Revision>, ReadError> {
        let (at, kind) = BucketKey::decode(key)?;
        let full = self.scanned >= self.limits.scanned_max || self.bytes >= self.limits.bytes_max;
        if full && at.main != self.last {
            return Ok(Some(at.main));
        }
        self.scanned += 1;
        self.last = at.main;
        let fields = KvFields::parse(value)?;
        if (self.wanted)(fields.key) {
            self.bytes += fields.key.len() + value.len();
            self.changes
                .push(change(self.view, at, kind, &fields, value)?);
        }
        Ok(None)
    }
}

fn change(
    view: &View,
    at: FullRevision,
    kind: ChangeKind,
    fields: &KvFields<'_>,
    value: &[u8],
) -> Result<Change, MalformedKv> {
    let before = at.main.previous();
    let readable = before.filter(|before| view.compacted.is_none_or(|point| !point.hides(*before)));
    let previous = readable
        .and_then(|before| view.index.get(fields.key, before))
        .map(|version| version.modified);
    Ok(match kind {
        ChangeKind::Put => {
            let version = Version::from_wire(fields.version).ok_or(MalformedKv)?;
            let kv = Bytes::copy_from_slice(value);
            Change::put(kv, fields.key.len(), version, at, previous)
        }
        ChangeKind::Delete => Change::delete(fields.key, at, previous),
    })
}
