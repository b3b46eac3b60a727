//! Elections: one of many sessions leads, and all know what it says.

use std::future::Future;

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;
use tokio_stream::Stream;

use super::own_key::OwnKey;
use super::session::Session;
use super::waiting::{first_created, none_before, written};
use crate::client::Client;
use crate::error::Error;
use crate::into_bytes::IntoBytes;
use crate::keys::Keys;
use crate::kv::{Compare, KeyValue, Put};
use crate::revision::Revision;
use crate::unfold::{BoxFuture, unfold};
use crate::watch::{Event, Update, Watch};

/// Leadership that was won: nobody else leads as long as the session lasts. Dropping it resigns.
#[derive(Debug)]
#[must_use = "who drops it resigns"]
pub struct Leadership {
    own: OwnKey,
    _place: OwnedMutexGuard<()>,
}

/// An election as those see it who do not run; see [`Client::election`].
#[derive(Clone, Debug)]
pub struct Election {
    client: Client,
    prefix: Bytes,
}

impl Session {
    /// Runs for leadership with a value that everybody can read, and returns when it is won.
    /// Dropping the future withdraws. The keys are those of Go's `concurrency.Election`.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`] if the session is over first, or [`Error`].
    pub async fn campaign(
        &self,
        name: impl IntoBytes,
        value: impl IntoBytes,
    ) -> Result<Leadership, Error> {
        let (name, value) = (name.into_bytes(), value.into_bytes());
        let waiting = async {
            let place = self.enter(&name).await;
            let prefix = prefix_of(&name);
            let key = [&prefix[..], self.lease().to_string().as_bytes()].concat();
            let made = OwnKey::create(self, key.into(), value.clone(), None).await?;
            let (own, answer) =
                made.ok_or_else(|| Error::protocol("another lease has this session's key"))?;
            let leadership = Leadership { own, _place: place };
            if answer.kvs().any(|kv| kv.value != value) {
                leadership.proclaim(value).await?;
            }
            none_before(self.client(), &prefix, leadership.own.created()).await?;
            let own = leadership.own.is_there();
            if !self.client().txn().when(own).await?.succeeded {
                return Err(Error::LeaseLost);
            }
            Ok(leadership)
        };
        self.run_fallible(waiting).await
    }
}

fn prefix_of(name: &Bytes) -> Bytes {
    [name, &b"/"[..]].concat().into()
}

impl Leadership {
    /// The key that stands for it.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        self.own.key()
    }

    /// Grows with each leader.
    #[must_use]
    pub fn fencing_token(&self) -> Revision {
        self.own.created()
    }

    /// For a transaction: that this still leads.
    pub fn is_held(&self) -> Compare {
        self.own.is_there()
    }

    /// Says something else to everybody, without another election.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`] if this does not lead any more, or [`Error`].
    pub async fn proclaim(&self, value: impl IntoBytes) -> Result<(), Error> {
        let session = self.own.session();
        let put = Put::new(self.own.key(), value).lease(session.lease());
        let said = session
            .client()
            .txn()
            .when(self.own.is_there())
            .then(put)
            .await?;
        if said.succeeded {
            Ok(())
        } else {
            Err(Error::LeaseLost)
        }
    }

    /// Returns when the session is over, and leadership with it.
    pub async fn lost(&self) {
        self.own.session().lost().await;
    }

    /// Runs a future as long as this leads; if the session is over first, it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::LeaseLost`].
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        self.own.session().run(future).await
    }

    /// Resigns: the next in line leads.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn resign(self) -> Result<(), Error> {
        self.own.remove().await
    }
}

impl Client {
    /// An election, to see who leads.
    pub fn election(&self, name: impl IntoBytes) -> Election {
        Election {
            client: self.clone(),
            prefix: prefix_of(&name.into_bytes()),
        }
    }
}

impl Election {
    /// The leader's key with what it says; `None` if nobody leads.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn leader(&self) -> Result<Option<KeyValue>, Error> {
        let first = first_created(self.client.range(Keys::prefix(&self.prefix)));
        Ok(first.await?.kvs.into_iter().next())
    }

    /// What leaders say: the present leader's word first, then each new word of it and of those
    /// after. The latest is always told; one that was soon followed by another may be left out.
    pub fn observe(&self) -> impl Stream<Item = Result<KeyValue, Error>> + Send + Unpin + use<> {
        let observer = Observer {
            election: self.clone(),
            leader: None,
            is_over: false,
        };
        unfold(observer, |mut observer| -> BoxFuture<_> {
            Box::pin(async move {
                if observer.is_over {
                    return None;
                }
                let word = observer.next_word().await;
                observer.is_over = word.is_err();
                Some((word, observer))
            })
        })
    }
}

struct Observer {
    election: Election,
    leader: Option<Watch>,
    is_over: bool,
}

impl Observer {
    async fn next_word(&mut self) -> Result<KeyValue, Error> {
        loop {
            if let Some(watch) = &mut self.leader {
                match next_of(watch).await? {
                    Some(kv) => return Ok(kv),
                    None => self.leader = None,
                }
            }
            let client = &self.election.client;
            let keys = Keys::prefix(&self.election.prefix);
            let first = first_created(client.range(keys.clone())).await?;
            let revision = first.header.revision;
            match first.kvs.into_iter().next() {
                Some(kv) => {
                    let watch = client.watch(&kv.key).from(revision.next()).await?;
                    self.leader = Some(watch);
                    return Ok(kv);
                }
                // Whoever is first in the line then is read.
                None => drop(written(client, keys, revision).await?),
            }
        }
    }
}

/// The leader's next word; `None` if it no longer leads.
async fn next_of(watch: &mut Watch) -> Result<Option<KeyValue>, Error> {
    while let Some(update) = watch.next().await {
        match update? {
            Update::Events { events, .. } => {
                return Ok(match events.into_iter().next_back() {
                    Some(Event::Put { kv, .. }) => Some(kv),
                    _ => None,
                });
            }
            Update::Progress(_) => {}
            Update::Compacted(_) => return Ok(None),
        }
    }
    Ok(None)
}
