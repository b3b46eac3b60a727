//! An answer of a watch stream, decoded straight into what consumers get: its events are the bulk of what a
//! client decodes. Keys and values are slices of the message.

use bytes::Bytes;
use cairn_proto::etcdserverpb as pb;

use super::event::Event;
use crate::error::Error;
use crate::kv::KeyValue;
use crate::revision::{LeaseId, Revision};

/// What [`pb::WatchResponse`] says that a client heeds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The store's; none before 1.
    pub(crate) revision: Option<Revision>,
    pub(crate) watch_id: i64,
    pub(crate) created: bool,
    pub(crate) canceled: bool,
    pub(crate) compact_revision: i64,
    pub(crate) cancel_reason: String,
    pub(crate) fragment: bool,
    /// With their keys as the server knows them.
    pub(crate) events: Vec<Event>,
    /// Why there are not all of them.
    pub(crate) broken: Option<Error>,
}

impl Answer {
    /// Reads the message as it is on the wire; of a field that comes twice, the last counts.
    pub(crate) fn decode(message: &Bytes) -> Result<Self, Error> {
        let mut answer = Self::default();
        let mut fields = Fields(message);
        while let Some((tag, value)) = fields.next()? {
            match (tag, value) {
                (1, Value::Bytes(header)) => answer.revision = revision(header)?,
                (2, Value::Number(id)) => answer.watch_id = id.cast_signed(),
                (3, Value::Number(is)) => answer.created = is != 0,
                (4, Value::Number(is)) => answer.canceled = is != 0,
                (5, Value::Number(at)) => answer.compact_revision = at.cast_signed(),
                (6, Value::Bytes(reason)) => {
                    let text = std::str::from_utf8(reason).map_err(|_| malformed())?;
                    text.clone_into(&mut answer.cancel_reason);
                }
                (7, Value::Number(is)) => answer.fragment = is != 0,
                (11, Value::Bytes(encoded)) => {
                    let events = &mut answer.events;
                    if events.is_empty() {
                        // Events of one message are mostly alike.
                        events.reserve_exact(1 + fields.0.len() / encoded.len().max(EVENT_LEN_MIN));
                    }
                    match event(message, encoded) {
                        Ok(event) => events.push(event),
                        Err(error) => answer.broken = Some(error),
                    }
                }
                _ => {}
            }
        }
        Ok(answer)
    }
}

/// No event is shorter in a message: so little memory can be asked for in vain.
const EVENT_LEN_MIN: usize = 64;

/// The store's revision in a header.
fn revision(header: &[u8]) -> Result<Option<Revision>, Error> {
    let mut revision = None;
    let mut fields = Fields(header);
    while let Some((tag, value)) = fields.next()? {
        if let (3, Value::Number(number)) = (tag, value) {
            revision = Revision::new(number.cast_signed());
        }
    }
    Ok(revision)
}

fn event(message: &Bytes, encoded: &[u8]) -> Result<Event, Error> {
    let (mut kind, mut kv, mut previous) = (0, None, None);
    let mut fields = Fields(encoded);
    while let Some((tag, value)) = fields.next()? {
        match (tag, value) {
            (1, Value::Number(number)) => kind = number,
            (2, Value::Bytes(encoded)) => kv = Some(Raw::decode(message, encoded)?),
            (3, Value::Bytes(encoded)) => previous = Some(Raw::decode(message, encoded)?),
            _ => {}
        }
    }
    let kv = kv.ok_or_else(|| Error::protocol("an event without a key"))?;
    let previous = previous.map(Raw::into_kv).transpose()?;
    match kind {
        PUT => Ok(Event::Put {
            kv: kv.into_kv()?,
            previous,
        }),
        DELETE => Ok(Event::Delete {
            revision: Revision::from_wire(kv.mod_revision)?,
            key: kv.key,
            previous,
        }),
        _ => Err(Error::protocol("an event of an unknown kind")),
    }
}

const PUT: u64 = 0;
const DELETE: u64 = 1;

/// A key-value before its numbers are looked at: a deletion has few of them.
#[derive(Default)]
struct Raw {
    key: Bytes,
    value: Bytes,
    create_revision: i64,
    mod_revision: i64,
    version: i64,
    lease: i64,
}

