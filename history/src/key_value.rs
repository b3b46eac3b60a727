//! One version of a key.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Data, LeaseId, Revision};

/// One version of a key, as answers and events carry it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key.
    pub key: Data,
    /// Empty where the request asked for keys only.
    #[serde(default, skip_serializing_if = "Data::is_empty")]
    pub value: Data,
    /// Revision that created the key in its present life.
    #[serde(rename = "create")]
    pub create_revision: Revision,
    /// Revision that wrote this version.
    #[serde(rename = "mod")]
    pub mod_revision: Revision,
    /// Writes since creation, counted from 1.
    pub version: i64,
    /// The lease that takes the key with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
}

impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}={} (create {}, mod {}, version {}",
            self.key, self.value, self.create_revision, self.mod_revision, self.version
        )?;
        match self.lease {
            Some(lease) => write!(f, ", {lease})"),
            None => write!(f, ")"),
        }
    }
}
