//! What tests, comparisons and benchmarks that start servers share.

pub mod mutations;
pub mod ports;
