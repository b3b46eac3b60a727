//! What becomes of each row, from Cairn's tables to etcd's buckets and back.
//!
//! Tables have the names of buckets, and most rows are the same bytes in both:
//!
//! | bucket | from Cairn to etcd | from etcd to Cairn |
//! |---|---|---|
//! | `key` | the same | the same, without the empty row by which `etcdutl` raises a revision |
//! | `alarm`, `auth`, `authUsers`, `authRoles` | the same | the same |
//! | `lease` | a snapshot has the same, and etcd passes over the field that is Cairn's (20000, the log index of the last renewal). It means something in its own log alone: etcd's data directory is without it | the same; a new cluster's is without the field |
//! | `members`, `members_removed` | the key in etcd's form: hexadecimal, without leading zeros | the key with 16 digits |
//! | `cluster` | the version; a downgrade as etcd's JSON | the version; the target of a downgrade, if there is one |
//! | `meta` | `consistent_index`, `term`, `scheduledCompactRev`, `finishedCompactRev`; beside them `confState` as the members say it, and `storageVersion`. What else Cairn notes there is about one member's copy, and stays | the same four. The other two follow from the rest. Any other is an error |
//!
//! A bucket that is not in this table is an error on the way in.

use std::borrow::Cow;

use cairn_backend::Table;
use cairn_proto::leasepb;
use prost::Message;
use serde::{Deserialize, Serialize};

pub(crate) const INDEX_KEY: &[u8] = b"consistent_index";
pub(crate) const TERM_KEY: &[u8] = b"term";
pub(crate) const SCHEDULED_KEY: &[u8] = b"scheduledCompactRev";
pub(crate) const FINISHED_KEY: &[u8] = b"finishedCompactRev";
pub(crate) const CONF_STATE_KEY: &[u8] = b"confState";
pub(crate) const STORAGE_VERSION_KEY: &[u8] = b"storageVersion";
pub(crate) const CLUSTER_VERSION_KEY: &[u8] = b"clusterVersion";
const DOWNGRADE_KEY: &[u8] = b"downgrade";

/// A row on the other side; none if it has no counterpart there.
pub(crate) type Mapped<'a> = Result<Option<(Cow<'a, [u8]>, Cow<'a, [u8]>)>, String>;

/// What becomes of a row.
type Rule = for<'a> fn(&'a [u8], &'a [u8]) -> Mapped<'a>;

/// What becomes of a table's rows.
pub(crate) struct Mapping {
    pub(crate) outward: Rule,
    pub(crate) inward: Rule,
    /// Whether rows keep their order; those of other tables are few.
    pub(crate) keeps_order: bool,
}

/// What becomes of the rows of a table.
pub(crate) fn mapping(table: Table) -> Mapping {
    let streaming = |outward, inward| Mapping {
        outward,
        inward,
        keeps_order: true,
    };
    let few = |outward, inward| Mapping {
        outward,
        inward,
        keeps_order: false,
    };
    match table {
        Table::Key | Table::Alarm | Table::Auth | Table::AuthUsers | Table::AuthRoles => {
            streaming(same, same)
        }
        Table::Lease => streaming(lease_outward, same),
        Table::Members | Table::MembersRemoved => few(member_outward, member_inward),
        Table::Cluster => few(cluster_outward, cluster_inward),
        Table::Meta => few(meta_outward, meta_inward),
    }
}

/// The table of a bucket.
pub(crate) fn table_named(bucket: &[u8]) -> Option<Table> {
    let mut tables = Table::ALL.into_iter();
    tables.find(|table| table.name().as_bytes() == bucket)
}

#[expect(clippy::unnecessary_wraps, reason = "as all rules are")]
fn same<'a>(key: &'a [u8], value: &'a [u8]) -> Mapped<'a> {
    Ok(Some((key.into(), value.into())))
}

/// A lease without what only Cairn knows of it.
pub(crate) fn lease_outward<'a>(key: &'a [u8], value: &'a [u8]) -> Mapped<'a> {
    let lease = leasepb::Lease::decode(value).map_err(|error| error.to_string())?;
    Ok(Some((key.into(), lease.encode_to_vec().into())))
}

fn member_id(key: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(key).map_err(|error| error.to_string())?;
    u64::from_str_radix(text, 16).map_err(|error| format!("no member's ID: {error}"))
}

fn member_outward<'a>(key: &'a [u8], value: &'a [u8]) -> Mapped<'a> {
    let key = format!("{:x}", member_id(key)?);
    Ok(Some((key.into_bytes().into(), value.into())))
}

fn member_inward<'a>(key: &'a [u8], value: &'a [u8]) -> Mapped<'a> {
    let key = format!("{:016x}", member_id(key)?);
    Ok(Some((key.into_bytes().into(), value.into())))
}

/// etcd's record of a downgrade.
#[derive(Serialize, Deserialize)]
struct Downgrade {
    #[serde(rename = "target-version", default)]
    target: String,
    #[serde(default)]
    enabled: bool,
}

