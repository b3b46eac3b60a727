//! What endpoints say of themselves.

use cairn_proto::etcdserverpb::{HashKvResponse, StatusResponse};

use super::header::with_header;
use super::{Show, Style, Table, Text};
use crate::golang::{Json, Object, human_bytes, quote};

/// A list as Go writes it: `null` if nothing was ever put in.
fn list_json<T>(items: &[T], json: impl Fn(&T) -> Json) -> Json {
    match items {
        [] => Json::null(),
        items => Json::list(items.iter().map(json)),
    }
}

/// Whether an endpoint serves.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) endpoint: String,
    /// How long the question took; empty if it could not be asked.
    pub(crate) took: String,
    /// Why it does not serve.
    pub(crate) error: Option<String>,
}

impl Health {
    fn row(&self) -> Vec<String> {
        vec![
            self.endpoint.clone(),
            self.error.is_none().to_string(),
            self.took.clone(),
            self.error.clone().unwrap_or_default(),
        ]
    }

    fn json(&self) -> Json {
        Object::default()
            .always("endpoint", &Json::string(&self.endpoint))
            .always("health", &Json::raw(self.error.is_none()))
            .always("took", &Json::string(&self.took))
            .string("error", self.error.as_deref().unwrap_or_default())
            .end()
    }
}

pub(crate) struct Healths(pub(crate) Vec<Health>);

impl Show for Healths {
    /// Those that serve; of the others stderr is told.
    fn simple(&self, _style: Style, text: &mut Text) {
        for health in self.0.iter().filter(|health| health.error.is_none()) {
            text.line(format_args!(
                "{} is healthy: successfully committed proposal: took = {}",
                health.endpoint, health.took
            ));
        }
    }

    fn fields(&self, _style: Style) -> Option<Text> {
        let mut text = Text::default();
        for health in &self.0 {
            text.quoted_field("Endpoint", health.endpoint.as_bytes());
            text.field("Health", health.error.is_none());
            text.field("Took", &health.took);
            text.field("Error", health.error.as_deref().unwrap_or_default());
            text.line("");
        }
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        list_json(&self.0, Health::json)
    }

    fn table(&self) -> Option<Table> {
        let rows = self.0.iter().map(Health::row).collect();
        Some(Table::new(&["endpoint", "health", "took", "error"], rows))
    }
}

/// What an endpoint said of its state.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) endpoint: String,
    pub(crate) response: StatusResponse,
}

const STATUS_HEAD: [&str; 16] = [
    "endpoint",
    "ID",
    "version",
    "storage version",
    "db size",
    "in use",
    "percentage not in use",
    "quota",
    "is leader",
    "is learner",
    "raft term",
    "raft index",
    "raft applied index",
    "errors",
    "downgrade target version",
    "downgrade enabled",
];

impl Status {
    fn member(&self) -> u64 {
        self.response.header.map_or(0, |header| header.member_id)
    }

    fn row(&self) -> Vec<String> {
        let status = &self.response;
        let size = |bytes: i64| human_bytes(bytes.unsigned_abs());
        let downgrade = status.downgrade_info.clone().unwrap_or_default();
        let in_use = (i128::from(status.db_size_in_use) * 100)
            .checked_div(i128::from(status.db_size))
            .unwrap_or(100);
        vec![
            self.endpoint.clone(),
            format!("{:x}", self.member()),
            status.version.clone(),
            status.storage_version.clone(),
            size(status.db_size),
            size(status.db_size_in_use),
            format!("{}%", 100 - in_use),
            size(status.db_size_quota),
            (status.leader == self.member()).to_string(),
            status.is_learner.to_string(),
            status.raft_term.to_string(),
            status.raft_index.to_string(),
            status.raft_applied_index.to_string(),
            status.errors.join(", "),
            downgrade.target_version,
            downgrade.enabled.to_string(),
        ]
    }

