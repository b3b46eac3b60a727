//! What backups ask of a store, of a directory.

use super::*;

fn store(directory: &FilePath) -> AddressedStore {
    let url = Url::from_file_path(directory).unwrap();
    AddressedStore::open(url.as_str(), None, std::iter::empty()).unwrap()
}

#[test]
fn objects_are_written_once_listed_in_order_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory.path().join("a backup"));
    assert_eq!(store.folders().unwrap(), [""; 0]);
    assert_eq!(store.list("c/log/", "").unwrap(), [""; 0]);
    assert_eq!(store.get("c/log/1").unwrap(), None);
    for name in ["c/log/2", "c/log/1", "c/log/3", "c/base/1", "d/log/1"] {
        let put = store.put_new(name, Bytes::from_static(b"first"));
        assert_eq!(put.unwrap(), Put::Done);
    }
    let again = store.put_new("c/log/2", Bytes::from_static(b"second"));
    assert_eq!(again.unwrap(), Put::Exists);
    assert_eq!(store.get("c/log/2").unwrap().unwrap(), "first");
    assert_eq!(store.folders().unwrap(), ["c", "d"]);
    assert_eq!(
        store.list("c/log/", "").unwrap(),
        ["c/log/1", "c/log/2", "c/log/3"]
    );
    assert_eq!(
        store.list("c/log/", "c/log/1").unwrap(),
        ["c/log/2", "c/log/3"]
    );
    store.delete("c/log/2").unwrap();
    store.delete("c/log/2").unwrap();
    assert_eq!(store.list("c/log/", "").unwrap(), ["c/log/1", "c/log/3"]);
}

#[test]
fn an_address_that_names_no_store_is_refused_with_the_reason() {
    let refusal = |url, endpoint| match AddressedStore::open(url, endpoint, std::iter::empty()) {
        Ok(_) => panic!("{url} was taken"),
        Err(error) => error.to_string(),
    };
    assert!(refusal("backups", None).contains("is no URL"));
    assert!(refusal("ftp://host/backups", None).contains("file://, s3://"));
    assert!(refusal("file:///backups", Some("http://s3")).contains("s3:// alone"));
}
