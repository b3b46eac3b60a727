//! What the hub tells a client, and how that looks on the wire.

use cairn_index::Revision;
use cairn_proto::etcdserverpb::ResponseHeader;
use cairn_proto::stored::{EncodedEvent, WatchResponse};
use prost::Message;
use prost::encoding::encoded_len_varint;

use crate::event::EventList;
use crate::request::WatchRefusal;
use crate::sink::REPLY_OVERHEAD_BYTES;
use crate::watcher::{Fragments, WatchId};

/// What the wire calls the watcher of a reply that is about none, or about all of the stream.
const NO_WATCHER: i64 = -1;

/// A message to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchReply {
    /// The header's revision.
    pub revision: Revision,
    /// What is said.
    pub kind: ReplyKind,
    weight: usize,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// The watcher exists; its events follow.
    Created {
        /// The watcher.
        watch: WatchId,
    },
    /// The watcher was not created.
    Refused {
        /// Why; boxed because it is rare and long.
        reason: Box<WatchRefusal>,
    },
    /// Something happened: all of a watcher's events of one revision or more.
    Events {
        /// The watcher.
        watch: WatchId,
        /// What happened, in order.
        events: EventList,
        /// Whether the reply may be cut.
        fragments: Fragments,
    },
    /// All events through the header's revision have been sent.
    Progress {
        /// The watcher that this is about; all of the stream without one.
        watch: Option<WatchId>,
    },
    /// The watcher ended because the client said so.
    Canceled {
        /// The watcher.
        watch: WatchId,
    },
    /// The watcher ended because it needed history that is compacted.
    Compacted {
        /// The watcher.
        watch: WatchId,
        /// The first revision that can be watched.
        compacted: Revision,
    },
}

impl WatchReply {
    /// A message that counts with its events.
    #[must_use]
    pub fn new(revision: Revision, kind: ReplyKind) -> Self {
        let events = match &kind {
            ReplyKind::Events { events, .. } => events
                .iter()
                .map(|event| size_of::<EncodedEvent>() + event.0.len())
                .sum(),
            _ => 0,
        };
        Self {
            revision,
            kind,
            weight: REPLY_OVERHEAD_BYTES + events,
        }
    }

    /// A message whose events the message before it on its stream carries too.
    pub(crate) const fn sharing_events(revision: Revision, kind: ReplyKind) -> Self {
        Self {
            revision,
            kind,
            weight: REPLY_OVERHEAD_BYTES,
        }
    }

    /// The memory that the message holds, in bytes.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// Turns the message into what goes onto the wire: one response, or several of which each is
    /// smaller than `response_bytes_max` or has one event, if the watcher accepts fragments.
    ///
    /// The header's revision is set here; the rest of `header` is the caller's.
    #[must_use]
    pub fn into_responses(
        self,
        header: ResponseHeader,
        response_bytes_max: usize,
    ) -> Vec<WatchResponse> {
        let header = ResponseHeader {
            revision: self.revision.to_wire(),
            ..header
        };
        let about = |watch: WatchId| WatchResponse {
            header: Some(header),
            watch_id: watch.to_wire(),
            ..WatchResponse::default()
        };
        let none = WatchId::new(NO_WATCHER);
        vec![match self.kind {
            ReplyKind::Created { watch } => WatchResponse {
                created: true,
                ..about(watch)
            },
            ReplyKind::Refused { reason } => WatchResponse {
                created: true,
                canceled: true,
                cancel_reason: reason.to_string(),
                ..about(none)
            },
            ReplyKind::Progress { watch } => about(watch.unwrap_or(none)),
            ReplyKind::Canceled { watch } => WatchResponse {
                canceled: true,
                ..about(watch)
            },
            // etcd leaves the header's revision out here, and only here.
            ReplyKind::Compacted { watch, compacted } => WatchResponse {
                header: Some(ResponseHeader {
                    revision: 0,
                    ..header
                }),
                canceled: true,
                compact_revision: compacted.to_wire(),
                ..about(watch)
            },
            ReplyKind::Events {
                watch,
                events,
                fragments: Fragments::Refused,
            } => WatchResponse {
                events: events.to_vec(),
                ..about(watch)
            },
            ReplyKind::Events {
                watch,
                events,
                fragments: Fragments::Accepted,
            } => {
                return cut(&about(watch), &events, response_bytes_max);
            }
        }]
    }
}

