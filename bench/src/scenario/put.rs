//! Puts: the write path, one key and one value each.

use cairn_proto::etcdserverpb::PutRequest;

use crate::connection::Method;
use crate::key_space::{KeySpace, Order, value};
use crate::load::{Call, Workload};
use crate::template::Template;

/// Seed of the value's bytes.
const VALUE_SEED: u64 = 1;

/// Puts of one value under many keys.
#[derive(Clone, Debug)]
pub struct Puts {
    keys: KeySpace,
    order: Order,
    template: Template,
}

impl Puts {
    /// Puts of `value_len` bytes.
    #[must_use]
    pub fn new(keys: KeySpace, order: Order, value_len: usize) -> Self {
        let request = PutRequest {
            key: keys.placeholder().into(),
            value: value(value_len, VALUE_SEED),
            ..PutRequest::default()
        };
        let template = Template::new(&request, &keys.placeholder());
        Self {
            keys,
            order,
            template,
        }
    }
}

impl Workload for Puts {
    fn kinds(&self) -> &[&'static str] {
        &["put"]
    }

    fn client(&self, index: usize) -> Box<dyn FnMut(u64) -> Call> {
        let mut walk = self.keys.walk(self.order, index as u64);
        let Self { keys, template, .. } = self.clone();
        Box::new(move |ticket| Call {
            method: Method::Put,
            framed: template.fill(&keys.key(walk.next(ticket))),
            kind: 0,
        })
    }
}
