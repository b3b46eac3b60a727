//! The watchable store.
#![forbid(unsafe_code)]
