//! What becomes of etcd's log entries.
//!
//! Most requests are the same in both logs. Until 3.5 etcd puts some facts about members into its log
//! as requests of its second API; those become the requests that later versions use for the same.

use std::ops::RangeInclusive;

use bytes::Bytes;
use cairn_consensus::{LogIndex, RawEntry, RawKind, Term};
use cairn_etcd_file::Entry;
use cairn_proto::membershippb::{
    Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest,
};
use cairn_replica::log_request::LogRequest;
use cairn_replica::request_ids::RequestId;
use prost::Message;
use serde::Deserialize;

use crate::error::Error;
use crate::mapping::StorageVersion;

const NORMAL: i32 = 0;
const CONF_CHANGE: i32 = 1;
/// Fields from here on are Cairn's own.
const OWN_FIELDS: u32 = 20_000;
/// The cluster's version, a member's attributes, a downgrade: etcd knows these fields from 3.5 on.
const MEMBER_FIELDS: RangeInclusive<u32> = 1300..=1302;
/// Requests of the second API, which etcd no longer knows.
const V2_FIELD: u32 = 2;

/// Methods of the second API that write nothing.
const NO_WRITES: [&str; 3] = ["SYNC", "QGET", "GET"];
/// Where etcd keeps what is its own in the tree of the second API; all else are keys of clients.
const OWN_PATHS: &str = "/0/";

/// Of a request in etcd's log, what tells how to read it.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(message, optional, tag = "2")]
    v2: Option<V2Request>,
    #[prost(message, optional, tag = "100")]
    header: Option<Header>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Header {
    #[prost(uint64, tag = "1")]
    id: u64,
}

/// A request of the second API, as far as it matters.
#[derive(Clone, PartialEq, Message)]
struct V2Request {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    method: String,
    #[prost(string, tag = "3")]
    path: String,
    #[prost(string, tag = "4")]
    value: String,
}

/// What a member says of itself, in the second API's form.
#[derive(Deserialize)]
struct StoredAttributes {
    #[serde(default)]
    name: String,
    #[serde(rename = "clientURLs", default)]
    client_urls: Option<Vec<String>>,
}

/// An entry of etcd's log as Cairn's log has it.
pub(crate) fn inward(entry: Entry) -> Result<RawEntry, Error> {
    let index = entry.index.unwrap_or_default();
    let data = entry.data.unwrap_or_default();
    let refused = |reason: String| Error::Entry { index, reason };
    let (kind, data) = match entry.kind.unwrap_or_default() {
        NORMAL => (RawKind::Normal, request_inward(data).map_err(refused)?),
        CONF_CHANGE => (RawKind::ConfChange, data),
        other => return Err(refused(format!("type {other} is not known"))),
    };
    Ok(RawEntry {
        index: LogIndex::new(index),
        term: Term::new(entry.term.unwrap_or_default()),
        kind,
        data,
    })
}

/// Whether an entry writes or deletes a client's key by the second API.
pub(crate) fn is_v2_key(entry: &Entry) -> bool {
    if entry.kind.unwrap_or_default() != NORMAL {
        return false;
    }
    let data = entry.data.clone().unwrap_or_default();
    matches!(v2_request(data), Ok(Some(V2Request { method, path, .. }))
        if !NO_WRITES.contains(&method.as_str()) && !path.starts_with(OWN_PATHS))
}

fn request_inward(data: Bytes) -> Result<Bytes, String> {
    match v2_request(data.clone())? {
        None => Ok(data),
        Some(request) => v2_inward(&request),
    }
}

/// The request of the second API that an entry holds, if it holds one.
fn v2_request(data: Bytes) -> Result<Option<V2Request>, String> {
    if data.is_empty() {
        return Ok(None);
    }
    Ok(match Envelope::decode(data.clone()) {
        Ok(Envelope { v2, header }) => v2.map(|request| V2Request {
            id: header.map_or(request.id, |header| header.id.max(request.id)),
            ..request
        }),
        // As etcd once wrote requests of its second API.
        Err(_) => {
            let request = V2Request::decode(data);
            Some(request.map_err(|error| format!("no request: {error}"))?)
        }
    })
}