/// Spreads events over as few responses as their sizes allow.
fn cut(
    empty: &WatchResponse,
    events: &[EncodedEvent],
    response_bytes_max: usize,
) -> Vec<WatchResponse> {
    let empty_len = empty.encoded_len();
    if empty_len + events.iter().map(record_len).sum::<usize>() < response_bytes_max {
        return vec![WatchResponse {
            events: events.to_vec(),
            ..empty.clone()
        }];
    }
    let empty = WatchResponse {
        fragment: true,
        ..empty.clone()
    };
    let empty_len = empty.encoded_len();
    let mut responses: Vec<WatchResponse> = Vec::new();
    let mut len = 0;
    for event in events {
        len += record_len(event);
        match responses.last_mut() {
            Some(open) if len < response_bytes_max => open.events.push(event.clone()),
            _ => {
                len = empty_len + record_len(event);
                responses.push(WatchResponse {
                    events: vec![event.clone()],
                    ..empty.clone()
                });
            }
        }
    }
    if let Some(last) = responses.last_mut() {
        last.fragment = false;
    }
    responses
}

/// What an event adds to a response: field 11, its length, itself.
fn record_len(event: &EncodedEvent) -> usize {
    1 + encoded_len_varint(event.0.len() as u64) + event.0.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn events_reply(sizes: &[usize], fragments: Fragments) -> WatchReply {
        let events = sizes
            .iter()
            .map(|&size| EncodedEvent(Bytes::from(vec![0x3a; size])))
            .collect();
        WatchReply::new(
            Revision::FIRST.next(),
            ReplyKind::Events {
                watch: WatchId::new(7),
                events,
                fragments,
            },
        )
    }

    fn pieces(sizes: &[usize], fragments: Fragments, bytes_max: usize) -> Vec<(usize, bool)> {
        events_reply(sizes, fragments)
            .into_responses(ResponseHeader::default(), bytes_max)
            .iter()
            .map(|response| {
                assert_eq!(response.watch_id, 7);
                assert_eq!(response.header.unwrap().revision, 2);
                assert!(response.events.len() == 1 || response.encoded_len() < bytes_max);
                (response.events.len(), response.fragment)
            })
            .collect()
    }

    #[test]
    fn a_reply_is_cut_only_if_the_watcher_accepts_it_and_it_is_too_long() {
        assert_eq!(pieces(&[10; 10], Fragments::Accepted, 1000), [(10, false)]);
        let whole = events_reply(&[100; 10], Fragments::Refused)
            .into_responses(ResponseHeader::default(), 50);
        assert_eq!(
            (whole.len(), whole[0].events.len(), whole[0].fragment),
            (1, 10, false)
        );
    }

    #[test]
    fn all_pieces_but_the_last_say_that_more_follows() {
        assert_eq!(
            pieces(&[100; 5], Fragments::Accepted, 250),
            [(2, true), (2, true), (1, false)]
        );
    }

    #[test]
    fn an_event_above_the_limit_is_a_piece_of_its_own() {
        assert_eq!(
            pieces(&[10, 500, 10], Fragments::Accepted, 100),
            [(1, true), (1, true), (1, false)]
        );
        assert_eq!(pieces(&[500], Fragments::Accepted, 100), [(1, false)]);
    }

    #[test]
    fn a_cut_is_made_where_the_encoded_length_reaches_the_limit() {
        let header = ResponseHeader::default();
        let two = events_reply(&[100, 100], Fragments::Refused).into_responses(header, 0);
        let len = two[0].encoded_len();
        assert_eq!(
            pieces(&[100, 100], Fragments::Accepted, len + 1),
            [(2, false)]
        );
        assert_eq!(
            pieces(&[100, 100], Fragments::Accepted, len),
            [(1, true), (1, false)]
        );
    }

    #[test]
    fn control_replies_read_as_clients_expect_them() {
        let response = |kind| {
            let header = ResponseHeader {
                raft_term: 3,
                ..ResponseHeader::default()
            };
            let mut responses = WatchReply::new(Revision::FIRST, kind).into_responses(header, 100);
            assert_eq!(responses.len(), 1);
            let response = responses.remove(0);
            assert_eq!(response.header.unwrap().raft_term, 3);
            response
        };
        let watch = WatchId::new(4);
        let created = response(ReplyKind::Created { watch });
        assert!(created.created && !created.canceled && created.watch_id == 4);
        let refused = response(ReplyKind::Refused {
            reason: Box::new(WatchRefusal::EmptyRange),
        });
        assert!(refused.created && refused.canceled && refused.watch_id == -1);
        assert_eq!(refused.cancel_reason, "mvcc: watcher range is empty");
        let compacted = Revision::FIRST.next();
        let ended = response(ReplyKind::Compacted { watch, compacted });
        assert!(ended.canceled && ended.compact_revision == 2 && ended.cancel_reason.is_empty());
        assert_eq!(ended.header.unwrap().revision, 0);
        let progress = response(ReplyKind::Progress { watch: None });
        assert!(!progress.created && !progress.canceled && progress.watch_id == -1);
    }
}
