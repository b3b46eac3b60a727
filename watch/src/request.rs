//! What a client asks for when it creates a watcher, and why it may be refused.

use bytes::Bytes;
use cairn_index::{KeyRange, Revision};
use cairn_proto::etcdserverpb::WatchCreateRequest;
use cairn_proto::etcdserverpb::watch_create_request::FilterType;

use crate::watcher::{Filters, Fragments, PrevKv, WatchId};

/// Where a watcher starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchStart {
    /// After the store's current revision.
    Now,
    /// At this revision, be it past or future.
    At(Revision),
}

/// Whether a watcher is told now and then how far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressNotify {
    /// Only when the client asks.
    #[default]
    OnRequest,
    /// Also at each progress tick of the stream, unless events told it since the last one.
    Periodic,
}

/// A watcher to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest {
    /// The id that the client chose; without one the stream's next free one is taken.
    pub id: Option<WatchId>,
    /// The keys to watch.
    pub range: KeyRange,
    /// Where to start.
    pub start: WatchStart,
    /// Whether events carry what they replaced.
    pub prev_kv: PrevKv,
    /// The kinds of events to leave out.
    pub filters: Filters,
    /// Whether progress is told periodically.
    pub progress_notify: ProgressNotify,
    /// Whether a long reply may be cut.
    pub fragments: Fragments,
}

impl WatchRequest {
    /// Watches a range from now on, with nothing special.
    #[must_use]
    pub fn new(range: KeyRange) -> Self {
        Self {
            id: None,
            range,
            start: WatchStart::Now,
            prev_kv: PrevKv::default(),
            filters: Filters::default(),
            progress_notify: ProgressNotify::default(),
            fragments: Fragments::default(),
        }
    }

    /// Reads a request as clients send it. Keys are copied, since a watcher lives long and should
    /// not keep the buffer alive that its request came in. The empty key means the least key.
    ///
    /// # Errors
    ///
    /// [`WatchRefusal::NegativeStart`], which is decided before permissions are looked at.
    pub fn from_wire(wire: &WatchCreateRequest) -> Result<Self, WatchRefusal> {
        let start = match wire.start_revision {
            0 => WatchStart::Now,
            start => {
                WatchStart::At(Revision::from_wire(start).map_err(|_| WatchRefusal::NegativeStart)?)
            }
        };
        let key: &[u8] = if wire.key.is_empty() { &[0] } else { &wire.key };
        let filtered = |kind: FilterType| wire.filters.contains(&i32::from(kind));
        Ok(Self {
            id: (wire.watch_id != 0).then_some(WatchId::new(wire.watch_id)),
            range: KeyRange::from_wire(
                Bytes::copy_from_slice(key),
                Bytes::copy_from_slice(&wire.range_end),
            ),
            start,
            prev_kv: if wire.prev_kv {
                PrevKv::Include
            } else {
                PrevKv::Omit
            },
            filters: Filters {
                no_put: filtered(FilterType::Noput),
                no_delete: filtered(FilterType::Nodelete),
            },
            progress_notify: if wire.progress_notify {
                ProgressNotify::Periodic
            } else {
                ProgressNotify::OnRequest
            },
            fragments: if wire.fragment {
                Fragments::Accepted
            } else {
                Fragments::Refused
            },
        })
    }
}

/// Why a watcher was not created. The texts are what clients read in `cancel_reason`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchRefusal {
    /// The start revision is negative.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    NegativeStart,
    /// No key can be in the range.
    #[error("mvcc: watcher range is empty")]
    EmptyRange,
    /// The stream has a watcher with the id that the client chose.
    #[error("mvcc: duplicate watch ID provided on the WatchStream")]
    DuplicateId,
    /// The client may not watch the range; the text is the permission check's.
    #[error("{reason}")]
    Denied {
        /// What the client is told.
        reason: String,
    },
    /// The stream is not open: nobody is told.
    #[error("watch stream is closed")]
    StreamClosed,
}
