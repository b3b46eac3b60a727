//! The members as clients know them: a connection for each, as they come and go.

use std::sync::{Arc, Mutex, PoisonError};

use cairn_history::MemberId;
use rand::RngExt;
use rand::rngs::SmallRng;
use tonic::transport::Channel;

/// A member as clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) member: MemberId,
    /// Where it serves clients.
    pub(crate) url: String,
    pub(crate) channel: Channel,
    /// What the member calls itself, once it said so.
    pub(crate) raft_id: Option<u64>,
}

/// All endpoints; clones are of the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoints(Arc<Mutex<Vec<Endpoint>>>);

impl Endpoints {
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Endpoint>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn open(&self, member: MemberId, url: String, channel: Channel) {
        let raft_id = None;
        self.change(|endpoints| {
            endpoints.push(Endpoint {
                member,
                url,
                channel,
                raft_id,
            });
        });
    }

    pub(crate) fn close(&self, member: MemberId) {
        self.change(|endpoints| endpoints.retain(|endpoint| endpoint.member != member));
    }

    pub(crate) fn learn(&self, member: MemberId, raft_id: u64) {
        self.change(|endpoints| {
            for endpoint in endpoints
                .iter_mut()
                .filter(|endpoint| endpoint.member == member)
            {
                endpoint.raft_id = Some(raft_id);
            }
        });
    }

    pub(crate) fn all(&self) -> Vec<Endpoint> {
        self.change(|endpoints| endpoints.clone())
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.change(|endpoints| {
            endpoints
                .iter()
                .map(|endpoint| endpoint.url.clone())
                .collect()
        })
    }

    /// Whose this name is.
    pub(crate) fn named(&self, raft_id: u64) -> Option<Endpoint> {
        let mut all = self.all().into_iter();
        all.find(|endpoint| endpoint.raft_id == Some(raft_id))
    }

    /// Any one.
    pub(crate) fn any(&self, rng: &mut SmallRng) -> Option<Endpoint> {
        let mut all = self.all();
        if all.is_empty() {
            return None;
        }
        let at = rng.random_range(0..all.len());
        Some(all.swap_remove(at))
    }
}
