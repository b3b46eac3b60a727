//! Any bytes as the bodies of a log's last frames.
#![no_main]

use cairn_consensus::fuzzing::frames;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| frames(bytes));
