//! Any bytes as the messages of peers.
#![no_main]

use cairn_consensus::fuzzing::messages;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| messages(bytes));
