//! Databases of random rows, for all tests.

use std::collections::BTreeMap;

use bytes::Bytes;
use cairn_etcd_file::bolt::{BuildError, Database, FileWriter, LayoutCounter, Value};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Buckets by name, each with its rows.
pub(crate) type Rows = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Some rows: short and long ones, and some longer than a page.
pub(crate) fn any_rows() -> impl Strategy<Value = Rows> {
    let key = prop_oneof![
        8 => vec(any::<u8>(), 1..20),
        1 => vec(any::<u8>(), 1..6000),
    ];
    let value = prop_oneof![
        8 => vec(any::<u8>(), 0..200),
        1 => (0..40_000_usize, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ];
    btree_map(vec(any::<u8>(), 1..12), btree_map(key, value, 0..150), 0..5)
}

/// The file with these rows.
pub(crate) fn write(rows: &Rows) -> Result<Vec<u8>, BuildError> {
    let mut counter = LayoutCounter::default();
    for (name, bucket) in rows {
        counter.bucket(name)?;
        for (key, value) in bucket {
            counter.row(key, value)?;
        }
    }
    let layout = counter.finish()?;
    let mut file = Vec::new();
    let mut writer = FileWriter::new(layout, |page: &[u8]| {
        file.extend_from_slice(page);
        Ok(())
    })?;
    for (name, bucket) in rows {
        writer.bucket(name)?;
        for (key, value) in bucket {
            writer.row(key, value)?;
        }
    }
    writer.finish()?;
    assert_eq!(file.len() as u64, layout.bytes());
    Ok(file)
}

/// The rows of a file.
pub(crate) fn read(file: Vec<u8>) -> Rows {
    let database = Database::open(Bytes::from(file)).unwrap();
    let mut rows = Rows::new();
    let mut names = database.cursor(&database.root()).unwrap();
    while let Some(item) = names.next().unwrap() {
        let Value::Bucket(bucket) = item.value else {
            panic!("a row beside the buckets");
        };
        let mut found = BTreeMap::new();
        let mut cursor = database.cursor(&bucket).unwrap();
        while let Some(row) = cursor.next().unwrap() {
            let Value::Bytes(value) = row.value else {
                panic!("a bucket in a bucket");
            };
            assert_eq!(database.get(&bucket, &row.key).unwrap().unwrap(), value);
            found.insert(row.key.to_vec(), value.to_vec());
        }
        rows.insert(item.key.to_vec(), found);
    }
    rows
}
