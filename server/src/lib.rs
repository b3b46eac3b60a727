//! The server.
#![forbid(unsafe_code)]

pub mod identity;
pub mod logging;
pub mod metrics;
pub mod settings;
