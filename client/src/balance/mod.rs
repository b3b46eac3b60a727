//! Which endpoint a call goes to, and whether it goes to another when it fails.
//!
//! [`Balancer`] and [`retry`] are pure: time and chance are arguments. [`Pool`] holds the
//! connections and does what they say.

mod balancer;
mod pool;
pub(crate) mod retry;

pub(crate) use balancer::{Balancer, EndpointId, Pick};
pub(crate) use pool::{Leased, Pool};
