//! Transactions.

use std::future::IntoFuture;

use bytes::Bytes;
use cairn_proto::etcdserverpb as pb;
use pb::request_op::Request;
use pb::response_op::Response;

use super::{
    Compare, Delete, DeleteResponse, Get, Header, InTxn, Put, PutResponse, Range, RangeResponse,
};
use crate::client::Client;
use crate::error::Error;
use crate::unfold::BoxFuture;

/// A transaction; awaited, a [`TxnResponse`].
#[derive(Clone, Debug)]
#[must_use = "a request is sent when it is awaited"]
pub struct Txn<C = InTxn> {
    client: C,
    compares: Vec<Compare>,
    success: Vec<Op>,
    failure: Vec<Op>,
}

/// One operation of a transaction; requests made with `new` convert to it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the requests that they hold")]
#[non_exhaustive]
pub enum Op {
    Range(Range),
    Put(Put),
    Delete(Delete),
    Txn(Txn),
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnResponse {
    /// Who answered; the revision is the transaction's, if it wrote.
    pub header: Header,
    /// Whether all comparisons were true.
    pub succeeded: bool,
    /// One for each operation of the branch that was taken.
    pub responses: Vec<OpResponse>,
}

/// What came of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the answers that they hold")]
#[non_exhaustive]
pub enum OpResponse {
    Range(RangeResponse),
    Put(PutResponse),
    Delete(DeleteResponse),
    Txn(TxnResponse),
}

impl Txn {
    /// A transaction within a transaction.
    pub fn new() -> Self {
        Self::of(InTxn)
    }
}

impl Default for Txn {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> Txn<C> {
    pub(super) fn of(client: C) -> Self {
        Self {
            client,
            compares: Vec::new(),
            success: Vec::new(),
            failure: Vec::new(),
        }
    }

    /// Adds a condition; all must hold.
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds an operation to do if the conditions hold.
    pub fn then(mut self, op: impl Into<Op>) -> Self {
        self.success.push(op.into());
        self
    }

    /// Adds an operation to do if a condition does not hold.
    pub fn otherwise(mut self, op: impl Into<Op>) -> Self {
        self.failure.push(op.into());
        self
    }

    /// Adds conditions.
    pub fn when_all(mut self, compares: impl IntoIterator<Item = Compare>) -> Self {
        self.compares.extend(compares);
        self
    }

    /// Adds operations to do if the conditions hold.
    pub fn then_all(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        self.success.extend(ops);
        self
    }

    /// Adds operations to do if a condition does not hold.
    pub fn otherwise_all(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        self.failure.extend(ops);
        self
    }

    fn into_wire(self, namespace: &Bytes) -> pb::TxnRequest {
        let ops = |ops: Vec<Op>| ops.into_iter().map(|op| op.into_wire(namespace)).collect();
        let compares = self.compares.into_iter();
        pb::TxnRequest {
            compare: compares.map(|it| it.into_wire(namespace)).collect(),
            success: ops(self.success),
            failure: ops(self.failure),
        }
    }
}

impl Op {
    fn into_wire(self, namespace: &Bytes) -> pb::RequestOp {
        let request = match self {
            Self::Range(range) => Request::RequestRange(range.to_wire(namespace)),
            Self::Put(put) => Request::RequestPut(put.into_wire(namespace)),
            Self::Delete(delete) => Request::RequestDeleteRange(delete.to_wire(namespace)),
            Self::Txn(txn) => Request::RequestTxn(txn.into_wire(namespace)),
        };
        pb::RequestOp {
            request: Some(request),
        }
    }
}

impl From<Get> for Op {
    fn from(get: Get) -> Self {
        Self::Range(get.into_range())
    }
}

impl From<Range> for Op {
    fn from(range: Range) -> Self {
        Self::Range(range)
    }
}

impl From<Put> for Op {
    fn from(put: Put) -> Self {
        Self::Put(put)
    }
}

impl From<Delete> for Op {
    fn from(delete: Delete) -> Self {
        Self::Delete(delete)
    }
}

impl From<Txn> for Op {
    fn from(txn: Txn) -> Self {
        Self::Txn(txn)
    }
}

impl TxnResponse {
    fn from_wire(
        answer: pb::TxnResponse,
        outer: Option<Header>,
        namespace: &Bytes,
    ) -> Result<Self, Error> {
        let header = match outer {
            Some(outer) => outer.of_part(answer.header.as_ref()),
            None => Header::from_wire(answer.header)?,
        };
        let responses = answer.responses.into_iter();
        let decoded = responses.map(|it| OpResponse::from_wire(it, header, namespace));
        Ok(Self {
            header,
            succeeded: answer.succeeded,
            responses: decoded.collect::<Result<_, _>>()?,
        })
    }

    /// The key-values that the operations read, those of nested transactions left out.
    pub fn kvs(&self) -> impl Iterator<Item = &super::KeyValue> {
        let ranges = self.responses.iter().filter_map(|it| match it {
            OpResponse::Range(range) => Some(&range.kvs),
            _ => None,
        });
        ranges.flatten()
    }
}

impl OpResponse {
    fn from_wire(answer: pb::ResponseOp, outer: Header, namespace: &Bytes) -> Result<Self, Error> {
        let outer = Some(outer);
        Ok(match answer.response {
            Some(Response::ResponseRange(it)) => {
                Self::Range(RangeResponse::from_wire(it, outer, namespace)?)
            }
            Some(Response::ResponsePut(it)) => {
                Self::Put(PutResponse::from_wire(it, outer, namespace)?)
            }
            Some(Response::ResponseDeleteRange(it)) => {
                Self::Delete(DeleteResponse::from_wire(it, outer, namespace)?)
            }
            Some(Response::ResponseTxn(it)) => {
                Self::Txn(TxnResponse::from_wire(it, outer, namespace)?)
            }
            None => return Err(Error::protocol("an operation without an answer")),
        })
    }
}

impl IntoFuture for Txn<Client> {
    type Output = Result<TxnResponse, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let client = self.client.clone();
            let namespace = client.namespace_prefix();
            let answer = client.call(self.into_wire(namespace)).await?;
            TxnResponse::from_wire(answer, None, namespace)
        })
    }
}
