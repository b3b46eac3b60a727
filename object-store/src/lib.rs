//! Where backups are kept: a directory, or a store of objects in somebody's cloud.
//!
//! The stores are those of the crate `object_store`. What `cairn_backup` asks of one is here, call by
//! call: whoever calls waits, so it is called from threads of its own.
#![forbid(unsafe_code)]

use std::path::Path as FilePath;
use std::time::Duration;

use bytes::Bytes;
use cairn_backup::{Put, Store, StoreError};
use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use tokio::runtime::{Builder, Runtime};
use url::Url;

#[cfg(feature = "cloud")]
mod cloud;

/// How long one call may take, with all its attempts.
const CALL_TIME: Duration = Duration::from_secs(60);

/// Why an address names no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is no URL.
    #[error("{url:?} is no URL: {source}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// Its scheme is not known.
    #[error(
        "{url}: backups go to file://, s3://, gs:// or az:// URLs{}",
        without_cloud()
    )]
    Scheme {
        /// What was given.
        url: String,
    },
    /// An endpoint where there is none.
    #[error("an endpoint goes with s3:// alone")]
    Endpoint,
    /// The store cannot be set up.
    #[error("{url}: {source}")]
    Store {
        /// What was given.
        url: String,
        /// Why.
        source: Error,
    },
    /// The system gives no thread.
    #[error("starting the store's runtime: {0}")]
    Runtime(#[from] std::io::Error),
}

const fn without_cloud() -> &'static str {
    if cfg!(feature = "cloud") {
        ""
    } else {
        " (this build has file:// alone)"
    }
}

/// A store of objects under an address.
pub struct AddressedStore {
    store: Box<dyn ObjectStore>,
    root: Path,
    runtime: Runtime,
}

/// A store under a path of it.
type Rooted = (Box<dyn ObjectStore>, Path);

impl AddressedStore {
    /// The store at `url`: `file:///directory`, `s3://bucket/path`, `gs://bucket/path`,
    /// `az://container/path`. Credentials come from `variables`, by the names that the clouds' own
    /// tools use (`AWS_…`, `GOOGLE_…`, `AZURE_…`). `endpoint` is where a store that speaks S3 is.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. That the store answers is not looked at.
    pub fn open(
        url: &str,
        endpoint: Option<&str>,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, OpenError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        // Clients look for a runtime when they are made.
        let entered = runtime.enter();
        let (store, root) = open(url, endpoint, variables)?;
        drop(entered);
        Ok(Self {
            store,
            root,
            runtime,
        })
    }

    fn path(&self, name: &str) -> Path {
        name.split('/')
            .filter(|part| !part.is_empty())
            .fold(self.root.clone(), Path::join)
    }

    /// The name of an object; none if it is not under the root.
    fn name(&self, path: &Path) -> Option<String> {
        let parts: Vec<_> = path.prefix_match(&self.root)?.collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        Some(parts.join("/"))
    }

    fn wait<T>(
        &self,
        name: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, StoreError> {
        let outcome = self
            .runtime
            .block_on(async { tokio::time::timeout(CALL_TIME, call).await });
        let late = || StoreError(format!("{name}: no answer in {CALL_TIME:?}"));
        outcome.map_err(|_| late())
    }
}

fn open(
    text: &str,
    endpoint: Option<&str>,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Rooted, OpenError> {
    let url = Url::parse(text).map_err(|source| OpenError::Url {
        url: text.to_owned(),
        source,
    })?;
    let failed = |source| OpenError::Store {
        url: text.to_owned(),
        source,
    };
    if endpoint.is_some() && url.scheme() != "s3" {
        return Err(OpenError::Endpoint);
    }
    if url.scheme() == "file" {
        return directory(&url).map_err(failed);
    }
    #[cfg(feature = "cloud")]
    if let Some(opened) = cloud::open(&url, endpoint, variables) {
        return opened.map_err(failed);
    }
    #[cfg(not(feature = "cloud"))]
    drop(variables);
    Err(OpenError::Scheme {
        url: text.to_owned(),
    })
}

fn directory(url: &Url) -> Result<Rooted, Error> {
    let wrong = |source: String| Error::Generic {
        store: "LocalFileSystem",
        source: source.into(),
    };
    let path = url.to_file_path();
    let path = path.map_err(|()| wrong("a file:// URL names an absolute path".to_owned()))?;
    let local = object_store::local::LocalFileSystem::new().with_fsync(true);
    let root = Path::from_absolute_path(FilePath::new(&path))?;
    Ok((Box::new(local), root))
}

fn failed(name: &str, error: &Error) -> StoreError {
    let mut text = format!("{name}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = source.source();
    }
    StoreError(text)
}

impl Store for AddressedStore {
    fn put_new(&self, name: &str, bytes: Bytes) -> Result<Put, StoreError> {
        let options = PutOptions::from(PutMode::Create);
        let path = self.path(name);
        match self.wait(name, self.store.put_opts(&path, bytes.into(), options))? {
            Ok(_) => Ok(Put::Done),
            Err(Error::AlreadyExists { .. }) => Ok(Put::Exists),
            Err(error) => Err(failed(name, &error)),
        }
    }

    fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let path = self.path(name);
        let read = async { self.store.get(&path).await?.bytes().await };
        match self.wait(name, read)? {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(name, &error)),
        }
    }

    fn list(&self, folder: &str, after: &str) -> Result<Vec<String>, StoreError> {
        let path = self.path(folder);
        let stream = if after.is_empty() {
            self.store.list(Some(&path))
        } else {
            self.store.list_with_offset(Some(&path), &self.path(after))
        };
        let listed = self.wait(folder, stream.try_collect::<Vec<_>>())?;
        let listed = listed.map_err(|error| failed(folder, &error))?;
        let names = listed.iter().filter_map(|meta| self.name(&meta.location));
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    fn folders(&self) -> Result<Vec<String>, StoreError> {
        let listed = self.wait("", self.store.list_with_delimiter(Some(&self.root)))?;
        let listed = listed.map_err(|error| failed("", &error))?;
        let folders = listed.common_prefixes.iter();
        Ok(folders.filter_map(|path| self.name(path)).collect())
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        match self.wait(name, self.store.delete(&path))? {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(name, &error)),
        }
    }
}

#[cfg(test)]
mod tests;
