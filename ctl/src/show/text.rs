//! Lines under way to stdout: text, and keys that may be any bytes.

use std::fmt::{Arguments, Display};
use std::io::Write as _;

use cairn_proto::etcdserverpb::ResponseHeader;
use cairn_proto::mvccpb::KeyValue;

use super::Style;
use crate::golang::quote;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn write(&mut self, arguments: Arguments<'_>) {
        // A vector takes all that is written.
        let _ = self.0.write_fmt(arguments);
    }

    pub(crate) fn line(&mut self, line: impl Display) {
        self.write(format_args!("{line}\n"));
    }

    /// A pair: its key and its value, each on a line.
    pub(crate) fn pair(&mut self, kv: &KeyValue, style: Style) {
        if !style.value_only {
            self.bytes_line(&kv.key, style.hex);
        }
        self.bytes_line(&kv.value, style.hex);
    }

    fn bytes_line(&mut self, bytes: &[u8], hex: bool) {
        if hex {
            for byte in bytes {
                self.write(format_args!("\\x{byte:02x}"));
            }
        } else {
            self.push(bytes);
        }
        self.push(b"\n");
    }

    /// A field of the format `fields`.
    pub(crate) fn field(&mut self, name: &str, value: impl Display) {
        self.write(format_args!("\"{name}\" : {value}\n"));
    }

    pub(crate) fn quoted_field(&mut self, name: &str, value: &[u8]) {
        self.field(name, quote(value));
    }

    /// A member's or cluster's id.
    pub(crate) fn id_field(&mut self, name: &str, id: u64, style: Style) {
        if style.hex {
            self.field(name, format_args!("{id:x}"));
        } else {
            self.field(name, id);
        }
    }

    pub(crate) fn lease_field(&mut self, name: &str, id: i64, style: Style) {
        if style.hex {
            self.field(name, format_args!("{id:016x}"));
        } else {
            self.field(name, id);
        }
    }

    pub(crate) fn header_fields(&mut self, header: Option<&ResponseHeader>, style: Style) {
        let header = header.copied().unwrap_or_default();
        self.id_field("ClusterID", header.cluster_id, style);
        self.id_field("MemberID", header.member_id, style);
        // Answers that are not about keys have none.
        if header.revision > 0 {
            self.field("Revision", header.revision);
        }
        self.field("RaftTerm", header.raft_term);
    }

    pub(crate) fn pair_fields(&mut self, prefix: &str, kv: &KeyValue, style: Style) {
        self.quoted_field(&format!("{prefix}Key"), &kv.key);
        self.field(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.field(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.field(&format!("{prefix}Version"), kv.version);
        self.quoted_field(&format!("{prefix}Value"), &kv.value);
        self.lease_field(&format!("{prefix}Lease"), kv.lease, style);
    }
}
