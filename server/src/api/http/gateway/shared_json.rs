//! Messages of a stream as JSON, written once for all clients that are sent the same.
//!
//! An event that a thousand clients watch is a thousand equal messages. They are told apart by their
//! bytes, so that nothing here knows what a watch is, and nothing between here and the watchers has to
//! carry JSON along.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;

use super::schema::Show;

/// A message as a line of a stream: `{"result":…}` and a line break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageJson(Bytes);

impl MessageJson {
    const BEFORE: &[u8] = b"{\"result\":";
    const AFTER: &[u8] = b"}\n";

    /// The line of a message that is `json`.
    pub(super) fn new(json: &[u8]) -> Self {
        Self([Self::BEFORE, json, Self::AFTER].concat().into())
    }

    /// All of it.
    pub(super) fn line(&self) -> Bytes {
        self.0.clone()
    }

    /// Without the line break.
    pub(super) fn result(&self) -> Bytes {
        self.0.slice(..self.0.len() - 1)
    }

    /// The message alone.
    pub(super) fn message(&self) -> &[u8] {
        let end = self.0.len() - Self::AFTER.len();
        self.0.get(Self::BEFORE.len()..end).unwrap_or_default()
    }
}

/// Bytes that may be held, of messages and their JSON: what some thousand ordinary events have. Clients
/// that are further apart than that are each written their own.
const BYTES_MAX: usize = 4 << 20;

/// The JSON of the messages that were sent last.
///
/// Invariants:
/// 1. `order` has the keys of `written`, the oldest first.
/// 2. `bytes` is what they and their JSON have, and at most [`BYTES_MAX`].
#[derive(Debug, Default)]
pub(super) struct SharedJson(Mutex<Recent>);

type Key = (Show, Bytes);

#[derive(Debug, Default)]
struct Recent {
    written: HashMap<Key, MessageJson>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl SharedJson {
    /// The JSON of `message`: what is held, or what `write` makes of it. Threads that come at the same
    /// time may each write it.
    ///
    /// # Errors
    ///
    /// That of `write`.
    pub(super) fn of<E>(
        &self,
        message: Bytes,
        show: Show,
        write: impl FnOnce(Bytes) -> Result<MessageJson, E>,
    ) -> Result<MessageJson, E> {
        let key = (show, message);
        if let Some(json) = self.0.lock().written.get(&key) {
            return Ok(json.clone());
        }
        let (show, message) = key;
        // The message is a piece of a larger buffer, which is not to live on for its sake.
        let key = (show, Bytes::copy_from_slice(&message));
        let json = write(message)?;
        self.0.lock().add(key, &json);
        Ok(json)
    }
}

impl Recent {
    fn add(&mut self, key: Key, json: &MessageJson) {
        let bytes = held_bytes(&key, json);
        if bytes > BYTES_MAX || self.written.contains_key(&key) {
            return;
        }
        while self.bytes + bytes > BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if let Some(json) = self.written.remove(&oldest) {
                self.bytes -= held_bytes(&oldest, &json);
            }
        }
        self.bytes += bytes;
        self.order.push_back(key.clone());
        self.written.insert(key, json.clone());
    }
}

/// What an entry holds: its bytes, and its places in the map and in the order.
fn held_bytes((_, message): &Key, json: &MessageJson) -> usize {
    message.len() + json.0.len() + 2 * size_of::<Key>() + size_of::<MessageJson>()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// What is answered for a message, and whether it was written for that.
    fn asked(shared: &SharedJson, message: &[u8], show: Show) -> (MessageJson, bool) {
        let mut is_written = false;
        let json = shared.of(Bytes::copy_from_slice(message), show, |message| {
            is_written = true;
            Ok::<_, Infallible>(MessageJson::new(&message))
        });
        (json.unwrap(), is_written)
    }

    #[test]
    fn a_message_is_a_line_of_a_stream_and_what_is_in_it() {
        let json = MessageJson::new(b"{\"a\":1}");
        assert_eq!(json.line(), "{\"result\":{\"a\":1}}\n");
        assert_eq!(json.result(), "{\"result\":{\"a\":1}}");
        assert_eq!(json.message(), b"{\"a\":1}");
    }

    #[test]
    fn equal_messages_are_written_once_and_share_their_bytes() {
        let shared = SharedJson::default();
        let (first, is_written) = asked(&shared, b"a", Show::Base64);
        assert!(is_written);
        let (second, is_written) = asked(&shared, b"a", Show::Base64);
        assert!(!is_written);
        assert_eq!(first.line().as_ptr(), second.line().as_ptr());
        assert!(asked(&shared, b"b", Show::Base64).1);
        assert!(asked(&shared, b"a", Show::Text).1);
    }

    #[test]
    fn what_is_held_is_bounded_and_the_oldest_goes_first() {
        let shared = SharedJson::default();
        let messages: Vec<Vec<u8>> = (0..100).map(|place| vec![place; BYTES_MAX / 64]).collect();
        for message in &messages {
            asked(&shared, message, Show::Base64);
            let recent = shared.0.lock();
            let held = recent
                .written
                .iter()
                .map(|(key, json)| held_bytes(key, json));
            assert_eq!(recent.bytes, held.sum::<usize>());
            assert!(recent.bytes <= BYTES_MAX && recent.order.len() == recent.written.len());
        }
        assert!(!asked(&shared, &messages[99], Show::Base64).1);
        assert!(asked(&shared, &messages[0], Show::Base64).1);
    }

    #[test]
    fn what_is_too_long_to_be_held_is_answered_all_the_same() {
        let shared = SharedJson::default();
        let long = vec![b'x'; BYTES_MAX];
        for _ in 0..2 {
            let (json, is_written) = asked(&shared, &long, Show::Text);
            assert!(is_written && json.message() == long);
        }
        assert_eq!(shared.0.lock().bytes, 0);
    }
}
