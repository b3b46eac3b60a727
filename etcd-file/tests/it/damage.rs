//! Whatever the bytes are, there is an answer.

use bytes::Bytes;
use cairn_etcd_file::bolt::{BoltError, Database, Value};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::rows::{any_rows, write};

/// Reads all that can be read.
fn read_all(file: Vec<u8>) -> Result<(), BoltError> {
    let database = Database::open(Bytes::from(file))?;
    database.check()?;
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn changed_bytes_give_rows_or_an_error(
        rows in any_rows(),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..30),
    ) {
        let mut file = write(&rows).unwrap();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let _ = read_all(file);
    }

    #[test]
    fn a_file_that_is_cut_short_is_refused(
        rows in any_rows(),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut file = write(&rows).unwrap();
        file.truncate(cut.index(file.len()));
        prop_assert!(read_all(file).is_err());
    }
}

#[test]
fn an_error_names_page_and_offset() {
    let rows = [(
        b"b".to_vec(),
        (0_u8..200).map(|key| (vec![key], vec![key; 100])).collect(),
    )]
    .into();
    let mut file = write(&rows).unwrap();
    // The id of page 4.
    file[4 * 4096] = 9;
    let error = read_all(file).unwrap_err();
    let expected = "page 4, offset 16384 of the file: it says that it is page 9";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn pages_that_point_at_one_another_are_an_error() {
    let rows = [(
        b"b".to_vec(),
        (0_u8..200).map(|key| (vec![key], vec![key; 100])).collect(),
    )]
    .into();
    let file = write(&rows).unwrap();
    let root = Database::open(Bytes::from(file.clone())).unwrap();
    // The bucket's root is the branch before the last page, which lists the buckets.
    let branch = usize::try_from(root.meta().root).unwrap() - 1;
    let mut file = file;
    for element in 0..2 {
        let child = branch * 4096 + 16 + element * 16 + 8;
        file[child..child + 8].copy_from_slice(&(branch as u64).to_le_bytes());
    }
    assert!(read_all(file.clone()).is_err());
    let database = Database::open(Bytes::from(file)).unwrap();
    let bucket = database.bucket(b"b").unwrap().unwrap();
    let mut cursor = database.cursor(&bucket).unwrap();
    assert!(cursor.next().is_err());
}
