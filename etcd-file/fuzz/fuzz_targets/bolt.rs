//! Any bytes as a database: all of it is read, or there is an error.
//!
//! Meta pages carry a checksum that chance does not find, so each is given a right one first.
#![no_main]

use bytes::Bytes;
use cairn_etcd_file::bolt::{BoltError, Database, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    let page_bytes = file.get(24..28).and_then(|size| size.try_into().ok());
    let page_bytes = u32::from_le_bytes(page_bytes.unwrap_or_default()) as usize;
    for meta in [0, page_bytes] {
        sum(&mut file, meta);
    }
    let _ = read_all(file.into());
});

fn sum(file: &mut [u8], meta: usize) {
    let Some(record) = meta.checked_add(80).and_then(|end| file.get_mut(meta + 16..end)) else {
        return;
    };
    let (summed, sum) = record.split_at_mut(56);
    let hash = summed.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    sum.copy_from_slice(&hash.to_le_bytes());
}

fn read_all(file: Bytes) -> Result<(), BoltError> {
    let database = Database::open(file)?;
    let _ = database.check();
    let mut names = database.cursor(&database.root())?;
    while let Some(item) = names.next()? {
        if let Value::Bucket(bucket) = item.value {
            let mut rows = database.cursor(&bucket)?;
            while let Some(row) = rows.next()? {
                database.get(&bucket, &row.key)?;
            }
        }
    }
    Ok(())
}
