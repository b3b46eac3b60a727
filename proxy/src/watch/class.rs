//! Which watchers are equal.

use bytes::Bytes;
use cairn_proto::etcdserverpb as pb;
use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Request;
use tonic::metadata::MetadataMap;

/// Headers that say who asks, and what of the cluster.
const CREDENTIALS: [&str; 3] = ["token", "authorization", "hasleader"];

/// Who watches, for the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Credentials(Vec<(&'static str, HeaderValue)>);

impl Credentials {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let found = CREDENTIALS.iter();
        let found = found.filter_map(|name| Some((*name, headers.get(*name)?.clone())));
        Self(found.collect())
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.0.iter().all(|(name, _)| *name == "hasleader")
    }

    /// A call upstream.
    pub(super) fn call<T>(&self, message: T) -> Request<T> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.0 {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
        let mut call = Request::new(message);
        *call.metadata_mut() = MetadataMap::from_headers(headers);
        call
    }
}

/// What equal watchers have in common. Keys are those upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Class {
    pub(super) key: Bytes,
    pub(super) range_end: Bytes,
    filters: Vec<i32>,
    prev_kv: bool,
    pub(super) credentials: Credentials,
}

impl Class {
    /// The class of a watch of `key..range_end`, keys upstream.
    pub(super) fn of(
        create: &pb::WatchCreateRequest,
        (key, range_end): (Bytes, Bytes),
        credentials: Credentials,
    ) -> Self {
        let mut filters = create.filters.clone();
        filters.sort_unstable();
        filters.dedup();
        Self {
            key,
            range_end,
            filters,
            prev_kv: create.prev_kv,
            credentials,
        }
    }

    /// A watch of the class from a revision on.
    pub(super) fn create(&self, start_revision: i64) -> pb::WatchCreateRequest {
        pb::WatchCreateRequest {
            key: self.key.clone(),
            range_end: self.range_end.clone(),
            start_revision,
            progress_notify: true,
            filters: self.filters.clone(),
            prev_kv: self.prev_kv,
            ..pb::WatchCreateRequest::default()
        }
    }
}
