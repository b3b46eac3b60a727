//! The revisioned store.
#![forbid(unsafe_code)]
