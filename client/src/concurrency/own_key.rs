//! A key that stands for its owner, and goes with it.

use bytes::Bytes;

use super::session::Session;
use crate::error::Error;
use crate::kv::{Compare, Delete, Get, Op, OpResponse, Put, TxnResponse};
use crate::revision::{LeaseId, Revision};

/// A key on a session's lease, deleted when this is dropped.
#[derive(Debug)]
pub(super) struct OwnKey {
    session: Session,
    key: Bytes,
    /// The revision that created it; unknown until the server has said so.
    created: Option<Revision>,
    is_over: bool,
}

impl OwnKey {
    /// Creates the key, if it is not there; reads what else is asked for at the same revision.
    /// `None` says that somebody else has it.
    ///
    /// The outcome of a write may be unknown: then the key is looked for, as only this session
    /// can have made it.
    pub(super) async fn create(
        session: &Session,
        key: Bytes,
        value: Bytes,
        also: Option<Op>,
    ) -> Result<Option<(Self, TxnResponse)>, Error> {
        let mut own = Self {
            session: session.clone(),
            key,
            created: None,
            is_over: false,
        };
        loop {
            let put = Put::new(&own.key, &value).lease(session.lease());
            let txn = session
                .client()
                .txn()
                .when(Compare::create_revision(&own.key).equals(0))
                .then(put)
                .then_all(also.clone())
                .otherwise(Get::new(&own.key))
                .otherwise_all(also.clone());
            match txn.await {
                Ok(answer) => {
                    let lease = Some(session.lease());
                    own.is_over = !answer.succeeded && !is_on(&answer, lease);
                    if own.is_over {
                        return Ok(None);
                    }
                    own.created = Some(created_by(&answer)?);
                    return Ok(Some((own, answer)));
                }
                Err(error) if error.is_ambiguous() => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn key(&self) -> &Bytes {
        &self.key
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// The revision that created it.
    pub(super) fn created(&self) -> Revision {
        self.created.unwrap_or(Revision::FIRST)
    }

    /// That it is still there.
    pub(super) fn is_there(&self) -> Compare {
        Compare::create_revision(&self.key).equals(self.created())
    }

    /// Deletes it.
    pub(super) async fn remove(mut self) -> Result<(), Error> {
        let gone = delete(&self.session, &self.key, self.created).await;
        self.is_over = gone.is_ok();
        gone
    }
}

/// Deletes a key in the life that it was created in; this may be done twice.
async fn delete(session: &Session, key: &Bytes, created: Option<Revision>) -> Result<(), Error> {
    loop {
        let txn = session.client().txn().then(Delete::new(key));
        let txn = match created {
            Some(created) => txn.when(Compare::create_revision(key).equals(created)),
            None => txn.when(Compare::lease(key).equals(session.lease())),
        };
        match txn.await {
            Err(error) if error.is_ambiguous() => {}
            ended => return ended.map(drop),
        }
    }
}

/// Whether the key that was there is on a lease.
fn is_on(answer: &TxnResponse, lease: Option<LeaseId>) -> bool {
    match answer.responses.first() {
        Some(OpResponse::Range(own)) => own.kvs.iter().all(|kv| kv.lease == lease),
        _ => false,
    }
}

fn created_by(answer: &TxnResponse) -> Result<Revision, Error> {
    match answer.responses.first() {
        Some(OpResponse::Put(_)) => Ok(answer.header.revision),
        Some(OpResponse::Range(range)) => {
            let own = range.kvs.first();
            let own = own.ok_or_else(|| Error::protocol("a key that is there and is not"))?;
            Ok(own.create_revision)
        }
        _ => Err(Error::protocol("an answer without what was asked for")),
    }
}

impl Drop for OwnKey {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Outside a runtime there is nobody to do it; the key goes with its lease.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (session, key, created) = (self.session.clone(), self.key.clone(), self.created);
            runtime.spawn(async move { delete(&session, &key, created).await });
        }
    }
}