fn v2_inward(request: &V2Request) -> Result<Bytes, String> {
    let V2Request {
        id,
        method,
        path,
        value,
    } = request;
    // Time passing, and reads: they change nothing that is carried over.
    if NO_WRITES.contains(&method.as_str()) {
        return Ok(Bytes::new());
    }
    let member = path
        .strip_prefix("/0/members/")
        .and_then(|rest| rest.strip_suffix("/attributes"));
    let same = match (method.as_str(), path.as_str(), member) {
        ("PUT", "/0/version", _) => {
            LogRequest::ClusterVersionSet(ClusterVersionSetRequest { ver: value.clone() })
        }
        ("PUT", _, Some(member)) => {
            let member_id = u64::from_str_radix(member, 16).map_err(|error| error.to_string())?;
            let stored: StoredAttributes =
                serde_json::from_str(value).map_err(|error| error.to_string())?;
            LogRequest::ClusterMemberAttrSet(ClusterMemberAttrSetRequest {
                member_id,
                member_attributes: Some(Attributes {
                    name: stored.name,
                    client_urls: stored.client_urls.unwrap_or_default(),
                }),
            })
        }
        // A key of the second API, which stays behind.
        _ if !path.starts_with(OWN_PATHS) => return Ok(Bytes::new()),
        _ => return Err(format!("{method} {path}: it is not known what that does")),
    };
    let id = RequestId::from_wire((*id).max(1)).ok_or("no number")?;
    Ok(same.encode(id, None))
}

/// An entry of Cairn's log as the log of an etcd of `version` has it.
///
/// What members say of themselves and of the cluster's version has a form of its own from 3.5 on, at
/// which an earlier etcd panics. It says both again at each start, so for it such an entry becomes an
/// empty one.
pub(crate) fn outward(entry: RawEntry, version: StorageVersion) -> Result<Entry, Error> {
    let RawEntry {
        index,
        term,
        kind,
        data,
    } = entry;
    let kind = match kind {
        RawKind::Normal if has_own_field(data.clone()) => {
            return Err(Error::Entry {
                index: index.get(),
                reason: "it is in a form that etcd does not know, and was not applied \
                         yet. Start the cluster once more, stop all members, and try again"
                    .to_owned(),
            });
        }
        RawKind::Normal => NORMAL,
        RawKind::ConfChange => CONF_CHANGE,
    };
    let is_unknown = kind == NORMAL
        && version < StorageVersion::FIRST_WITH_MEMBER_ENTRIES
        && has_field(data.clone(), |tag| MEMBER_FIELDS.contains(&tag));
    Ok(Entry {
        kind: Some(kind),
        term: Some(term.get()),
        index: Some(index.get()),
        data: Some(data).filter(|data| !data.is_empty() && !is_unknown),
    })
}

/// Whether a request has a field that no etcd of today knows.
fn has_own_field(data: Bytes) -> bool {
    has_field(data, |tag| tag >= OWN_FIELDS || tag == V2_FIELD)
}