impl Raw {
    fn decode(message: &Bytes, encoded: &[u8]) -> Result<Self, Error> {
        let mut raw = Self::default();
        let mut fields = Fields(encoded);
        while let Some((tag, value)) = fields.next()? {
            match (tag, value) {
                (1, Value::Bytes(key)) => raw.key = message.slice_ref(key),
                (2, Value::Number(at)) => raw.create_revision = at.cast_signed(),
                (3, Value::Number(at)) => raw.mod_revision = at.cast_signed(),
                (4, Value::Number(version)) => raw.version = version.cast_signed(),
                (5, Value::Bytes(value)) => raw.value = message.slice_ref(value),
                (6, Value::Number(lease)) => raw.lease = lease.cast_signed(),
                _ => {}
            }
        }
        Ok(raw)
    }

    fn into_kv(self) -> Result<KeyValue, Error> {
        Ok(KeyValue {
            key: self.key,
            value: self.value,
            create_revision: Revision::from_wire(self.create_revision)?,
            mod_revision: Revision::from_wire(self.mod_revision)?,
            version: u64::try_from(self.version)
                .map_err(|_| Error::protocol("a version below zero"))?,
            lease: LeaseId::new(self.lease),
        })
    }
}

/// The fields of a message that are still to be read.
struct Fields<'a>(&'a [u8]);

/// What a field holds.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a kind that no field here has.
    Other,
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let len = usize::try_from(self.number()?).map_err(|_| malformed())?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return Err(malformed()),
        };
        Ok(Some((key >> 3, value)))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of seven bits a byte, the low ones first.
    fn number(&mut self) -> Result<u64, Error> {
        let mut number = 0;
        for (at, byte) in self.0.iter().enumerate().take(VARINT_LEN_MAX) {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = self.0.get(at + 1..).unwrap_or_default();
                return Ok(number);
            }
        }
        Err(malformed())
    }
}

const VARINT_LEN_MAX: usize = 10;

fn malformed() -> Error {
    Error::protocol("an answer to a watch that cannot be decoded")
}

impl From<pb::WatchResponse> for Answer {
    fn from(answer: pb::WatchResponse) -> Self {
        let mut broken = None;
        let events = answer.events.into_iter().map(Event::from_wire);
        let events = events.filter_map(|event| event.map_err(|error| broken = Some(error)).ok());
        Self {
            revision: answer.header.and_then(|it| Revision::new(it.revision)),
            watch_id: answer.watch_id,
            created: answer.created,
            canceled: answer.canceled,
            compact_revision: answer.compact_revision,
            cancel_reason: answer.cancel_reason,
            fragment: answer.fragment,
            events: events.collect(),
            broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::mvccpb;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn kv() -> impl Strategy<Value = mvccpb::KeyValue> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
        let number = || prop_oneof![-1..3_i64, any::<i64>()];
        let numbers = (number(), number(), number(), number());
        (bytes(), bytes(), numbers).prop_map(|(key, value, (create, modified, version, lease))| {
            mvccpb::KeyValue {
                key,
                value,
                create_revision: create,
                mod_revision: modified,
                version,
                lease,
            }
        })
    }

    fn response() -> impl Strategy<Value = pb::WatchResponse> {
        let event = (
            0..3_i32,
            proptest::option::of(kv()),
            proptest::option::of(kv()),
        );
        let event = event.prop_map(|(kind, kv, prev_kv)| mvccpb::Event {
            r#type: kind,
            kv,
            prev_kv,
        });
        let events = proptest::collection::vec(event, 0..4);
        let flags = any::<(bool, bool, bool)>();
        (events, flags, any::<(i64, i64, i64)>(), ".{0,9}").prop_map(
            |(events, (created, canceled, fragment), (revision, id, compacted), reason)| {
                pb::WatchResponse {
                    header: Some(pb::ResponseHeader {
                        cluster_id: 1,
                        member_id: 2,
                        revision,
                        raft_term: 3,
                    }),
                    watch_id: id,
                    created,
                    canceled,
                    compact_revision: compacted,
                    cancel_reason: reason,
                    fragment,
                    events,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_what_prost_decodes(response in response()) {
            let message = Bytes::from(response.encode_to_vec());
            let shown = |mut answer: Answer| {
                let is_broken = answer.broken.take().is_some();
                (is_broken, format!("{answer:?}"))
            };
            prop_assert_eq!(shown(Answer::decode(&message).unwrap()), shown(response.into()));
        }

        #[test]
        fn bytes_of_any_kind_are_an_answer_or_an_error(
            response in response(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = response.encode_to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            let len = bytes.len();
            if let Ok(answer) = Answer::decode(&bytes.into()) {
                prop_assert!(answer.events.len() <= len);
                prop_assert!(answer.events.capacity() <= 4 + len / EVENT_LEN_MIN);
            }
        }
    }
}
