//! Where objects are kept.

use bytes::Bytes;
use cairn_consensus::ClusterId;

use crate::error::Error;
use crate::sealed::Nonce;

/// What became of an attempt to write an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Done,
    /// There was one of this name, which stays as it is.
    Exists,
}

/// The store failed. An object may have been written nevertheless, or be written later.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A store of objects under names with `/` in them.
///
/// What is asked of it: an object is there whole or not at all, is never replaced by [`put_new`], and is
/// found by [`get`] once writing it has returned. Listings may be old.
///
/// [`put_new`]: Store::put_new
/// [`get`]: Store::get
pub trait Store {
    /// Writes an object, if there is none of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then it may be there, or not, or later.
    fn put_new(&self, name: &str, bytes: Bytes) -> Result<Put, StoreError>;

    /// An object; none if there is no such.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError>;

    /// The names of all objects under `folder`, which ends with `/` or is empty, in order; as they are
    /// now or were before. Only those after `after`, if that is not empty.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn list(&self, folder: &str, after: &str) -> Result<Vec<String>, StoreError>;

    /// The names of all folders at the top.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn folders(&self) -> Result<Vec<String>, StoreError>;

    /// Deletes an object; nothing happens if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn delete(&self, name: &str) -> Result<(), StoreError>;
}

/// Checks that a store refuses to write an object twice, on which two writers depend.
///
/// # Errors
///
/// If it does not, or fails.
pub fn check_store(store: &dyn Store, cluster: ClusterId, nonce: Nonce) -> Result<(), Error> {
    let digits: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{:016x}/probe/{digits}", cluster.get());
    let put = || store.put_new(&name, Bytes::from_static(b"probe"));
    let outcome = match (put()?, put()?) {
        (Put::Done, Put::Exists) => Ok(()),
        _ => Err(StoreError(
            "the store replaces objects even when told not to (conditional writes are needed)"
                .to_owned(),
        )
        .into()),
    };
    store.delete(&name)?;
    outcome
}
