//! Any bytes as a file of settings.
#![no_main]

use cairn_server::fuzzing::config_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| config_file(bytes));
