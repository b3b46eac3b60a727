//! Members and their logs, on disks that fail.

mod application;
mod one_member;
