//! The replicated state machine of a member, without its threads: what a request means
//! ([`request`]), how the log carries it ([`log_request`]), what applying it does ([`apply`]), and
//! how it gets into the log and back ([`consensus`]).
//!
//! Time, chance, disk and network are arguments: the server drives this with threads and sockets,
//! the simulator with one seed.
#![forbid(unsafe_code)]

pub mod alarms;
pub mod apply;
pub mod consensus;
pub mod error;
pub mod identity;
pub mod lease_duties;
pub mod lease_question;
pub mod lease_request;
pub mod log_request;
pub mod membership;
pub mod quota;
pub mod request;
pub mod request_ids;
pub mod state;
mod state_checksum;