fn cluster_outward<'a>(key: &'a [u8], value: &'a [u8]) -> Mapped<'a> {
    match key {
        CLUSTER_VERSION_KEY => same(key, value),
        DOWNGRADE_KEY => {
            let target = String::from_utf8(value.to_vec()).map_err(|error| error.to_string())?;
            let record = Downgrade {
                enabled: !target.is_empty(),
                target,
            };
            let json = serde_json::to_vec(&record).map_err(|error| error.to_string())?;
            Ok(Some((key.into(), json.into())))
        }
        _ => Err("etcd has no such fact about a cluster".to_owned()),
    }
}

fn cluster_inward<'a>(key: &'a [u8], value: &'a [u8]) -> Mapped<'a> {
    match key {
        CLUSTER_VERSION_KEY => same(key, value),
        DOWNGRADE_KEY => {
            let record: Downgrade =
                serde_json::from_slice(value).map_err(|error| error.to_string())?;
            let target = record.enabled.then_some(record.target);
            Ok(target.map(|target| (key.into(), target.into_bytes().into())))
        }
        _ => Err("it is not known what that says about a cluster".to_owned()),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as all rules are")]
fn meta_outward<'a>(key: &'a [u8], value: &'a [u8]) -> Mapped<'a> {
    Ok(match key {
        INDEX_KEY | TERM_KEY | SCHEDULED_KEY | FINISHED_KEY => Some((key.into(), value.into())),
        _ => None,
    })
}

fn meta_inward<'a>(key: &'a [u8], value: &'a [u8]) -> Mapped<'a> {
    match key {
        INDEX_KEY | TERM_KEY | SCHEDULED_KEY | FINISHED_KEY => same(key, value),
        CONF_STATE_KEY => Ok(None),
        STORAGE_VERSION_KEY => {
            let text = String::from_utf8_lossy(value);
            let version = StorageVersion::parse(&text);
            let version = version.ok_or_else(|| format!("{text} is no version"))?;
            if version > StorageVersion::OURS {
                return Err(format!("it was written by etcd {text}, which is newer"));
            }
            Ok(None)
        }
        _ => Err("it is not known what that says about a member".to_owned()),
    }
}

/// A version of etcd's formats: minor versions alone differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StorageVersion {
    minor: u32,
}

impl StorageVersion {
    /// What is written unless members have agreed on less.
    pub const OURS: Self = Self { minor: 7 };

    /// The first whose log has entries of their own for what members say of themselves.
    pub(crate) const FIRST_WITH_MEMBER_ENTRIES: Self = Self { minor: 5 };

    /// The first that is stored in the database.
    const FIRST_STORED: Self = Self { minor: 6 };

    /// Reads `3.6` and `3.6.0`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let major: u32 = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        (major == 3).then_some(Self { minor })
    }

    /// Whether databases of this version say so.
    pub(crate) fn is_stored(self) -> bool {
        self >= Self::FIRST_STORED
    }
}

impl std::fmt::Display for StorageVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "3.{}.0", self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(mapped: Mapped<'_>) -> (Vec<u8>, Vec<u8>) {
        let (key, value) = mapped.unwrap().unwrap();
        (key.into_owned(), value.into_owned())
    }

    #[test]
    fn what_etcd_has_comes_back_from_cairn_as_it_was() {
        let lease = leasepb::Lease {
            id: 5,
            ttl: 600,
            remaining_ttl: 30,
        };
        let rows: [(Table, &[u8], Vec<u8>); 7] = [
            (Table::Key, b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0", vec![1]),
            (
                Table::Lease,
                &[0, 0, 0, 0, 0, 0, 0, 5],
                lease.encode_to_vec(),
            ),
            (Table::Members, b"a8f3458387986d", b"{}".to_vec()),
            (
                Table::MembersRemoved,
                b"8e9e05c52164694d",
                b"removed".to_vec(),
            ),
            (Table::Cluster, b"clusterVersion", b"3.7.0".to_vec()),
            (
                Table::Cluster,
                b"downgrade",
                br#"{"target-version":"3.6.0","enabled":true}"#.to_vec(),
            ),
            (Table::Meta, b"consistent_index", vec![0; 8]),
        ];
        for (table, key, value) in rows {
            let Mapping {
                outward, inward, ..
            } = mapping(table);
            let (ours, stored) = pair(inward(key, &value));
            assert_eq!(pair(outward(&ours, &stored)), (key.to_vec(), value));
        }
    }

    #[test]
    fn a_lease_leaves_without_what_only_cairn_knows() {
        let lease = leasepb::Lease {
            id: 5,
            ttl: 600,
            remaining_ttl: 0,
        };
        let mut stored = lease.encode_to_vec();
        stored.extend([0x80, 0xe2, 0x09, 7]);
        let (_, value) = pair(lease_outward(b"k", &stored));
        assert_eq!(value, lease.encode_to_vec());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(cluster_inward(b"other", b"").is_err());
        assert!(meta_inward(b"other", b"").is_err());
        assert!(meta_inward(b"storageVersion", b"3.8.0").is_err());
        assert!(meta_inward(b"storageVersion", b"3.6.0").unwrap().is_none());
        assert!(member_inward(b"xyz", b"").is_err());
        assert!(table_named(b"other").is_none());
    }
}
