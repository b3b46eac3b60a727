//! Reading many keys in bounded memory: pages at one revision, and a stream that goes on after
//! the last key wherever it broke.

use std::collections::VecDeque;

use cairn_proto::etcdserverpb as pb;
use tokio_stream::Stream;

use super::range::{Range, RangeResponse};
use super::{KeyValue, key_value};
use crate::client::{Client, to_error};
use crate::error::Error;
use crate::etcd_error::Code;
use crate::revision::Revision;
use crate::transport::{CallFailure, Replies};
use crate::unfold::{BoxFuture, unfold};

/// Keys of a page where the caller does not say.
pub(super) const PAGE_KEYS: u32 = 500;
pub(super) const RANGE_STREAM: &str = "/etcdserverpb.KV/RangeStream";

/// Where a read of many keys stands.
pub(super) struct Pages {
    range: Range<Client>,
    page_keys: u32,
    /// Keys that may still come, if the caller set a limit.
    left: Option<i64>,
    /// The revision that it is read at, once a server has said so.
    at: Option<Revision>,
    is_done: bool,
}

impl Pages {
    pub(super) fn new(range: Range<Client>, page_keys: u32) -> Self {
        let limit = range.options.limit;
        Self {
            page_keys: page_keys.max(1),
            left: (limit > 0).then_some(limit),
            at: Revision::new(range.options.revision),
            is_done: false,
            range,
        }
    }

    /// Whether it is read in the order of keys, so that it can be cut.
    fn is_cut(&self) -> bool {
        self.range.options.sort_order == i32::from(pb::range_request::SortOrder::None)
            && !self.range.options.count_only
            && !self.range.keys.is_one()
    }

    async fn next_page(&mut self) -> Result<RangeResponse, Error> {
        if self.is_cut() {
            let page = i64::from(self.page_keys);
            self.range.options.limit = self.left.map_or(page, |left| left.min(page));
        }
        let page = self.range.fetch().await?;
        if self.range.options.revision == 0 {
            self.at = Some(page.header.revision);
        }
        if self.is_cut() {
            self.advance(page.header.revision, &page.kvs, page.more);
        } else {
            self.is_done = true;
        }
        Ok(page)
    }

    /// Goes on after some keys.
    fn advance(&mut self, revision: Revision, kvs: &[KeyValue], more: bool) {
        if self.range.options.revision == 0 {
            self.range.options.revision = revision.get();
        }
        if let Some(left) = &mut self.left {
            *left -= i64::try_from(kvs.len()).unwrap_or(i64::MAX);
        }
        match kvs.last() {
            Some(last) if more && self.left.is_none_or(|left| left > 0) => {
                self.range.keys = self.range.keys.after(&last.key);
            }
            _ => self.is_done = true,
        }
    }
}

pub(super) fn pages(
    pages: Pages,
) -> impl Stream<Item = Result<RangeResponse, Error>> + Send + Unpin {
    unfold(pages, |mut pages| -> BoxFuture<_> {
        Box::pin(async move {
            if pages.is_done {
                return None;
            }
            let page = pages.next_page().await;
            pages.is_done |= page.is_err();
            Some((page, pages))
        })
    })
}

/// Key-values one by one, all at one revision.
pub(crate) struct Listing {
    pages: Pages,
    ready: VecDeque<KeyValue>,
    source: Source,
}

enum Source {
    /// The first page, which settles the revision.
    First,
    /// `RangeStream`, to be opened.
    Open,
    Chunks(Box<Replies>),
    /// The server has no `RangeStream`, or not for this read.
    Pages,
}

pub(super) fn stream(pages: Pages) -> impl Stream<Item = Result<KeyValue, Error>> + Send + Unpin {
    unfold(Listing::new(pages), |mut listing| -> BoxFuture<_> {
        Box::pin(async move {
            let kv = listing.next().await?;
            Some((kv, listing))
        })
    })
}

impl Listing {
    pub(super) fn new(pages: Pages) -> Self {
        Self {
            pages,
            ready: VecDeque::new(),
            source: Source::First,
        }
    }

    /// The revision that it is read at, once there was an answer.
    pub(crate) fn revision(&self) -> Option<Revision> {
        self.pages.at
    }

    /// The next key-value; `None` after the last and after an error.
    pub(crate) async fn next(&mut self) -> Option<Result<KeyValue, Error>> {
        loop {
            if let Some(kv) = self.ready.pop_front() {
                return Some(Ok(kv));
            }
            if self.pages.is_done {
                return None;
            }
            if let Err(error) = self.fill().await {
                self.pages.is_done = true;
                return Some(Err(error));
            }
        }
    }

    /// Brings more, or finds that there is no more.
    async fn fill(&mut self) -> Result<(), Error> {
        match &mut self.source {
            Source::First | Source::Pages => {
                let page = self.pages.next_page().await?;
                if matches!(self.source, Source::First) {
                    self.source = Source::Open;
                }
                self.ready.extend(page.kvs);
            }
            Source::Open => self.open().await?,
            Source::Chunks(replies) => match replies.next().await {
                Ok(Some(chunk)) => self.take(chunk)?,
                Ok(None) => self.pages.is_done = true,
                // Goes on after the last key that came.
                Err(CallFailure::Lost(_) | CallFailure::NotProcessed(_)) => {
                    self.source = Source::Open;
                }
                Err(failure) => {
                    return Err(to_error(failure, self.pages.range.client.request_timeout()));
                }
            },
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<(), Error> {
        let client = self.pages.range.client.clone();
        self.pages.range.options.limit = self.pages.left.unwrap_or(0);
        let request = self.pages.range.to_wire(client.namespace_prefix());
        match client.server_stream(RANGE_STREAM, &request).await {
            Ok((first, replies)) => {
                self.source = Source::Chunks(Box::new(replies));
                match first {
                    Some(chunk) => self.take(chunk)?,
                    None => self.pages.is_done = true,
                }
            }
            Err(error) if error.code() == Some(Code::Unimplemented) => self.source = Source::Pages,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn take(&mut self, chunk: pb::RangeStreamResponse) -> Result<(), Error> {
        let namespace = self.pages.range.client.namespace_prefix().clone();
        let chunk = chunk.range_response.unwrap_or_default();
        let revision = Revision::from_wire(self.pages.range.options.revision)?;
        let kvs = key_value::all_from_wire(chunk.kvs, &namespace)?;
        if !kvs.is_empty() {
            self.pages.advance(revision, &kvs, true);
        }
        self.ready.extend(kvs);
        Ok(())
    }
}