    fn fields(&self, style: Style, text: &mut Text) {
        let status = &self.response;
        let downgrade = status.downgrade_info.clone().unwrap_or_default();
        text.header_fields(status.header.as_ref(), style);
        text.quoted_field("Version", status.version.as_bytes());
        text.quoted_field("StorageVersion", status.storage_version.as_bytes());
        text.field("DBSize", status.db_size);
        text.field("DBSizeInUse", status.db_size_in_use);
        text.field("DBSizeQuota", status.db_size_quota);
        text.field("Leader", status.leader);
        text.field("IsLearner", status.is_learner);
        text.field("RaftIndex", status.raft_index);
        text.field("RaftTerm", status.raft_term);
        text.field("RaftAppliedIndex", status.raft_applied_index);
        text.field("Errors", format_args!("[{}]", status.errors.join(" ")));
        text.field("Endpoint", quote(self.endpoint.as_bytes()));
        let target = downgrade.target_version.as_bytes();
        text.quoted_field("DowngradeTargetVersion", target);
        text.field("DowngradeEnabled", downgrade.enabled);
        text.line("");
    }

    fn json(&self) -> Json {
        let status = &self.response;
        let downgrade = status.downgrade_info.as_ref().map(|info| {
            Object::default()
                .truth("enabled", info.enabled)
                .string("targetVersion", &info.target_version)
                .end()
        });
        let object = with_header(status.header.as_ref())
            .string("version", &status.version)
            .number("dbSize", status.db_size)
            .number("leader", status.leader)
            .number("raftIndex", status.raft_index)
            .number("raftTerm", status.raft_term)
            .number("raftAppliedIndex", status.raft_applied_index)
            .list("errors", &status.errors, |error| Json::string(error))
            .number("dbSizeInUse", status.db_size_in_use)
            .truth("isLearner", status.is_learner)
            .string("storageVersion", &status.storage_version)
            .number("dbSizeQuota", status.db_size_quota)
            .optional("downgradeInfo", downgrade);
        Object::default()
            .always("Endpoint", &Json::string(&self.endpoint))
            .always("Status", &object.end())
            .end()
    }
}

pub(crate) struct Statuses(pub(crate) Vec<Status>);

impl Show for Statuses {
    fn simple(&self, _style: Style, text: &mut Text) {
        for status in &self.0 {
            text.line(status.row().join(", "));
        }
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        for status in &self.0 {
            status.fields(style, &mut text);
        }
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        list_json(&self.0, Status::json)
    }

    fn table(&self) -> Option<Table> {
        let rows = self.0.iter().map(Status::row).collect();
        Some(Table::new(&STATUS_HEAD, rows))
    }
}

/// The hash of an endpoint's keys.
#[derive(Clone, Debug)]
pub(crate) struct Hash {
    pub(crate) endpoint: String,
    pub(crate) response: HashKvResponse,
}

impl Hash {
    fn row(&self) -> Vec<String> {
        vec![
            self.endpoint.clone(),
            self.response.hash.to_string(),
            self.response.hash_revision.to_string(),
        ]
    }

    fn json(&self) -> Json {
        let hash = with_header(self.response.header.as_ref())
            .number("hash", self.response.hash)
            .number("compact_revision", self.response.compact_revision)
            .number("hash_revision", self.response.hash_revision);
        Object::default()
            .always("Endpoint", &Json::string(&self.endpoint))
            .always("HashKV", &hash.end())
            .end()
    }
}

pub(crate) struct Hashes(pub(crate) Vec<Hash>);

impl Show for Hashes {
    fn simple(&self, _style: Style, text: &mut Text) {
        for hash in &self.0 {
            text.line(hash.row().join(", "));
        }
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        for hash in &self.0 {
            text.header_fields(hash.response.header.as_ref(), style);
            text.quoted_field("Endpoint", hash.endpoint.as_bytes());
            text.field("Hash", hash.response.hash);
            text.field("HashRevision", hash.response.hash_revision);
            text.line("");
        }
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        list_json(&self.0, Hash::json)
    }

    fn table(&self) -> Option<Table> {
        let rows = self.0.iter().map(Hash::row).collect();
        Some(Table::new(&["endpoint", "hash", "hash revision"], rows))
    }
}
