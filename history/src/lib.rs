//! What clients saw of a store, and the checks that say whether they may have seen it.
//!
//! A simulator or a harness with real processes writes down a [`History`]: every request with its
//! answer, every watcher with all it heard, and what was done to the members meanwhile. The checks
//! know nothing of how it came about and trust nobody but the clients.
//!
//! Here is no clock, no chance, no thread and no network: a history goes in, a verdict comes out,
//! the same each time.
#![forbid(unsafe_code)]

mod answer;
mod check;
mod data;
mod describe;
mod file;
mod history;
mod key_range;
mod key_value;
mod model;
mod number;
mod record;
mod request;
mod shrink;
mod timeline;
mod verdict;
mod watch_record;
mod wire;

pub use answer::{
    Answer, DeleteResponse, HashKv, Outcome, RangeResponse, Refusal, Response, TxnOpResponse,
    TxnResponse,
};
pub use check::{LeaseTimes, Limits, check};
pub use data::Data;
pub use file::ReadError;
pub use history::History;
pub use key_range::KeyRange;
pub use key_value::KeyValue;
pub use number::{ClientId, LeaseId, MemberId, OpId, Revision, Term, Time, WatchId};
pub use record::{Incident, IncidentKind, Leadership, Operation};
pub use request::{
    Bounds, Compare, Comparison, DeleteRequest, Operand, PutRequest, RangeRequest, Request, Sort,
    SortTarget, TxnOp, TxnRequest,
};
pub use shrink::shrink;
pub use timeline::Timeline;
pub use verdict::{Counts, Rule, Verdict, Violation};
pub use watch_record::{Event, EventKind, Watch, WatchRequest, WatchResponse, WatchSays};
