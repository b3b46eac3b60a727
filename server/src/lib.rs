//! The server.
#![forbid(unsafe_code)]

pub mod identity;
pub mod settings;
