//! The members as clients know them: a connection for each, as they come and go.

use std::sync::{Arc, Mutex, PoisonError};

use cairn_history::MemberId;
use rand::RngExt;
use rand::rngs::SmallRng;
use tonic::transport::Channel;

/// A member as clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) member: MemberId,
    /// Where it serves clients.
    pub(crate) url: String,
    pub(crate) channel: Channel,
    /// What the member calls itself, once it said so.
    pub(crate) raft_id: Option<u64>,
}

/// All doors; clones are of the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doors(Arc<Mutex<Vec<Door>>>);

impl Doors {
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Door>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn open(&self, member: MemberId, url: String, channel: Channel) {
        let raft_id = None;
        self.change(|doors| {
            doors.push(Door {
                member,
                url,
                channel,
                raft_id,
            });
        });
    }

    pub(crate) fn close(&self, member: MemberId) {
        self.change(|doors| doors.retain(|door| door.member != member));
    }

    pub(crate) fn learn(&self, member: MemberId, raft_id: u64) {
        self.change(|doors| {
            for door in doors.iter_mut().filter(|door| door.member == member) {
                door.raft_id = Some(raft_id);
            }
        });
    }

    pub(crate) fn all(&self) -> Vec<Door> {
        self.change(|doors| doors.clone())
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.change(|doors| doors.iter().map(|door| door.url.clone()).collect())
    }

    /// Whose this name is.
    pub(crate) fn named(&self, raft_id: u64) -> Option<Door> {
        let mut all = self.all().into_iter();
        all.find(|door| door.raft_id == Some(raft_id))
    }

    /// Any one.
    pub(crate) fn any(&self, rng: &mut SmallRng) -> Option<Door> {
        let mut all = self.all();
        if all.is_empty() {
            return None;
        }
        let at = rng.random_range(0..all.len());
        Some(all.swap_remove(at))
    }
}
