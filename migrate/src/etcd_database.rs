//! A database file of etcd's: a member's own, or a snapshot with a checksum behind it.

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cairn_backend::Table;
use cairn_etcd_file::Source;
use cairn_etcd_file::bolt::{Bucket, Database, Value};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::mapping::{SCHEDULED_KEY, STORAGE_VERSION_KEY, mapping, table_named};

/// The length of the checksum behind a snapshot.
const CHECKSUM_BYTES: u64 = 32;
/// Pages are multiples of this, so what is left over is the checksum.
const SECTOR_BYTES: u64 = 512;

/// Is called with a bucket's name, and the bucket.
type VisitBucket<'a> = dyn FnMut(&[u8], &Bucket) -> Result<(), Error> + 'a;
/// Is called with a row and the table that it belongs to.
pub(crate) type VisitRow<'a> = dyn FnMut(Table, &[u8], &[u8]) -> Result<(), Error> + 'a;

/// A database file of etcd's.
pub(crate) struct EtcdDatabase {
    path: PathBuf,
    database: Database<File>,
    length: u64,
}

impl EtcdDatabase {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        let length = file.length().map_err(Error::io(path))?;
        let database = Database::open(file).map_err(Error::bolt(path))?;
        Ok(Self {
            path: path.to_owned(),
            database,
            length,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> &Database<File> {
        &self.database
    }

    /// Bytes of the database, without what may follow.
    pub(crate) fn bytes(&self) -> u64 {
        self.database.bytes()
    }

    /// Checks the checksum behind a snapshot.
    pub(crate) fn verify_checksum(&self) -> Result<(), Error> {
        let has_one = self.length % SECTOR_BYTES == CHECKSUM_BYTES;
        if !has_one {
            return Err(Error::Refused(
                "snapshot missing hash but --skip-hash-check=false".to_owned(),
            ));
        }
        let file = File::open(&self.path).map_err(Error::io(&self.path))?;
        let end = self.length - CHECKSUM_BYTES;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut offset = 0;
        while offset < end {
            let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let wanted = wanted.min(buffer.len());
            let chunk = buffer.get_mut(..wanted).unwrap_or_default();
            file.read_at(chunk, offset).map_err(Error::io(&self.path))?;
            digest.update(&*chunk);
            offset += wanted as u64;
        }
        let mut stored = [0; 32];
        file.read_at(&mut stored, end)
            .map_err(Error::io(&self.path))?;
        let computed = digest.finalize();
        if *computed == stored {
            return Ok(());
        }
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|it| format!("{it:02x}"))
                .collect::<String>()
        };
        Err(Error::Refused(format!(
            "{}: expected sha256 {}, got {}",
            self.path.display(),
            hex(&stored),
            hex(&computed)
        )))
    }

    /// A value of a table's bucket.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let failed = Error::bolt(&self.path);
        let bucket = self.database.bucket(table.name().as_bytes());
        match bucket.map_err(&failed)? {
            Some(bucket) => self.database.get(&bucket, key).map_err(failed),
            None => Ok(None),
        }
    }

    /// A number in bucket `meta`.
    pub(crate) fn meta_number(&self, key: &[u8]) -> Result<Option<u64>, Error> {
        let Some(value) = self.get(Table::Meta, key)? else {
            return Ok(None);
        };
        let bytes = value.as_ref().try_into();
        let bytes = bytes.map_err(|_| Error::row("meta", key, "it is no number"))?;
        Ok(Some(u64::from_be_bytes(bytes)))
    }

    /// What the database says of its format; nothing before etcd 3.6.
    pub(crate) fn storage_version(&self) -> Result<String, Error> {
        let stored = self.get(Table::Meta, STORAGE_VERSION_KEY)?;
        Ok(stored.map_or_else(String::new, |it| String::from_utf8_lossy(&it).into_owned()))
    }

    /// Every bucket with its name, in order.
    pub(crate) fn buckets(&self, visit: &mut VisitBucket<'_>) -> Result<(), Error> {
        let failed = Error::bolt(&self.path);
        let root = self.database.root();
        let mut names = self.database.cursor(&root).map_err(&failed)?;
        while let Some(item) = names.next().map_err(&failed)? {
            match item.value {
                Value::Bucket(bucket) => visit(&item.key, &bucket)?,
                Value::Bytes(_) => {
                    return Err(Error::row("", &item.key, "a row beside the buckets"));
                }
            }
        }
        Ok(())
    }

    /// Every row of a bucket, as it is.
    pub(crate) fn rows(
        &self,
        name: &[u8],
        bucket: &Bucket,
        visit: &mut dyn FnMut(Bytes, Bytes) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = Error::bolt(&self.path);
        let mut rows = self.database.cursor(bucket).map_err(&failed)?;
        while let Some(item) = rows.next().map_err(&failed)? {
            match item.value {
                Value::Bytes(value) => visit(item.key, value)?,
                Value::Bucket(_) => {
                    let name = String::from_utf8_lossy(name);
                    return Err(Error::row(&name, &item.key, "a bucket in a bucket"));
                }
            }
        }
        Ok(())
    }

    /// Whether a row without a value is one that `etcdutl` wrote to raise the revision: it marks what is
    /// before as compacted, in the same step. That mark alone says as much to Cairn.
    fn is_of_a_raised_revision(&self, key: &[u8]) -> Result<bool, Error> {
        let mark = self.get(Table::Meta, SCHEDULED_KEY)?;
        let main = |key: &[u8]| key.first_chunk().copied().map(u64::from_be_bytes);
        Ok(match (main(key), mark.as_deref().and_then(main)) {
            (Some(row), Some(compacted)) => row <= compacted,
            _ => false,
        })
    }

    /// Every row as Cairn has it, table by table in the order of their names.
    pub(crate) fn rows_for_cairn(&self, visit: &mut VisitRow<'_>) -> Result<(), Error> {
        self.buckets(&mut |name, bucket| {
            let table = table_named(name).ok_or_else(|| {
                let name = String::from_utf8_lossy(name);
                Error::Refused(format!(
                    "{}: it is not known what bucket {name} holds",
                    self.path.display()
                ))
            })?;
            let inward = mapping(table).inward;
            let mut few = std::collections::BTreeMap::new();
            let keeps_order = mapping(table).keeps_order;
            self.rows(name, bucket, &mut |key, value| {
                if table == Table::Key && value.is_empty() && self.is_of_a_raised_revision(&key)? {
                    return Ok(());
                }
                let mapped = inward(&key, &value);
                let mapped = mapped.map_err(|why| Error::row(table.name(), &key, why))?;
                match mapped {
                    Some((key, value)) if keeps_order => visit(table, &key, &value),
                    Some((key, value)) => {
                        few.insert(key.into_owned(), value.into_owned());
                        Ok(())
                    }
                    None => Ok(()),
                }
            })?;
            few.iter()
                .try_for_each(|(key, value)| visit(table, key, value))
        })
    }
}
