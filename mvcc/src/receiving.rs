//! Receiving the database of another member, and indexing it on the way.
//!
//! What comes is written and read but once: the rows go to the disk, and to the thread that builds
//! the index, which is done when the last of them is durable or soon after.

use cairn_backend::{Applied, SnapshotReceiver, Table};

use crate::error::{InstallError, ReceiveError};
use crate::install::Prepared;
use crate::restore::{Contents, Indexing};
use crate::store::Store;

/// A database on its way in. Dropped before [`Receiving::finish`], it leaves nothing.
pub struct Receiving {
    store: Store,
    receiver: SnapshotReceiver,
    indexing: Indexing,
}

impl Store {
    /// Begins to receive a database beside this store's, which goes on.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or the system has no thread for its index.
    pub fn receive(&self) -> Result<Receiving, ReceiveError> {
        Ok(Receiving {
            store: self.clone(),
            receiver: self.backend().receive()?,
            indexing: Indexing::begin().map_err(InstallError::from)?,
        })
    }
}

impl Receiving {
    /// Takes the next chunk, whole as it was sent.
    ///
    /// # Errors
    ///
    /// If it is not what should come next, or cannot be written. There is no going on then.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), ReceiveError> {
        let Self {
            receiver, indexing, ..
        } = self;
        receiver.write_and_see(chunk, &mut |table, rows| {
            if table == Table::Key {
                // What is wrong with a row is told in the end.
                let _ = rows
                    .iter()
                    .try_for_each(|(key, value)| indexing.take(key, value));
            }
        })?;
        Ok(())
    }

    /// How many bytes of keys and values have been received.
    #[must_use]
    pub const fn received_bytes(&self) -> u64 {
        self.receiver.received_bytes()
    }

    /// Makes what was received durable, and says what can be installed. What `announced` is not, or
    /// cannot come after the store, leaves nothing.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`]; all is then as before.
    pub fn finish(self, announced: Applied) -> Result<Prepared, ReceiveError> {
        let Self {
            store,
            receiver,
            indexing,
        } = self;
        let indexing = indexing.close();
        let received = receiver.finish()?;
        let prepared = if received == announced {
            let prepared = store.prepare(received, |view| Contents::of(view, indexing));
            prepared.map_err(ReceiveError::from)
        } else {
            Err(ReceiveError::Misnamed {
                received,
                announced,
            })
        };
        if prepared.is_err() {
            let discarded = store.backend().discard_received(received);
            discarded.map_err(InstallError::from)?;
        }
        prepared
    }
}
