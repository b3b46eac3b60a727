//! What a transaction compares.

use bytes::Bytes;
use cairn_proto::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};

use crate::into_bytes::IntoBytes;
use crate::keys::Keys;
use crate::revision::{LeaseId, Revision};

/// A condition of a transaction on a key, or on every key of a range.
///
/// A key that is not there has version, revisions and lease zero; of its value nothing is true,
/// not even that it differs.
#[derive(Clone, Debug)]
pub struct Compare {
    keys: Keys,
    target: CompareTarget,
    result: CompareResult,
    value: TargetUnion,
}

/// A number of a key, to be compared.
#[derive(Clone, Debug)]
#[must_use = "say what to compare it with"]
pub struct CompareNumber {
    keys: Keys,
    target: CompareTarget,
}

/// The value of a key, to be compared.
#[derive(Clone, Debug)]
#[must_use = "say what to compare it with"]
pub struct CompareValue {
    keys: Keys,
}

impl Compare {
    /// The value.
    pub fn value(keys: impl Into<Keys>) -> CompareValue {
        CompareValue { keys: keys.into() }
    }

    /// The number of writes since creation.
    pub fn version(keys: impl Into<Keys>) -> CompareNumber {
        CompareNumber::of(keys.into(), CompareTarget::Version)
    }

    /// The revision of creation.
    pub fn create_revision(keys: impl Into<Keys>) -> CompareNumber {
        CompareNumber::of(keys.into(), CompareTarget::Create)
    }

    /// The revision of the last change.
    pub fn mod_revision(keys: impl Into<Keys>) -> CompareNumber {
        CompareNumber::of(keys.into(), CompareTarget::Mod)
    }

    /// The lease.
    pub fn lease(keys: impl Into<Keys>) -> CompareNumber {
        CompareNumber::of(keys.into(), CompareTarget::Lease)
    }

    /// That a key is there.
    pub fn exists(key: impl IntoBytes) -> Self {
        Self::version(key).greater(0)
    }

    /// That a key is not there.
    pub fn missing(key: impl IntoBytes) -> Self {
        Self::version(key).equals(0)
    }

    pub(super) fn into_wire(self, namespace: &Bytes) -> pb::Compare {
        let keys = self.keys.within(namespace);
        pb::Compare {
            result: self.result.into(),
            target: self.target.into(),
            key: keys.key,
            range_end: keys.end,
            target_union: Some(self.value),
        }
    }
}

impl CompareNumber {
    fn of(keys: Keys, target: CompareTarget) -> Self {
        Self { keys, target }
    }

    /// It is this one.
    pub fn equals(self, number: impl Into<i64>) -> Compare {
        self.to(CompareResult::Equal, number.into())
    }

    /// It is another one.
    pub fn differs(self, number: impl Into<i64>) -> Compare {
        self.to(CompareResult::NotEqual, number.into())
    }

    /// It is a greater one.
    pub fn greater(self, number: impl Into<i64>) -> Compare {
        self.to(CompareResult::Greater, number.into())
    }

    /// It is a lesser one.
    pub fn less(self, number: impl Into<i64>) -> Compare {
        self.to(CompareResult::Less, number.into())
    }

    fn to(self, result: CompareResult, number: i64) -> Compare {
        let value = match self.target {
            CompareTarget::Create => TargetUnion::CreateRevision(number),
            CompareTarget::Mod => TargetUnion::ModRevision(number),
            CompareTarget::Lease => TargetUnion::Lease(number),
            // The value has a type of its own.
            CompareTarget::Version | CompareTarget::Value => TargetUnion::Version(number),
        };
        Compare {
            keys: self.keys,
            target: self.target,
            result,
            value,
        }
    }
}

impl CompareValue {
    /// It is this one.
    pub fn equals(self, value: impl IntoBytes) -> Compare {
        self.to(CompareResult::Equal, value.into_bytes())
    }

    /// It is another one.
    pub fn differs(self, value: impl IntoBytes) -> Compare {
        self.to(CompareResult::NotEqual, value.into_bytes())
    }

    /// Its bytes are greater.
    pub fn greater(self, value: impl IntoBytes) -> Compare {
        self.to(CompareResult::Greater, value.into_bytes())
    }

    /// Its bytes are less.
    pub fn less(self, value: impl IntoBytes) -> Compare {
        self.to(CompareResult::Less, value.into_bytes())
    }

    fn to(self, result: CompareResult, value: Bytes) -> Compare {
        Compare {
            keys: self.keys,
            target: CompareTarget::Value,
            result,
            value: TargetUnion::Value(value),
        }
    }
}

impl From<Revision> for i64 {
    fn from(revision: Revision) -> Self {
        revision.get()
    }
}

impl From<LeaseId> for i64 {
    fn from(lease: LeaseId) -> Self {
        lease.get()
    }
}
