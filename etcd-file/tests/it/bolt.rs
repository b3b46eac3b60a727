//! Writing and reading databases.

use bytes::Bytes;
use cairn_etcd_file::bolt::{BuildError, Database, FileWriter, LayoutCounter};
use proptest::prelude::*;

use crate::rows::{Rows, any_rows, read, write};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_read(rows in any_rows()) {
        let file = write(&rows).unwrap();
        let database = Database::open(Bytes::from(file.clone())).unwrap();
        let census = database.check().unwrap();
        prop_assert_eq!(census.buckets, rows.len() as u64);
        prop_assert_eq!(census.keys, rows.values().map(|it| it.len() as u64).sum::<u64>());
        prop_assert_eq!(census.used_pages + census.free_pages, file.len() as u64 / 4096);
        prop_assert_eq!(census.free_pages, 0);
        prop_assert!(read(file) == rows);
    }
}

#[test]
fn a_bucket_of_many_rows_is_a_tree_of_several_levels() {
    let rows: Rows = [(
        b"key".to_vec(),
        (0_u32..60_000)
            .map(|number| (number.to_be_bytes().repeat(12), vec![7; 40]))
            .collect(),
    )]
    .into();
    let file = write(&rows).unwrap();
    assert!(read(file) == rows);
}

#[test]
fn a_key_that_is_not_there_is_not_found() {
    let rows: Rows = [(
        b"b".to_vec(),
        (0_u32..5000)
            .map(|number| ((number * 2).to_be_bytes().to_vec(), vec![1]))
            .collect(),
    )]
    .into();
    let database = Database::open(Bytes::from(write(&rows).unwrap())).unwrap();
    let bucket = database.bucket(b"b").unwrap().unwrap();
    for odd in (1_u32..10_001).step_by(2) {
        assert_eq!(database.get(&bucket, &odd.to_be_bytes()).unwrap(), None);
    }
    assert_eq!(database.get(&bucket, &[]).unwrap(), None);
    assert!(database.bucket(b"a").unwrap().is_none());
}

#[test]
fn rows_that_do_not_ascend_are_refused() {
    let mut counter = LayoutCounter::default();
    assert_eq!(counter.row(b"k", b""), Err(BuildError::NoBucket));
    counter.bucket(b"b").unwrap();
    counter.row(b"k", b"").unwrap();
    assert_eq!(counter.row(b"k", b""), Err(BuildError::Order(1)));
    assert_eq!(counter.row(b"", b""), Err(BuildError::KeyLength(0)));
    assert_eq!(counter.bucket(b"a"), Err(BuildError::Order(1)));
}

#[test]
fn rows_that_change_between_the_passes_are_noticed() {
    let mut counter = LayoutCounter::default();
    counter.bucket(b"b").unwrap();
    let layout = counter.finish().unwrap();
    let mut writer = FileWriter::new(layout, |_: &[u8]| Ok(())).unwrap();
    writer.bucket(b"b").unwrap();
    writer.row(b"k", &[0; 5000]).unwrap();
    assert_eq!(writer.finish(), Err(BuildError::LayoutChanged));
}

#[test]
fn the_older_meta_page_is_used_where_the_newer_is_torn() {
    let rows: Rows = [(b"b".to_vec(), [(b"k".to_vec(), b"v".to_vec())].into())].into();
    let file = write(&rows).unwrap();
    for torn in [0, 4096] {
        let mut file = file.clone();
        file[torn + 20] ^= 0xff;
        assert!(read(file) == rows, "meta page at {torn}");
    }
}

/// A file put together by hand, with pages of 512 bytes: a bucket in its own record, a bucket that is a
/// tree, and a free page.
#[test]
fn inline_buckets_and_other_page_sizes_are_read() {
    let file = include_bytes!("../../fuzz/corpus/bolt/inline-and-tree-512");
    let database = Database::open(Bytes::from_static(file)).unwrap();
    let census = database.check().unwrap();
    assert_eq!((census.buckets, census.keys, census.free_pages), (2, 4, 1));
    let inline = database.bucket(b"inline").unwrap().unwrap();
    assert_eq!(database.get(&inline, b"x").unwrap().unwrap(), "y");
    let tree = database.bucket(b"tree").unwrap().unwrap();
    assert_eq!(tree.sequence, 1);
    assert_eq!(database.get(&tree, b"b").unwrap().unwrap(), "2");
}
