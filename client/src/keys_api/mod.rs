//! etcd's v2 keys, over HTTP: a tree of directories and files, as etcd 3.4 and 3.5 serve it with
//! `--enable-v2`, and as Cairn does.

mod http;
mod node;
mod watcher;

use std::time::Duration;

pub use node::{Node, V2Error, V2Response};
pub use watcher::V2Watcher;

use crate::connect::ConnectOptions;
use crate::error::Error;
use http::{Http, Method, Query};

/// The v2 keys of a cluster.
///
/// ```no_run
/// # async fn run() -> Result<(), cairn_client::V2Error> {
/// use cairn_client::{ConnectOptions, KeysApi, SetOptions};
///
/// let options = ConnectOptions::new(["http://127.0.0.1:2379"]).unwrap();
/// let keys = KeysApi::new(options);
/// keys.set("/config/limit", "10", SetOptions::default()).await?;
/// let limit = keys.get("/config/limit", Default::default()).await?;
/// println!("{:?}", limit.node.value);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct KeysApi {
    http: Http,
}

/// How to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct GetOptions {
    /// Directories with all that is below them.
    pub recursive: bool,
    /// Names in order.
    pub sorted: bool,
    /// Through the log, so that nothing older is read.
    pub quorum: bool,
}

/// How to write.
#[derive(Clone, Debug, Default)]
pub struct SetOptions {
    /// Only if the value is this one.
    pub prev_value: Option<String>,
    /// Only if this index changed it last.
    pub prev_index: Option<u64>,
    /// Only if it is there, or only if it is not.
    pub prev_exist: Option<bool>,
    /// How long it lives. Without this it stays, also if it did not before.
    pub ttl: Option<Duration>,
    /// Renews the time to live alone: the value stays, and watchers are not told.
    pub refresh: bool,
    /// A directory.
    pub dir: bool,
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Only if the value is this one.
    pub prev_value: Option<String>,
    /// Only if this index changed it last.
    pub prev_index: Option<u64>,
    /// A directory with all that is below it.
    pub recursive: bool,
    /// A directory that is empty.
    pub dir: bool,
}

/// What to watch.
#[derive(Clone, Copy, Debug, Default)]
pub struct WatcherOptions {
    /// Changes after this index; without it, changes from now on.
    pub after_index: Option<u64>,
    /// Also what is below.
    pub recursive: bool,
}

impl KeysApi {
    /// Keys of the cluster that these options lead to. A user is who v2's own auth knows.
    #[must_use]
    pub fn new(options: ConnectOptions) -> Self {
        Self {
            http: Http::new(options),
        }
    }

    /// Reads a key, or a directory.
    ///
    /// # Errors
    ///
    /// [`V2Error`].
    pub async fn get(&self, key: &str, options: GetOptions) -> Result<V2Response, V2Error> {
        let mut query = Query::default();
        query.flag("recursive", options.recursive);
        query.flag("sorted", options.sorted);
        query.flag("quorum", options.quorum);
        self.http.call(Method::Get, key, query).await
    }

    /// Writes a key.
    ///
    /// # Errors
    ///
    /// [`V2Error`].
    pub async fn set(
        &self,
        key: &str,
        value: &str,
        options: SetOptions,
    ) -> Result<V2Response, V2Error> {
        let mut query = Query::default();
        // A refresh has no value, and a directory needs none.
        if !options.refresh && !options.dir {
            query.text("value", value);
        }
        query.flag("dir", options.dir);
        query.flag("refresh", options.refresh);
        if let Some(value) = &options.prev_value {
            query.text("prevValue", value);
        }
        if let Some(index) = options.prev_index {
            query.text("prevIndex", &index.to_string());
        }
        if let Some(exist) = options.prev_exist {
            query.text("prevExist", if exist { "true" } else { "false" });
        }
        query.ttl(options.ttl);
        self.http.call(Method::Put, key, query).await
    }

    /// Writes a key that must not be there.
    ///
    /// # Errors
    ///
    /// [`V2Error`]; code 105 if it is there.
    pub async fn create(&self, key: &str, value: &str) -> Result<V2Response, V2Error> {
        let options = SetOptions {
            prev_exist: Some(false),
            ..SetOptions::default()
        };
        self.set(key, value, options).await
    }

    /// Writes a key that must be there.
    ///
    /// # Errors
    ///
    /// [`V2Error`]; code 100 if it is not there.
    pub async fn update(&self, key: &str, value: &str) -> Result<V2Response, V2Error> {
        let options = SetOptions {
            prev_exist: Some(true),
            ..SetOptions::default()
        };
        self.set(key, value, options).await
    }

    /// Writes a key in a directory, with a name that follows those there.
    ///
    /// # Errors
    ///
    /// [`V2Error`].
    pub async fn create_in_order(
        &self,
        dir: &str,
        value: &str,
        ttl: Option<Duration>,
    ) -> Result<V2Response, V2Error> {
        let mut query = Query::default();
        query.text("value", value);
        query.ttl(ttl);
        self.http.call(Method::Post, dir, query).await
    }

    /// Deletes a key, or a directory.
    ///
    /// # Errors
    ///
    /// [`V2Error`].
    pub async fn delete(&self, key: &str, options: DeleteOptions) -> Result<V2Response, V2Error> {
        let mut query = Query::default();
        query.flag("recursive", options.recursive);
        query.flag("dir", options.dir);
        if let Some(value) = &options.prev_value {
            query.text("prevValue", value);
        }
        if let Some(index) = options.prev_index {
            query.text("prevIndex", &index.to_string());
        }
        self.http.call(Method::Delete, key, query).await
    }

    /// Watches a key. It goes on whatever happens to connections and members.
    #[must_use]
    pub fn watcher(&self, key: &str, options: WatcherOptions) -> V2Watcher {
        V2Watcher::new(self.http.clone(), key, options)
    }
}

impl From<Error> for V2Error {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}
