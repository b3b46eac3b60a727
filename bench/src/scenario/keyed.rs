//! Requests that differ only in their key.

use crate::connection::Method;
use crate::key_space::{KeySpace, Order};
use crate::load::{Call, Payload, Workload};
use crate::template::Template;

/// One request, sent for many keys.
#[derive(Clone, Debug)]
pub struct Keyed {
    kind: [&'static str; 1],
    method: Method,
    keys: KeySpace,
    order: Order,
    template: Template,
}

impl Keyed {
    /// Requests like `request`, in which [`KeySpace::placeholder`] stands for the key.
    pub(super) fn new(
        kind: &'static str,
        method: Method,
        keys: KeySpace,
        order: Order,
        request: &impl prost::Message,
    ) -> Self {
        let template = Template::new(request, &keys.placeholder());
        Self {
            kind: [kind],
            method,
            keys,
            order,
            template,
        }
    }

    /// How often the key occurs in a request.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.template.places()
    }
}

impl Workload for Keyed {
    fn kinds(&self) -> &[&'static str] {
        &self.kind
    }

    fn client(&self, index: usize) -> Box<dyn FnMut(u64) -> Call> {
        let mut walk = self.keys.walk(self.order, index as u64);
        let Self {
            keys,
            template,
            method,
            ..
        } = self.clone();
        Box::new(move |ticket| {
            let framed = template.fill(&keys.key(walk.next(ticket)));
            Call {
                payload: Payload::Grpc { method, framed },
                kind: 0,
            }
        })
    }
}
