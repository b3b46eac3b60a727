//! The members of the cluster, as the log has made them.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use cairn_backend::{BatchTx, ReadError, ReadTx, Table};
use cairn_consensus::MemberId;
use cairn_proto::etcdserverpb;
use serde::{Deserialize, Serialize};

/// One member. Its JSON is the stored record and the context of the log entry that adds it, with
/// etcd's field names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its ID, which never comes back once it is removed.
    pub id: u64,
    /// Where other members reach it.
    #[serde(rename = "peerURLs", default)]
    pub peer_urls: Vec<String>,
    /// Whether it follows without a vote.
    #[serde(
        rename = "isLearner",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_learner: bool,
    /// Its name; empty until it has started.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it says clients reach it, to the letter.
    #[serde(rename = "clientURLs", default, skip_serializing_if = "Vec::is_empty")]
    pub client_urls: Vec<String>,
}

impl Member {
    /// The record of this member.
    pub fn to_json(&self) -> Bytes {
        // A struct of strings and numbers always serializes.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// The member as clients see it.
    pub fn to_wire(&self) -> etcdserverpb::Member {
        etcdserverpb::Member {
            id: self.id,
            name: self.name.clone(),
            peer_urls: self.peer_urls.clone(),
            client_urls: self.client_urls.clone(),
            is_learner: self.is_learner,
        }
    }
}

/// All members, and which version of the protocol they have agreed on.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    members: BTreeMap<MemberId, Member>,
    version: Option<String>,
}

/// Where the agreed version is stored, in table `cluster`.
const VERSION_KEY: &[u8] = b"clusterVersion";

impl Membership {
    /// Reads the stored members. Records that do not parse are passed over.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub fn restore(tx: &ReadTx) -> Result<Self, ReadError> {
        let mut members = BTreeMap::new();
        tx.scan(
            Table::Members,
            (Bound::Unbounded, Bound::Unbounded),
            &mut |_, record| {
                if let Ok(member) = serde_json::from_slice::<Member>(record)
                    && let Some(id) = MemberId::from_wire(member.id)
                {
                    members.insert(id, member);
                }
                ControlFlow::Continue(())
            },
        )?;
        let version = tx.get(Table::Cluster, VERSION_KEY)?;
        let version = version.and_then(|version| String::from_utf8(version.to_vec()).ok());
        Ok(Self { members, version })
    }

    /// The members, by ID.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Whether there is a member `id`.
    pub fn contains(&self, id: MemberId) -> bool {
        self.members.contains_key(&id)
    }

    /// The version that all members speak, once they have agreed.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Adds a member, or replaces it.
    pub fn add(&mut self, id: MemberId, member: Member, tx: &mut BatchTx<'_>) {
        tx.put(Table::Members, record_key(id).as_bytes(), member.to_json());
        self.members.insert(id, member);
    }

    /// Notes what a member says of itself. Nothing happens if it is not a member.
    pub fn set_attributes(
        &mut self,
        id: MemberId,
        name: String,
        client_urls: Vec<String>,
        tx: &mut BatchTx<'_>,
    ) {
        if let Some(member) = self.members.get_mut(&id) {
            member.name = name;
            member.client_urls = client_urls;
            tx.put(Table::Members, record_key(id).as_bytes(), member.to_json());
        }
    }

    /// Notes the version that all members speak.
    pub fn set_version(&mut self, version: String, tx: &mut BatchTx<'_>) {
        tx.put(
            Table::Cluster,
            VERSION_KEY,
            Bytes::copy_from_slice(version.as_bytes()),
        );
        self.version = Some(version);
    }
}

fn record_key(id: MemberId) -> String {
    format!("{:016x}", id.get())
}
