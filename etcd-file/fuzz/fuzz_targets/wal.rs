//! Any bytes as the only file of a log.
#![no_main]

use cairn_etcd_file::wal::{Log, file_name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(file_name(0, 0)), bytes).unwrap();
    if let Ok(log) = Log::read(directory.path()) {
        if let Some((first, last)) = log.extent() {
            for index in first..=last {
                assert!(log.entry(index).unwrap().is_some());
            }
        }
    }
});
