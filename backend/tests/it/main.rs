//! Tests of the backend through its public face, over both engines.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod check;
mod concurrency;
mod crash;
mod defragment;
mod disk;
mod engines;
mod full_disk;
mod install;
mod memory_signals;
mod model;
mod old_format;
mod rot;
mod suite;
mod transfer;
