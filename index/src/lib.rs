//! The in-memory revision index.
#![forbid(unsafe_code)]
