//! One condition of a transaction, parsed.

use std::cmp::Ordering;

use bytes::Bytes;
use cairn_index::KeyRange;
use cairn_proto::etcdserverpb::{self as wire, compare::TargetUnion};

use super::RequestError;

/// A condition that every key of a range must meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The keys; a range without a key counts as one missing key.
    pub range: KeyRange,
    /// What is compared, and with which operand.
    pub target: Target,
    /// How the key's attribute must relate to the operand.
    pub relation: Relation,
}

/// What is compared. A missing key compares as 0, except that its value never meets a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The number of writes since the key was created.
    Version(i64),
    /// The revision that created the key.
    Create(i64),
    /// The revision of its last write.
    Mod(i64),
    /// Its value.
    Value(Bytes),
    /// The lease that it is attached to.
    Lease(i64),
    /// A target from a later protocol: etcd takes it as equal.
    Unknown,
}

/// How an attribute must relate to its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `=`
    Equal,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `!=`
    NotEqual,
    /// A relation from a later protocol: etcd takes it as met.
    Unknown,
}

impl Relation {
    /// Whether an attribute that is `ordering` than its operand meets the condition.
    pub const fn is_met_by(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Greater => ordering.is_gt(),
            Self::Less => ordering.is_lt(),
            Self::NotEqual => ordering.is_ne(),
            Self::Unknown => true,
        }
    }
}

impl Compare {
    /// Parses a condition. An operand that does not belong to the target counts as zero or empty.
    ///
    /// # Errors
    ///
    /// [`RequestError::EmptyKey`].
    pub fn parse(compare: wire::Compare) -> Result<Self, RequestError> {
        use wire::compare::{CompareResult, CompareTarget};

        if compare.key.is_empty() {
            return Err(RequestError::EmptyKey);
        }
        let operand = compare.target_union;
        let target = match CompareTarget::try_from(compare.target) {
            Ok(CompareTarget::Version) => Target::Version(match operand {
                Some(TargetUnion::Version(version)) => version,
                _ => 0,
            }),
            Ok(CompareTarget::Create) => Target::Create(match operand {
                Some(TargetUnion::CreateRevision(revision)) => revision,
                _ => 0,
            }),
            Ok(CompareTarget::Mod) => Target::Mod(match operand {
                Some(TargetUnion::ModRevision(revision)) => revision,
                _ => 0,
            }),
            Ok(CompareTarget::Value) => Target::Value(match operand {
                Some(TargetUnion::Value(value)) => value,
                _ => Bytes::new(),
            }),
            Ok(CompareTarget::Lease) => Target::Lease(match operand {
                Some(TargetUnion::Lease(lease)) => lease,
                _ => 0,
            }),
            Err(_) => Target::Unknown,
        };
        let relation = match CompareResult::try_from(compare.result) {
            Ok(CompareResult::Equal) => Relation::Equal,
            Ok(CompareResult::Greater) => Relation::Greater,
            Ok(CompareResult::Less) => Relation::Less,
            Ok(CompareResult::NotEqual) => Relation::NotEqual,
            Err(_) => Relation::Unknown,
        };
        let range = KeyRange::from_wire(compare.key, compare.range_end);
        Ok(Self {
            range,
            target,
            relation,
        })
    }
}
