//! Requests and answers in a few words, for reports.

use std::fmt::{self, Display, Formatter};

use crate::{
    Answer, Compare, Comparison, DeleteResponse, Event, EventKind, IncidentKind, KeyValue, Operand,
    Outcome, PutRequest, RangeRequest, RangeResponse, Refusal, Request, Response, TxnOp,
    TxnOpResponse, TxnRequest, TxnResponse, WatchRequest, WatchResponse, WatchSays,
};

/// More of a list than this is only counted.
const SHOWN_MAX: usize = 4;

/// A list with commas, the end of a long one left out.
struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, item) in self.0.iter().take(SHOWN_MAX).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{item}")?;
        }
        match self.0.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl Display for Request {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => range.fmt(f),
            Self::Put(put) => put.fmt(f),
            Self::DeleteRange(delete) => write!(f, "delete {}", delete.range),
            Self::Txn(txn) => txn.fmt(f),
            Self::Compact(revision) => write!(f, "compact {revision}"),
            Self::LeaseGrant { id: None, ttl_secs } => write!(f, "grant a lease of {ttl_secs} s"),
            Self::LeaseGrant {
                id: Some(id),
                ttl_secs,
            } => write!(f, "grant {id} of {ttl_secs} s"),
            Self::LeaseRevoke(id) => write!(f, "revoke {id}"),
            Self::LeaseKeepAlive(id) => write!(f, "keep {id} alive"),
            Self::LeaseTimeToLive { id, .. } => write!(f, "time to live of {id}"),
            Self::Lock { name, lease } => write!(f, "lock {name} under {lease}"),
            Self::Unlock(key) => write!(f, "unlock {key}"),
            Self::HashKv(None) => write!(f, "hash"),
            Self::HashKv(Some(revision)) => write!(f, "hash up to {revision}"),
            Self::Other(name) => write!(f, "{name}"),
        }
    }
}

impl Display for RangeRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "get {}", self.range)?;
        if let Some(revision) = self.revision {
            write!(f, " at {revision}")?;
        }
        if let Some(limit) = self.limit {
            write!(f, " limit {limit}")?;
        }
        let flags = [
            (self.serializable, " serializable"),
            (self.keys_only, " keys only"),
            (self.count_only, " count only"),
            (self.sort.is_some(), " sorted"),
        ];
        for (is_set, name) in flags {
            if is_set {
                f.write_str(name)?;
            }
        }
        Ok(())
    }
}

impl Display for PutRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "put {}", self.key)?;
        if !self.ignore_value {
            write!(f, "={}", self.value)?;
        }
        match self.lease {
            Some(lease) => write!(f, " under {lease}"),
            None => Ok(()),
        }
    }
}

impl Display for TxnRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (compares, success) = (List(&self.compares), List(&self.success));
        write!(f, "if ({compares}) then ({success})")?;
        if self.failure.is_empty() {
            return Ok(());
        }
        write!(f, " else ({})", List(&self.failure))
    }
}

impl Display for TxnOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => range.fmt(f),
            Self::Put(put) => put.fmt(f),
            Self::DeleteRange(delete) => write!(f, "delete {}", delete.range),
            Self::Txn(txn) => txn.fmt(f),
        }
    }
}

impl Display for Compare {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is = match self.is {
            Comparison::Equal => "=",
            Comparison::Greater => ">",
            Comparison::Less => "<",
            Comparison::NotEqual => "≠",
        };
        let range = &self.range;
        match &self.operand {
            Operand::Version(version) => write!(f, "version({range}) {is} {version}"),
            Operand::Create(revision) => write!(f, "create({range}) {is} {revision}"),
            Operand::Mod(revision) => write!(f, "mod({range}) {is} {revision}"),
            Operand::Value(value) => write!(f, "value({range}) {is} {value}"),
            Operand::Lease(lease) => write!(f, "lease({range}) {is} {lease}"),
        }
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(answer) => answer.fmt(f),
            Self::Refused { why, .. } => write!(f, "refused: {why}"),
            Self::Unknown { error, .. } if error.is_empty() => write!(f, "unknown"),
            Self::Unknown { error, .. } => write!(f, "unknown: {error}"),
        }
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compacted => write!(f, "compacted"),
            Self::FutureRevision => write!(f, "future revision"),
            Self::KeyNotFound => write!(f, "key not found"),
            Self::LeaseNotFound => write!(f, "lease not found"),
            Self::LeaseExists => write!(f, "lease exists"),
            Self::Other(text) => write!(f, "{text}"),
        }
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.revision {
            Some(revision) => write!(f, "{} at revision {revision}", self.body),
            None => self.body.fmt(f),
        }
    }
}

