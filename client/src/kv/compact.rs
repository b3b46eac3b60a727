//! Forgetting the past.

use std::future::IntoFuture;

use cairn_proto::etcdserverpb as pb;

use crate::client::Client;
use crate::error::Error;
use crate::revision::Revision;
use crate::unfold::BoxFuture;

/// A compaction.
#[derive(Clone, Debug)]
#[must_use = "a request is sent when it is awaited"]
pub struct Compact {
    client: Client,
    request: pb::CompactionRequest,
}

impl Compact {
    pub(super) fn of(client: Client, revision: Revision) -> Self {
        let request = pb::CompactionRequest {
            revision: revision.get(),
            physical: false,
        };
        Self { client, request }
    }

    /// Waits until the member that answers has deleted from its database, too.
    pub fn physical(mut self) -> Self {
        self.request.physical = true;
        self
    }
}

impl IntoFuture for Compact {
    type Output = Result<(), Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.client.call(self.request).await?;
            Ok(())
        })
    }
}