/// Whether a request has a field that is sought, or cannot be read.
fn has_field(mut data: Bytes, is_sought: impl Fn(u32) -> bool) -> bool {
    use prost::encoding::{DecodeContext, decode_key, skip_field};

    while !data.is_empty() {
        let Ok((tag, wire_type)) = decode_key(&mut data) else {
            return true;
        };
        if is_sought(tag)
            || skip_field(wire_type, tag, &mut data, DecodeContext::default()).is_err()
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_replica::log_request::LogEntry;

    fn v2(method: &str, path: &str, value: &str) -> V2Request {
        V2Request {
            id: 5,
            method: method.to_owned(),
            path: path.to_owned(),
            value: value.to_owned(),
        }
    }

    fn translated(request: &V2Request) -> Result<Option<LogRequest>, String> {
        let wrapped = Envelope {
            v2: Some(request.clone()),
            header: Some(Header { id: 7 }),
        };
        let data = request_inward(wrapped.encode_to_vec().into())?;
        Ok(LogEntry::decode(data).unwrap().request)
    }

    #[test]
    fn what_members_said_in_the_second_apis_form_is_said_in_the_new_one() {
        let value = r#"{"name":"a","clientURLs":["http://c:1"]}"#;
        let said = translated(&v2("PUT", "/0/members/8e9e05c52164694d/attributes", value));
        let Ok(Some(LogRequest::ClusterMemberAttrSet(said))) = said else {
            panic!("{said:?}");
        };
        assert_eq!(said.member_id, 0x8e9e_05c5_2164_694d);
        assert_eq!(said.member_attributes.unwrap().client_urls, ["http://c:1"]);
        let version = translated(&v2("PUT", "/0/version", "3.4.0"));
        assert!(matches!(
            version,
            Ok(Some(LogRequest::ClusterVersionSet(_)))
        ));
        assert_eq!(translated(&v2("SYNC", "", "")), Ok(None));
        assert!(translated(&v2("PUT", "/0/other", "b")).is_err());
    }

    #[test]
    fn a_key_of_the_second_api_becomes_an_entry_that_says_nothing_and_is_known_as_one() {
        let entry = |request: &V2Request, wrapped| Entry {
            index: Some(5),
            data: Some(if wrapped {
                let request = Envelope {
                    v2: Some(request.clone()),
                    header: None,
                };
                request.encode_to_vec().into()
            } else {
                request.encode_to_vec().into()
            }),
            ..Entry::default()
        };
        for (method, path, is_key) in [
            ("PUT", "/1/a", true),
            ("DELETE", "/1/a", true),
            ("QGET", "/1/a", false),
            ("SYNC", "", false),
            ("PUT", "/0/version", false),
        ] {
            let entry = entry(&v2(method, path, "3.4.0"), true);
            assert_eq!(is_v2_key(&entry), is_key, "{method} {path}");
            let said = inward(entry).unwrap().data;
            assert_eq!(said.is_empty(), path != "/0/version", "{method} {path}");
        }
        // As old logs have them.
        assert!(is_v2_key(&entry(&v2("PUT", "/1/a", "b"), false)));
    }

    #[test]
    fn what_only_cairn_knows_does_not_go_into_etcds_log() {
        let entry = |data: &'static [u8]| RawEntry {
            index: LogIndex::new(5),
            term: Term::new(1),
            kind: RawKind::Normal,
            data: Bytes::from_static(data),
        };
        let outward = |data| outward(entry(data), StorageVersion::OURS);
        assert!(outward(b"").is_ok());
        assert!(outward(b"\x22\x03\x0a\x01k").is_ok());
        assert!(outward(b"\x82\xe2\x09\x00").is_err());
    }

    /// etcd 3.4 panics at an entry of a kind that it does not know.
    #[test]
    fn what_members_say_of_themselves_is_empty_for_an_etcd_of_before_3_5() {
        let request = ClusterVersionSetRequest {
            ver: "3.4.0".to_owned(),
        };
        let id = RequestId::from_wire(1).unwrap();
        let entry = RawEntry {
            index: LogIndex::new(5),
            term: Term::new(1),
            kind: RawKind::Normal,
            data: LogRequest::ClusterVersionSet(request).encode(id, None),
        };
        for (version, is_there) in [("3.4", false), ("3.5", true), ("3.7", true)] {
            let version = StorageVersion::parse(version).unwrap();
            let written = outward(entry.clone(), version).unwrap();
            assert_eq!(written.data.is_some(), is_there, "{version}");
        }
    }
}
