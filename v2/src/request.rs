//! Requests: as the log carries them, and what they mean.

use bytes::Bytes;
use prost::Message;

use crate::path::{NodePath, TooDeep};
use crate::timestamp::Timestamp;

/// A request in the log: etcd's `etcdserverpb.Request`, as etcd 3.4 wrote it. Text is kept as bytes,
/// for clients may send any.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Request {
    /// Not used: who waits is in the entry's header.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// `PUT`, `POST`, `DELETE` or `SYNC`.
    #[prost(string, tag = "2")]
    pub method: String,
    /// Of which node, with its namespace.
    #[prost(bytes = "bytes", tag = "3")]
    pub path: Bytes,
    /// The value to write.
    #[prost(bytes = "bytes", tag = "4")]
    pub val: Bytes,
    /// Whether it is about a directory.
    #[prost(bool, tag = "5")]
    pub dir: bool,
    /// The value that the node should have; empty if any.
    #[prost(bytes = "bytes", tag = "6")]
    pub prev_value: Bytes,
    /// The index that the node should have; 0 if any.
    #[prost(uint64, tag = "7")]
    pub prev_index: u64,
    /// Whether the node should be there.
    #[prost(bool, optional, tag = "8")]
    pub prev_exist: Option<bool>,
    /// When the node ends, nanoseconds since 1970; 0 if it does not.
    #[prost(int64, tag = "9")]
    pub expiration: i64,
    /// Not used in the log.
    #[prost(bool, tag = "10")]
    pub wait: bool,
    /// Not used in the log.
    #[prost(uint64, tag = "11")]
    pub since: u64,
    /// Whether a directory goes with all that is in it.
    #[prost(bool, tag = "12")]
    pub recursive: bool,
    /// Not used in the log.
    #[prost(bool, tag = "13")]
    pub sorted: bool,
    /// Not used in the log.
    #[prost(bool, tag = "14")]
    pub quorum: bool,
    /// The time at which the request was made, nanoseconds since 1970.
    #[prost(int64, tag = "15")]
    pub time: i64,
    /// Not used in the log.
    #[prost(bool, tag = "16")]
    pub stream: bool,
    /// Whether to keep the value.
    #[prost(bool, optional, tag = "17")]
    pub refresh: Option<bool>,
}

/// How a request changes the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Writes a node.
    Put,
    /// Makes a node with a name of the store's choice.
    Post,
    /// Deletes a node.
    Delete,
    /// Ends what has expired.
    Sync,
}

impl Method {
    /// Its name in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Sync => "SYNC",
        }
    }
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Make a node where none is.
    Create {
        /// Whether it is a directory.
        dir: bool,
        /// Its value.
        value: Bytes,
        /// Whether the path is the directory's, and the name is to be the index.
        unique: bool,
        /// When it ends.
        expiration: Option<Timestamp>,
    },
    /// Make a node, in place of a file if there is one.
    Set {
        /// Whether it is a directory.
        dir: bool,
        /// Its value.
        value: Bytes,
        /// When it ends.
        ttl: TtlOption,
    },
    /// Change a node.
    Update {
        /// Its new value.
        value: Bytes,
        /// When it ends.
        ttl: TtlOption,
    },
    /// Change a file if it is what it should be.
    CompareAndSwap {
        /// What it should be.
        compare: Compare,
        /// Its new value.
        value: Bytes,
        /// When it ends.
        ttl: TtlOption,
    },
    /// Delete a node.
    Delete {
        /// Whether it may be a directory.
        dir: bool,
        /// Whether something may be in it.
        recursive: bool,
    },
    /// Delete a file if it is what it should be.
    CompareAndDelete {
        /// What it should be.
        compare: Compare,
    },
}

/// When a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlOption {
    /// Then; never, if there is no time.
    pub expiration: Option<Timestamp>,
    /// Whether the value stays as it is, and watchers are not told.
    pub refresh: bool,
}

/// What a file should be. Each part is checked if it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Its value; never empty.
    pub value: Option<Bytes>,
    /// The index of its last change; never 0.
    pub index: Option<u64>,
}

impl Request {
    /// The request that ends what has expired at `now`.
    #[must_use]
    pub fn sync(now: Timestamp) -> Self {
        Self {
            method: Method::Sync.name().to_owned(),
            time: now.nanos(),
            ..Self::default()
        }
    }

