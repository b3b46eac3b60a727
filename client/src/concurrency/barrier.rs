//! A barrier: many wait until one lets them go on.

use bytes::Bytes;

use super::waiting::deleted;
use crate::client::Client;
use crate::error::Error;
use crate::into_bytes::IntoBytes;
use crate::kv::{Compare, Put};

/// See [`Client::barrier`].
#[derive(Clone, Debug)]
pub struct Barrier {
    client: Client,
    key: Bytes,
}

impl Client {
    /// A barrier at a key, as Go's `recipe.Barrier`.
    pub fn barrier(&self, key: impl IntoBytes) -> Barrier {
        Barrier {
            client: self.clone(),
            key: key.into_bytes(),
        }
    }
}

impl Barrier {
    /// Has everybody wait from now on; `false` if they do already.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn hold(&self) -> Result<bool, Error> {
        let txn = self.client.txn().when(Compare::missing(&self.key));
        Ok(txn.then(Put::new(&self.key, "")).await?.succeeded)
    }

    /// Lets everybody go on.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn release(&self) -> Result<(), Error> {
        self.client.delete(&self.key).await?;
        Ok(())
    }

    /// Waits until the barrier is released; returns at once if it is not held.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn wait(&self) -> Result<(), Error> {
        loop {
            let held = self.client.range(&self.key).await?;
            if held.kvs.is_empty() {
                return Ok(());
            }
            deleted(&self.client, &self.key, held.header.revision).await?;
        }
    }
}
