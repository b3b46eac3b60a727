//! Software transactional memory: code that reads and writes keys, run again until it was alone.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::client::Client;
use crate::error::Error;
use crate::into_bytes::IntoBytes;
use crate::kv::{Compare, Delete, KeyValue, Op, Put, TxnResponse};
use crate::revision::{LeaseId, Revision};

/// What a transaction may see of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// It reads at one revision, and neither what it read nor what it writes was changed since.
    SerializableSnapshot,
    /// It reads at one revision, and what it read was not changed since.
    Serializable,
    /// What it read was not changed since; two keys may be read at different revisions.
    RepeatableReads,
    /// It reads what is committed, and writes without looking.
    ReadCommitted,
}

/// A transaction under way; see [`Client::stm`].
#[derive(Debug)]
pub struct Stm {
    client: Client,
    isolation: Isolation,
    /// The revision of the first read.
    at: Option<Revision>,
    reads: BTreeMap<Bytes, Option<KeyValue>>,
    writes: BTreeMap<Bytes, Write>,
}

#[derive(Clone, Debug)]
enum Write {
    Put(Bytes, Option<LeaseId>),
    Delete,
}

impl Client {
    /// Runs code that reads and writes keys as one transaction. Its writes are made at the end, if
    /// what it read is still so; otherwise it is run again from the beginning.
    ///
    /// ```no_run
    /// # async fn run(client: cairn_client::Client) -> Result<(), cairn_client::Error> {
    /// use cairn_client::Isolation;
    ///
    /// client
    ///     .stm(Isolation::SerializableSnapshot, async |txn| {
    ///         let count = txn.get("count").await?;
    ///         let count: u64 = count.and_then(|it| std::str::from_utf8(&it).ok()?.parse().ok()).unwrap_or(0);
    ///         txn.put("count", (count + 1).to_string());
    ///         Ok(())
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The code's own error, which ends it without a write, or [`Error`]; after
    /// [`Error::Ambiguous`] its writes may have been made.
    pub async fn stm<T, F>(&self, isolation: Isolation, mut code: F) -> Result<T, Error>
    where
        F: AsyncFnMut(&mut Stm) -> Result<T, Error>,
    {
        loop {
            let mut stm = Stm {
                client: self.clone(),
                isolation,
                at: None,
                reads: BTreeMap::new(),
                writes: BTreeMap::new(),
            };
            let output = code(&mut stm).await?;
            if stm.commit().await?.succeeded {
                return Ok(output);
            }
        }
    }
}

impl Stm {
    /// The value of a key, as this transaction wrote it or as it was read first.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn get(&mut self, key: impl IntoBytes) -> Result<Option<Bytes>, Error> {
        let key = key.into_bytes();
        match self.writes.get(&key) {
            Some(Write::Put(value, _)) => return Ok(Some(value.clone())),
            Some(Write::Delete) => return Ok(None),
            None => {}
        }
        if self.isolation != Isolation::ReadCommitted
            && let Some(read) = self.reads.get(&key)
        {
            return Ok(read.as_ref().map(|kv| kv.value.clone()));
        }
        let mut range = self.client.range(&key);
        if let Some(at) = self.at.filter(|_| self.has_one_revision()) {
            range = range.at(at);
        }
        let answer = range.await?;
        self.at.get_or_insert(answer.header.revision);
        let kv = answer.kvs.into_iter().next();
        let value = kv.as_ref().map(|kv| kv.value.clone());
        self.reads.insert(key, kv);
        Ok(value)
    }

    /// Writes a key, at the end.
    pub fn put(&mut self, key: impl IntoBytes, value: impl IntoBytes) {
        let write = Write::Put(value.into_bytes(), None);
        self.writes.insert(key.into_bytes(), write);
    }

    /// Writes a key on a lease, at the end.
    pub fn put_leased(&mut self, key: impl IntoBytes, value: impl IntoBytes, lease: LeaseId) {
        let write = Write::Put(value.into_bytes(), Some(lease));
        self.writes.insert(key.into_bytes(), write);
    }

    /// Deletes a key, at the end.
    pub fn delete(&mut self, key: impl IntoBytes) {
        self.writes.insert(key.into_bytes(), Write::Delete);
    }

    fn has_one_revision(&self) -> bool {
        match self.isolation {
            Isolation::SerializableSnapshot | Isolation::Serializable => true,
            Isolation::RepeatableReads | Isolation::ReadCommitted => false,
        }
    }

    async fn commit(self) -> Result<TxnResponse, Error> {
        let mut txn = self.client.txn();
        if self.isolation != Isolation::ReadCommitted {
            txn = txn.when_all(self.reads.iter().map(|(key, kv)| {
                let seen = kv.as_ref().map_or(0, |kv| kv.mod_revision.get());
                Compare::mod_revision(key).equals(seen)
            }));
        }
        if self.isolation == Isolation::SerializableSnapshot
            && let Some(at) = self.at
        {
            // What was not read must not have been written since the reads.
            let unread = self
                .writes
                .keys()
                .filter(|key| !self.reads.contains_key(*key));
            let next = at.next();
            txn = txn.when_all(unread.map(|key| Compare::mod_revision(key).less(next)));
        }
        let ops = self.writes.into_iter().map(|(key, write)| -> Op {
            match write {
                Write::Put(value, None) => Put::new(key, value).into(),
                Write::Put(value, Some(lease)) => Put::new(key, value).lease(lease).into(),
                Write::Delete => Delete::new(key).into(),
            }
        });
        txn.then_all(ops).await
    }
}
