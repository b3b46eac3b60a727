//! Requests on keys, parsed: what is wrong with them is said in etcd's order.

use axum::http::Method;
use bytes::Bytes;
use cairn_index::Revision;
use cairn_v2::{Error, ErrorKind, NodePath, Request, Timestamp, Watch};

use super::form::Form;

/// Where the keys of clients are in the tree.
pub(super) const KEYS: &str = "/1";

/// What a client asks of `/v2/keys`.
#[derive(Debug)]
pub(super) enum KeyRequest {
    /// Read a node.
    Get {
        path: NodePath,
        recursive: bool,
        /// Whether the answer must be as new as anything acknowledged.
        quorum: bool,
    },
    /// Wait for what happens.
    Wait {
        watch: Watch,
        /// From which index on, if not from now on.
        from: Option<Revision>,
    },
    /// Change a node.
    Write {
        request: Request,
        /// Whether to answer with the action alone.
        no_value: bool,
    },
}

impl KeyRequest {
    /// Reads a request on the key `key`, made at `now`; whether it is recursive, too.
    ///
    /// # Errors
    ///
    /// What is wrong first.
    pub(super) fn parse(
        method: &Method,
        key: &[u8],
        form: &Form,
        now: Timestamp,
    ) -> Result<(Self, bool), Error> {
        let prev_index = number(form, "prevIndex")?;
        let wait_index = number(form, "waitIndex")?;
        let recursive = flag(form, "recursive")?;
        flag(form, "sorted")?;
        let wait = flag(form, "wait")?;
        let dir = flag(form, "dir")?;
        let quorum = flag(form, "quorum")?;
        let stream = flag(form, "stream")?;
        if wait && method != Method::GET {
            let cause = "\"wait\" can only be used with GET requests";
            return Err(ErrorKind::InvalidField.about(cause, 0));
        }
        let prev_value = form.get("prevValue");
        if prev_value == Some(b"") {
            let cause = "\"prevValue\" cannot be empty";
            return Err(ErrorKind::PrevValueRequired.about(cause, 0));
        }
        let no_value = flag(form, "noValueOnSuccess")?;
        let expiration = expiration(form, now)?;
        let prev_exist = optional_flag(form, "prevExist")?;
        let refresh = optional_flag(form, "refresh")?;
        let value = Bytes::copy_from_slice(form.get("value").unwrap_or_default());
        if refresh == Some(true) {
            check_refresh(&value, expiration)?;
        }
        let path = NodePath::parse(&[KEYS.as_bytes(), b"/", key].concat());
        let path = path.map_err(|deep| ErrorKind::InvalidField.about(deep.to_string(), 0))?;
        let request = if *method == Method::GET || *method == Method::HEAD {
            if wait && !quorum {
                let watch = Watch {
                    path,
                    recursive,
                    stream,
                };
                let from = from(wait_index);
                Self::Wait { watch, from }
            } else {
                let quorum = quorum && *method == Method::GET;
                Self::Get {
                    path,
                    recursive,
                    quorum,
                }
            }
        } else {
            let request = Request {
                method: method.as_str().to_owned(),
                path: path.as_bytes().clone(),
                val: value,
                dir,
                prev_value: Bytes::copy_from_slice(prev_value.unwrap_or_default()),
                prev_index,
                prev_exist,
                expiration: expiration.map_or(0, Timestamp::nanos),
                recursive,
                time: now.nanos(),
                refresh,
                ..Request::default()
            };
            Self::Write { request, no_value }
        };
        Ok((request, recursive))
    }
}

/// Where to begin to wait: 0 is now, and what is beyond all indexes never comes.
fn from(index: u64) -> Option<Revision> {
    let last = Revision::new(i64::MAX.unsigned_abs());
    (index != 0)
        .then(|| Revision::new(index).or(last))
        .flatten()
}

fn expiration(form: &Form, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    if form.get("ttl").is_none_or(<[u8]>::is_empty) {
        return Ok(None);
    }
    let Some(seconds) = form.number("ttl") else {
        return Err(ErrorKind::TtlNotNumber.about("invalid value for \"ttl\"", 0));
    };
    Ok(Some(now.after_seconds(seconds)))
}

fn check_refresh(value: &Bytes, expiration: Option<Timestamp>) -> Result<(), Error> {
    if !value.is_empty() {
        return Err(ErrorKind::RefreshValue.about("A value was provided on a refresh", 0));
    }
    if expiration.is_none() {
        return Err(ErrorKind::RefreshTtlRequired.about("No TTL value set", 0));
    }
    Ok(())
}

fn number(form: &Form, name: &str) -> Result<u64, Error> {
    let cause = || format!("invalid value for \"{name}\"");
    form.number(name)
        .ok_or_else(|| ErrorKind::IndexNotNumber.about(cause(), 0))
}

fn flag(form: &Form, name: &str) -> Result<bool, Error> {
    let cause = || format!("invalid value for \"{name}\"");
    form.flag(name)
        .ok_or_else(|| ErrorKind::InvalidField.about(cause(), 0))
}

fn optional_flag(form: &Form, name: &str) -> Result<Option<bool>, Error> {
    if form.get(name).is_none() {
        return Ok(None);
    }
    let cause = || format!("invalid value for {name}");
    let flag = form.flag(name);
    flag.map(Some)
        .ok_or_else(|| ErrorKind::InvalidField.about(cause(), 0))
}
