//! Ranges: one key, or a page of keys from a starting key on.

use std::num::NonZeroU32;

use cairn_proto::etcdserverpb::RangeRequest;
use clap::ValueEnum;

use crate::connection::Method;
use crate::key_space::{KeySpace, Order};
use crate::load::{Call, Workload};
use crate::template::Template;

/// What a read may miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Consistency {
    /// Nothing: it sees every write acknowledged before it.
    Linearizable,
    /// What this member has not applied yet.
    Serializable,
}

/// Reads of single keys, or of pages of keys.
#[derive(Clone, Debug)]
pub struct Ranges {
    keys: KeySpace,
    order: Order,
    template: Template,
}

impl Ranges {
    /// Reads of one key each.
    #[must_use]
    pub fn of_one_key(keys: KeySpace, order: Order, consistency: Consistency) -> Self {
        let request = RangeRequest {
            key: keys.placeholder().into(),
            serializable: consistency == Consistency::Serializable,
            ..RangeRequest::default()
        };
        Self::new(keys, order, &request)
    }

    /// Reads of up to `page` keys from a key on.
    #[must_use]
    pub fn of_a_page(
        keys: KeySpace,
        order: Order,
        consistency: Consistency,
        page: NonZeroU32,
    ) -> Self {
        let (_, range_end) = keys.range();
        let request = RangeRequest {
            key: keys.placeholder().into(),
            range_end,
            limit: i64::from(page.get()),
            serializable: consistency == Consistency::Serializable,
            ..RangeRequest::default()
        };
        Self::new(keys, order, &request)
    }

    fn new(keys: KeySpace, order: Order, request: &RangeRequest) -> Self {
        let template = Template::new(request, &keys.placeholder());
        Self {
            keys,
            order,
            template,
        }
    }
}

impl Workload for Ranges {
    fn kinds(&self) -> &[&'static str] {
        &["range"]
    }

    fn client(&self, index: usize) -> Box<dyn FnMut(u64) -> Call> {
        let mut walk = self.keys.walk(self.order, index as u64);
        let Self { keys, template, .. } = self.clone();
        Box::new(move |ticket| Call {
            method: Method::Range,
            framed: template.fill(&keys.key(walk.next(ticket))),
            kind: 0,
        })
    }
}