impl Display for Response {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => range.fmt(f),
            Self::Put(prev) => fmt_put(prev.as_ref(), f),
            Self::DeleteRange(delete) => delete.fmt(f),
            Self::Txn(txn) => txn.fmt(f),
            Self::LeaseGrant { id, ttl_secs } => write!(f, "{id} of {ttl_secs} s"),
            Self::LeaseKeepAlive(ttl_secs) => write!(f, "{ttl_secs} s"),
            Self::LeaseTimeToLive { ttl_secs, keys, .. } => {
                write!(f, "{ttl_secs} s, keys ({})", List(keys))
            }
            Self::Lock(key) => write!(f, "locked by {key}"),
            Self::HashKv(hash) => write!(f, "hash {:08x}", hash.hash),
            Self::Done => write!(f, "ok"),
        }
    }
}

fn fmt_put(prev: Option<&KeyValue>, f: &mut Formatter<'_>) -> fmt::Result {
    match prev {
        Some(prev) => write!(f, "ok, before: {prev}"),
        None => write!(f, "ok"),
    }
}

impl Display for RangeResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let count = self.count;
        if self.kvs.is_empty() {
            return write!(f, "nothing of {count}");
        }
        let more = if self.more { ", more" } else { "" };
        write!(f, "{} ({count} in range{more})", List(&self.kvs))
    }
}

impl Display for DeleteResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "deleted {}", self.deleted)?;
        if self.prev_kvs.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", List(&self.prev_kvs))
    }
}

impl Display for TxnResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let which = if self.succeeded { "then" } else { "else" };
        write!(f, "{which} ({})", List(&self.responses))
    }
}

impl Display for TxnOpResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => range.fmt(f),
            Self::Put(prev) => fmt_put(prev.as_ref(), f),
            Self::DeleteRange(delete) => delete.fmt(f),
            Self::Txn(txn) => txn.fmt(f),
        }
    }
}

impl Display for WatchRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "watch {}", self.range)?;
        if let Some(start) = self.start {
            write!(f, " from {start}")?;
        }
        let flags = [
            (self.prev_kv, " prev_kv"),
            (self.no_put, " no put"),
            (self.no_delete, " no delete"),
        ];
        for (is_set, name) in flags {
            if is_set {
                f.write_str(name)?;
            }
        }
        Ok(())
    }
}

impl Display for WatchResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let revision = self.revision;
        match &self.says {
            WatchSays::Created => write!(f, "created at {revision}"),
            WatchSays::Events { events, fragment } => {
                let more = if *fragment { " …" } else { "" };
                write!(f, "{}{more}", List(events))
            }
            WatchSays::Progress => write!(f, "progress {revision}"),
            WatchSays::Canceled { compacted, reason } => match compacted {
                Some(compacted) => write!(f, "canceled: compacted {compacted}"),
                None => write!(f, "canceled: {reason}"),
            },
        }
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.kind {
            EventKind::Put => write!(f, "put {}", self.kv),
            EventKind::Delete => write!(f, "delete {} at {}", self.kv.key, self.kv.mod_revision),
        }
    }
}

impl Display for IncidentKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => write!(f, "started"),
            Self::Stopped => write!(f, "stopped"),
            Self::DataReplaced => write!(f, "its data was replaced"),
            Self::Note(text) => write!(f, "{text}"),
        }
    }
}
