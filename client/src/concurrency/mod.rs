//! Locks, elections, barriers, queues, transactional memory and services over keys, laid out as Go's
//! clientv3 lays them out, so that programs in both languages share them.

mod barrier;
mod double_barrier;
mod election;
mod mutex;
mod own_key;
mod priority_queue;
mod queue;
mod rw_lock;
#[cfg(feature = "json")]
mod service;
mod session;
mod stm;
mod waiting;

pub use barrier::Barrier;
pub use double_barrier::{DoubleBarrier, Entered};
pub use election::{Election, Leadership};
pub use mutex::Lock;
pub use priority_queue::PriorityQueue;
pub use queue::Queue;
pub use rw_lock::{ReadLock, WriteLock};
#[cfg(feature = "json")]
pub use service::{Service, ServiceEndpoint};
pub use session::Session;
pub use stm::{Isolation, Stm};
