//! Members and their logs, on disks that fail.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests are not tests to clippy"
)]

mod application;
mod door;
mod group;
mod one_member;
