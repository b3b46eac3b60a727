//! Members and their logs, on disks that fail.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests are not tests to clippy"
)]

mod application;
mod chaos;
mod cluster;
mod force_new_cluster;
mod group;
mod handover;
mod members;
mod message_checks;
mod one_member;
mod snapshots;
