//! Waiting for keys to come and go.

use bytes::Bytes;

use crate::client::Client;
use crate::error::Error;
use crate::keys::Keys;
use crate::kv::{KeyValue, Order, SortBy};
use crate::revision::Revision;
use crate::watch::{Event, Update};

/// Waits until a key that was there at a revision is deleted.
pub(super) async fn deleted(client: &Client, key: &Bytes, there_at: Revision) -> Result<(), Error> {
    let mut watch = client
        .watch(key)
        .from(there_at.next())
        .deletes_only()
        .await?;
    while let Some(update) = watch.next().await {
        match update? {
            Update::Events { .. } => return Ok(()),
            Update::Progress(_) => {}
            // What was missed may be the deletion: the caller looks again.
            Update::Compacted(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Waits for the first write of keys after a revision; `None` says to look again.
pub(super) async fn written(
    client: &Client,
    keys: Keys,
    after: Revision,
) -> Result<Option<KeyValue>, Error> {
    let mut watch = client.watch(keys).from(after.next()).puts_only().await?;
    while let Some(update) = watch.next().await {
        match update? {
            Update::Events { events, .. } => {
                let put = events.into_iter().find_map(|event| match event {
                    Event::Put { kv, .. } => Some(kv),
                    Event::Delete { .. } => None,
                });
                if put.is_some() {
                    return Ok(put);
                }
            }
            Update::Progress(_) => {}
            Update::Compacted(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// Waits until every key of a prefix that was created before a revision is gone. Waiters stand in
/// line: each waits for the one before it, so that a deletion wakes one of them.
pub(super) async fn none_before(
    client: &Client,
    prefix: &Bytes,
    created: Revision,
) -> Result<(), Error> {
    let Some(before) = created.previous() else {
        return Ok(());
    };
    loop {
        let last = client
            .range(Keys::prefix(prefix))
            .max_create_revision(before)
            .sort(SortBy::CreateRevision, Order::Descending)
            .limit(1)
            .await?;
        let Some(last_kv) = last.kvs.first() else {
            return Ok(());
        };
        deleted(client, &last_kv.key, last.header.revision).await?;
    }
}

/// The first key of a prefix by creation.
pub(super) fn first_created<C>(range: crate::kv::Range<C>) -> crate::kv::Range<C> {
    range
        .sort(SortBy::CreateRevision, Order::Ascending)
        .limit(1)
}
