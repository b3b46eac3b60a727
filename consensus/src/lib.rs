//! The replicated log.
#![forbid(unsafe_code)]
