//! What a watcher asked for and everything it heard.

use serde::{Deserialize, Serialize};

use crate::{ClientId, KeyRange, KeyValue, MemberId, Revision, Time};

/// One watcher from its request to the end of its stream. A client that resumes makes another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Who watches.
    pub client: ClientId,
    /// The member asked.
    pub member: MemberId,
    /// When it was asked.
    pub call: Time,
    /// What it was asked.
    pub request: WatchRequest,
    /// All that was heard, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<WatchResponse>,
    /// When the client closed the stream or lost it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
}

/// A request to watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRequest {
    /// Which keys.
    pub range: KeyRange,
    /// From which revision on; absent: from the one after the revision of the first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Revision>,
    /// With the version before each change.
    #[serde(default)]
    pub prev_kv: bool,
    /// Without writes.
    #[serde(default)]
    pub no_put: bool,
    /// Without deletions.
    #[serde(default)]
    pub no_delete: bool,
    /// With progress when there are no events.
    #[serde(default)]
    pub progress_notify: bool,
    /// Large answers may come in parts.
    #[serde(default)]
    pub fragment: bool,
}

/// One message to a watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchResponse {
    /// When it came.
    pub at: Time,
    /// The header's revision.
    pub revision: Revision,
    /// What it says.
    pub says: WatchSays,
}

/// What a message to a watcher says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchSays {
    /// The watcher is there.
    Created,
    /// Changes.
    Events {
        /// In order.
        events: Vec<Event>,
        /// More of the same answer follows in the next message.
        #[serde(default)]
        fragment: bool,
    },
    /// All up to the header's revision was sent. An answer to a request for progress belongs to all
    /// watchers of its stream: record it for each.
    Progress,
    /// The end.
    Canceled {
        /// The oldest revision that can be watched, if the watcher's next one is compacted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compacted: Option<Revision>,
        /// For people.
        #[serde(default)]
        reason: String,
    },
}

/// One change of one key, as watchers hear of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// Written or deleted.
    pub kind: EventKind,
    /// The new version; of a deletion only key and modification revision count.
    pub kv: KeyValue,
    /// The version before, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_kv: Option<KeyValue>,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It was written.
    Put,
    /// It was deleted.
    Delete,
}

impl WatchRequest {
    /// From now on, without options.
    #[must_use]
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            start: None,
            prev_kv: false,
            no_put: false,
            no_delete: false,
            progress_notify: false,
            fragment: false,
        }
    }
}

impl Watch {
    /// All events, each with the message that brought it.
    pub fn events(&self) -> impl Iterator<Item = (&WatchResponse, &Event)> {
        self.responses.iter().flat_map(|response| {
            let events = match &response.says {
                WatchSays::Events { events, .. } => events.as_slice(),
                WatchSays::Created | WatchSays::Progress | WatchSays::Canceled { .. } => &[],
            };
            events.iter().map(move |event| (response, event))
        })
    }
}
