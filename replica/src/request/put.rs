//! A put, parsed.

use bytes::Bytes;
use cairn_mvcc::{LeaseId, is_system_key};
use cairn_proto::etcdserverpb::PutRequest;

use super::RequestError;

/// Writes one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The key, never empty.
    pub key: Bytes,
    /// The value to store.
    pub value: Set<Bytes>,
    /// The lease to attach the key to; a put without one detaches it.
    pub lease: Set<Option<LeaseId>>,
    /// Whether the answer carries the key's previous state.
    pub prev_kv: bool,
}

/// What a put does to one attribute of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set<T> {
    /// Replaces it.
    To(T),
    /// Leaves it as it is; the key must exist.
    Kept,
}

impl<T> Set<T> {
    /// Whether the key must exist already.
    pub const fn is_kept(&self) -> bool {
        matches!(self, Self::Kept)
    }
}

impl Put {
    /// Parses a put.
    ///
    /// # Errors
    ///
    /// [`RequestError`] for an empty or reserved key, or a value or lease given together with the flag to keep
    /// the old one.
    pub fn parse(request: PutRequest) -> Result<Self, RequestError> {
        if request.key.is_empty() {
            return Err(RequestError::EmptyKey);
        }
        if is_system_key(&request.key) {
            return Err(RequestError::ReservedKey);
        }
        if request.ignore_value && !request.value.is_empty() {
            return Err(RequestError::ValueProvided);
        }
        if request.ignore_lease && request.lease != 0 {
            return Err(RequestError::LeaseProvided);
        }
        let value = if request.ignore_value {
            Set::Kept
        } else {
            Set::To(request.value)
        };
        let lease = if request.ignore_lease {
            Set::Kept
        } else {
            Set::To(LeaseId::from_wire(request.lease))
        };
        Ok(Self {
            key: request.key,
            value,
            lease,
            prev_kv: request.prev_kv,
        })
    }

    /// Whether the put must look at the key's previous state.
    pub const fn needs_previous(&self) -> bool {
        self.prev_kv || self.must_exist()
    }

    /// Whether the put fails where its key does not exist.
    pub const fn must_exist(&self) -> bool {
        self.value.is_kept() || self.lease.is_kept()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> PutRequest {
        PutRequest {
            key: Bytes::from_static(b"k"),
            ..PutRequest::default()
        }
    }

    #[test]
    fn an_empty_key_is_refused() {
        let request = PutRequest {
            key: Bytes::new(),
            ..request()
        };
        assert_eq!(Put::parse(request), Err(RequestError::EmptyKey));
    }

    #[test]
    fn a_key_of_the_server_itself_is_refused() {
        let reserved = |key| PutRequest {
            key: Bytes::from_static(key),
            ..request()
        };
        let refused = Put::parse(reserved(b"\0cairn\0x"));
        assert_eq!(refused, Err(RequestError::ReservedKey));
        assert!(Put::parse(reserved(b"\0cairn")).is_ok());
    }

    #[test]
    fn a_kept_attribute_must_not_be_given() {
        let value = PutRequest {
            ignore_value: true,
            value: Bytes::from_static(b"v"),
            ..request()
        };
        assert_eq!(Put::parse(value), Err(RequestError::ValueProvided));
        let lease = PutRequest {
            ignore_lease: true,
            lease: 7,
            ..request()
        };
        assert_eq!(Put::parse(lease), Err(RequestError::LeaseProvided));
    }

    #[test]
    fn lease_zero_is_no_lease() {
        assert_eq!(Put::parse(request()).unwrap().lease, Set::To(None));
    }
}
