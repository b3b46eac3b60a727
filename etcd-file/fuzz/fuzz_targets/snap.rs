//! Any bytes as a `.snap` file.
#![no_main]

use cairn_etcd_file::snap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(snapshot) = snap::decode(bytes.to_vec().into()) {
        assert_eq!(snap::decode(snap::encode(&snapshot)), Ok(snapshot));
    }
});
