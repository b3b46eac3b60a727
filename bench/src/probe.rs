//! Single questions to a server, outside any measurement: is it ready, what does it hold.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use cairn_proto::etcdserverpb::{
    HashKvRequest, HashKvResponse, RangeRequest, RangeResponse, StatusRequest, StatusResponse,
};
use prost::Message;

use crate::connection::{CallError, Connection, Method};
use crate::endpoint::Endpoint;
use crate::framing::frame;
use crate::key_space::KeySpace;
use crate::user::{self, User};

/// How long a single question may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How often a server that starts is asked.
const RETRY: Duration = Duration::from_millis(2);

/// How many keys of a key space the server holds.
///
/// # Errors
///
/// If the server does not answer.
pub fn count(endpoint: Endpoint, keys: &KeySpace) -> Result<u64> {
    let (key, range_end) = keys.range();
    let request = RangeRequest {
        key,
        range_end,
        count_only: true,
        ..RangeRequest::default()
    };
    let response: RangeResponse = ask(endpoint, Method::Range, frame(&request))?;
    Ok(u64::try_from(response.count)?)
}

/// What the server says of itself.
///
/// # Errors
///
/// If the server does not answer.
pub fn status(endpoint: Endpoint) -> Result<StatusResponse> {
    ask(endpoint, Method::Status, frame(&StatusRequest::default()))
}

/// Whether this member says of itself that it leads its cluster.
///
/// # Errors
///
/// If it does not answer.
pub fn leads(endpoint: Endpoint) -> Result<bool> {
    let status = status(endpoint)?;
    let own = status
        .header
        .context("a status without a header")?
        .member_id;
    Ok(own != 0 && status.leader == own)
}

/// The revision that this member's own store is at.
///
/// # Errors
///
/// If it does not answer.
pub fn revision(endpoint: Endpoint) -> Result<i64> {
    let header = status(endpoint)?.header;
    Ok(header.context("a status without a header")?.revision)
}

/// The hash of this member's own store at a revision.
///
/// # Errors
///
/// If it does not answer, or has not reached that revision.
pub fn hash(endpoint: Endpoint, revision: i64) -> Result<u32> {
    let request = HashKvRequest { revision };
    let response: HashKvResponse = ask(endpoint, Method::HashKv, frame(&request))?;
    Ok(response.hash)
}

/// Waits until the server answers a linearizable read.
///
/// # Errors
///
/// If it does not within `wait_max`.
pub fn wait_until_ready(endpoint: Endpoint, wait_max: Duration) -> Result<()> {
    let request = RangeRequest {
        key: Bytes::from_static(b"ready"),
        ..RangeRequest::default()
    };
    let framed = frame(&request);
    let deadline = Instant::now() + wait_max;
    let runtime = runtime()?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = runtime.block_on(async {
            let read = fetch(user::own(), endpoint, Method::Range, framed.clone());
            tokio::time::timeout(left, read).await
        });
        match answer {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if left.is_zero() => {
                return Err(error).with_context(|| format!("{endpoint} is not ready"));
            }
            Ok(Err(_)) => std::thread::sleep(RETRY),
            Err(_) => bail!("{endpoint} is not ready after {wait_max:?}"),
        }
    }
}

/// Makes one call and decodes its only message.
pub(crate) fn ask<M: Message + Default>(
    endpoint: Endpoint,
    method: Method,
    framed: Bytes,
) -> Result<M> {
    let messages = ask_all(endpoint, method, framed)?;
    let [message] = &messages[..] else {
        bail!("{} messages instead of one", messages.len())
    };
    Ok(M::decode(message.clone())?)
}

/// Makes one call and returns its messages.
pub(crate) fn ask_all(endpoint: Endpoint, method: Method, framed: Bytes) -> Result<Vec<Bytes>> {
    ask_as(user::own(), endpoint, method, framed)
}

/// Makes one call on a user's behalf, or on nobody's, and returns its messages.
pub(crate) fn ask_as(
    user: Option<&User>,
    endpoint: Endpoint,
    method: Method,
    framed: Bytes,
) -> Result<Vec<Bytes>> {
    let answer = runtime()?.block_on(async {
        tokio::time::timeout(ANSWER_MAX, fetch(user, endpoint, method, framed)).await
    });
    answer
        .with_context(|| format!("{endpoint} does not answer"))?
        .map_err(anyhow::Error::from)
}

async fn fetch(
    user: Option<&User>,
    endpoint: Endpoint,
    method: Method,
    framed: Bytes,
) -> Result<Vec<Bytes>, CallError> {
    Connection::open_as(endpoint, user)
        .await?
        .fetch(method, framed)
        .await
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}
