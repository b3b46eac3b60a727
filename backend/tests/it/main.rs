//! Tests of the backend through its public face, over both engines.

mod disk;
mod engines;
mod snapshot;
mod suite;