    /// How it changes the tree.
    ///
    /// # Errors
    ///
    /// [`UnknownMethod`].
    pub fn method(&self) -> Result<Method, UnknownMethod> {
        let all = [Method::Put, Method::Post, Method::Delete, Method::Sync];
        let found = all.into_iter().find(|method| method.name() == self.method);
        found.ok_or(UnknownMethod)
    }

    /// When it was made.
    #[must_use]
    pub const fn made_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.time)
    }

    /// The node that it is about.
    ///
    /// # Errors
    ///
    /// [`TooDeep`].
    pub fn node(&self) -> Result<NodePath, TooDeep> {
        NodePath::parse(&self.path)
    }

    /// What it asks for; `None` if it ends what has expired.
    ///
    /// # Errors
    ///
    /// [`UnknownMethod`].
    pub fn operation(&self) -> Result<Option<Operation>, UnknownMethod> {
        Ok(match self.method()? {
            Method::Put => Some(self.put()),
            Method::Post => Some(self.create(true)),
            Method::Delete => Some(match self.compare() {
                Some(compare) => Operation::CompareAndDelete { compare },
                None => Operation::Delete {
                    dir: self.dir,
                    recursive: self.recursive,
                },
            }),
            Method::Sync => None,
        })
    }

    fn put(&self) -> Operation {
        let value = self.val.clone();
        let ttl = TtlOption {
            expiration: self.expiration(),
            refresh: self.refresh == Some(true),
        };
        match (self.prev_exist, self.compare()) {
            (Some(false), _) => self.create(false),
            (_, Some(compare)) => Operation::CompareAndSwap {
                compare,
                value,
                ttl,
            },
            (Some(true), None) => Operation::Update { value, ttl },
            (None, None) => Operation::Set {
                dir: self.dir,
                value,
                ttl,
            },
        }
    }

    fn create(&self, unique: bool) -> Operation {
        Operation::Create {
            dir: self.dir,
            value: self.val.clone(),
            unique,
            expiration: self.expiration(),
        }
    }

    fn expiration(&self) -> Option<Timestamp> {
        (self.expiration != 0).then(|| Timestamp::from_nanos(self.expiration))
    }

    fn compare(&self) -> Option<Compare> {
        let value = (!self.prev_value.is_empty()).then(|| self.prev_value.clone());
        let index = (self.prev_index != 0).then_some(self.prev_index);
        (value.is_some() || index.is_some()).then_some(Compare { value, index })
    }
}

/// A request's method is none that changes the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the method is none that changes the tree")]
pub struct UnknownMethod;

#[cfg(test)]
mod tests {
    use super::*;

    fn put() -> Request {
        Request {
            method: "PUT".to_owned(),
            path: Bytes::from_static(b"/1/a"),
            val: Bytes::from_static(b"\xff"),
            ..Request::default()
        }
    }

    #[test]
    fn what_a_put_asks_for_depends_on_what_was_there_before() {
        let compare = Request {
            prev_index: 7,
            ..put()
        };
        let must_exist = |exist, request: &Request| Request {
            prev_exist: Some(exist),
            ..request.clone()
        };
        let asked = |request: Request| request.operation().unwrap().unwrap();
        assert!(matches!(asked(put()), Operation::Set { .. }));
        for request in [compare.clone(), must_exist(true, &compare)] {
            assert!(matches!(asked(request), Operation::CompareAndSwap { .. }));
        }
        let update = asked(must_exist(true, &put()));
        assert!(matches!(update, Operation::Update { .. }));
        for request in [put(), compare] {
            let create = asked(must_exist(false, &request));
            assert!(matches!(create, Operation::Create { unique: false, .. }));
        }
    }

    #[test]
    fn a_request_is_etcds_bytes_and_text_may_be_any() {
        let request = put();
        let bytes = request.encode_to_vec();
        assert_eq!(bytes, b"\x12\x03PUT\x1a\x04/1/a\x22\x01\xff");
        assert_eq!(Request::decode(bytes.as_slice()).unwrap(), request);
    }

    #[test]
    fn other_methods_are_refused() {
        let get = Request {
            method: "QGET".to_owned(),
            ..put()
        };
        assert_eq!(get.operation(), Err(UnknownMethod));
        assert_eq!(
            Request::sync(Timestamp::from_nanos(3)).operation(),
            Ok(None)
        );
    }
}
