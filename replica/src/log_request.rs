//! What an entry of the log asks for.
//!
//! On disk and between members this is etcd's `InternalRaftRequest`: a message with a field for each
//! kind of request, of which one is set. Here it is an enum, so that exactly one can be; the message
//! itself, over a kilobyte of mostly empty fields, is never built.

use bytes::{Buf, Bytes, BytesMut};
use cairn_auth::{AuthInfo, AuthRequest};
use cairn_proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, PutRequest, RequestHeader, TxnRequest,
};
use cairn_proto::membershippb::{
    ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest,
};
use prost::DecodeError;
use prost::Message;
use prost::encoding::{
    DecodeContext, WireType, check_wire_type, decode_key, decode_varint, message, skip_field,
};

use crate::lease_request::LeaseRequest;
use crate::request_ids::RequestId;

/// A request in the log, of exactly one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum LogRequest {
    /// Write a key.
    Put(PutRequest),
    /// Delete keys.
    DeleteRange(DeleteRangeRequest),
    /// A transaction that writes.
    Txn(TxnRequest),
    /// Change the second API's tree.
    V2(Box<cairn_v2::Request>),
    /// Forget history.
    Compaction(CompactionRequest),
    /// Read, raise or end alarms.
    Alarm(AlarmRequest),
    /// Anything about leases.
    Lease(LeaseRequest),
    /// Anything about users, roles and logins.
    Auth(AuthRequest),
    /// Note the version that all members speak.
    ClusterVersionSet(ClusterVersionSetRequest),
    /// Note what a member says of itself.
    ClusterMemberAttrSet(ClusterMemberAttrSetRequest),
    /// Begin or end a downgrade.
    DowngradeInfoSet(DowngradeInfoSetRequest),
}

/// Field numbers of `InternalRaftRequest`: stored, never to be changed.
mod field {
    pub(super) const V2: u32 = 2;
    pub(super) const PUT: u32 = 4;
    pub(super) const DELETE_RANGE: u32 = 5;
    pub(super) const TXN: u32 = 6;
    pub(super) const COMPACTION: u32 = 7;
    pub(super) const ALARM: u32 = 10;
    pub(super) const HEADER: u32 = 100;
    pub(super) const CLUSTER_VERSION_SET: u32 = 1300;
    pub(super) const CLUSTER_MEMBER_ATTR_SET: u32 = 1301;
    pub(super) const DOWNGRADE_INFO_SET: u32 = 1302;
}

/// What an entry holds: a request of a known kind, or none that this version knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogEntry {
    /// Who waits for it, if anyone.
    pub id: Option<RequestId>,
    /// On whose behalf it is made, if that is anyone's.
    pub auth_info: Option<AuthInfo>,
    /// What is asked for.
    pub request: Option<LogRequest>,
}

impl LogRequest {
    /// The data of a log entry: this request, for which `id` waits, on behalf of `auth_info`.
    #[must_use]
    pub fn encode(&self, id: RequestId, auth_info: Option<&AuthInfo>) -> Bytes {
        let header = RequestHeader {
            id: id.to_wire(),
            username: auth_info
                .map_or_else(String::new, |auth_info| auth_info.username().to_owned()),
            auth_revision: auth_info.map_or(0, |auth_info| auth_info.revision().get()),
        };
        let len = self.encoded_len() + message::encoded_len(field::HEADER, &header);
        let mut data = BytesMut::with_capacity(len);
        match self {
            Self::Put(request) => message::encode(field::PUT, request, &mut data),
            Self::DeleteRange(request) => {
                message::encode(field::DELETE_RANGE, request, &mut data);
            }
            Self::Txn(request) => message::encode(field::TXN, request, &mut data),
            Self::Compaction(request) => message::encode(field::COMPACTION, request, &mut data),
            Self::Alarm(request) => message::encode(field::ALARM, request, &mut data),
            Self::V2(request) => message::encode(field::V2, &**request, &mut data),
            Self::Lease(request) => request.encode_before_header(&mut data),
            Self::Auth(_)
            | Self::ClusterVersionSet(_)
            | Self::ClusterMemberAttrSet(_)
            | Self::DowngradeInfoSet(_) => {}
        }
        message::encode(field::HEADER, &header, &mut data);
        match self {
            Self::Lease(request) => request.encode_after_header(&mut data),
            Self::Auth(request) => request.encode(&mut data),
            Self::ClusterVersionSet(request) => {
                message::encode(field::CLUSTER_VERSION_SET, request, &mut data);
            }
            Self::ClusterMemberAttrSet(request) => {
                message::encode(field::CLUSTER_MEMBER_ATTR_SET, request, &mut data);
            }
            Self::DowngradeInfoSet(request) => {
                message::encode(field::DOWNGRADE_INFO_SET, request, &mut data);
            }
            _ => {}
        }
        data.freeze()
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Put(request) => message::encoded_len(field::PUT, request),
            Self::DeleteRange(request) => message::encoded_len(field::DELETE_RANGE, request),
            Self::Txn(request) => message::encoded_len(field::TXN, request),
            Self::Compaction(request) => message::encoded_len(field::COMPACTION, request),
            Self::Alarm(request) => message::encoded_len(field::ALARM, request),
            Self::V2(request) => message::encoded_len(field::V2, &**request),
            Self::Lease(request) => request.encoded_len(),
            Self::Auth(request) => request.encoded_len(),
            Self::ClusterVersionSet(request) => {
                message::encoded_len(field::CLUSTER_VERSION_SET, request)
            }
            Self::ClusterMemberAttrSet(request) => {
                message::encoded_len(field::CLUSTER_MEMBER_ATTR_SET, request)
            }
            Self::DowngradeInfoSet(request) => {
                message::encoded_len(field::DOWNGRADE_INFO_SET, request)
            }
        }
    }
}

impl LogEntry {
    /// Reads an entry's data. Of a kind that this version does not know there is no request.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for bytes that are no message.
    pub fn decode(mut data: Bytes) -> Result<Self, DecodeError> {
        let mut entry = Self::default();
        while data.has_remaining() {
            let (tag, wire_type) = decode_key(&mut data)?;
            let data = &mut data;
            entry.request = Some(match tag {
                field::PUT => LogRequest::Put(read(wire_type, data)?),
                field::V2 => LogRequest::V2(Box::new(read(wire_type, data)?)),
                field::DELETE_RANGE => LogRequest::DeleteRange(read(wire_type, data)?),
                field::TXN => LogRequest::Txn(read(wire_type, data)?),
                field::COMPACTION => LogRequest::Compaction(read(wire_type, data)?),
                field::ALARM => LogRequest::Alarm(read(wire_type, data)?),
                field::CLUSTER_VERSION_SET => LogRequest::ClusterVersionSet(read(wire_type, data)?),
                field::CLUSTER_MEMBER_ATTR_SET => {
                    LogRequest::ClusterMemberAttrSet(read(wire_type, data)?)
                }
                field::DOWNGRADE_INFO_SET => LogRequest::DowngradeInfoSet(read(wire_type, data)?),
                field::HEADER => {
                    let header: RequestHeader = read(wire_type, data)?;
                    entry.id = RequestId::from_wire(header.id);
                    entry.auth_info = AuthInfo::from_wire(&header.username, header.auth_revision);
                    continue;
                }
                _ => match other(tag, wire_type, data)? {
                    Some(request) => request,
                    None => {
                        skip_field(wire_type, tag, data, DecodeContext::default())?;
                        continue;
                    }
                },
            });
        }
        Ok(entry)
    }
}

/// Reads a field that is a request about leases or users.
fn other(
    tag: u32,
    wire_type: WireType,
    data: &mut Bytes,
) -> Result<Option<LogRequest>, DecodeError> {
    if let Some(request) = LeaseRequest::decode(tag, wire_type, data)? {
        return Ok(Some(LogRequest::Lease(request)));
    }
    let request = AuthRequest::decode(tag, wire_type, data)?;
    Ok(request.map(LogRequest::Auth))
}

/// Reads a request as the API read it: messages in it may be nested as deep as there. As part of the
/// entry they could be one less, and a transaction that a client was allowed would stop every member.
fn read<M: Message + Default>(wire_type: WireType, data: &mut Bytes) -> Result<M, DecodeError> {
    check_wire_type(WireType::LengthDelimited, wire_type)?;
    let length = usize::try_from(decode_varint(data)?).ok();
    let length = length.filter(|length| *length <= data.len());
    M::decode(data.split_to(length.ok_or_else(torn)?))
}

#[expect(deprecated, reason = "prost has no other way to make one")]
fn torn() -> DecodeError {
    DecodeError::new("a request that ends too early")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_proto::etcdserverpb::{InternalRaftRequest, RequestOp, request_op};
    use cairn_proto::membershippb::Attributes;

    fn id() -> RequestId {
        RequestId::from_wire(77).unwrap()
    }

    fn auth_info() -> AuthInfo {
        AuthInfo::from_wire("u", 5).unwrap()
    }

    fn wire() -> InternalRaftRequest {
        let header = Some(RequestHeader {
            id: 77,
            username: "u".to_owned(),
            auth_revision: 5,
        });
        InternalRaftRequest {
            header,
            ..Default::default()
        }
    }

    fn one_of_each() -> Vec<(LogRequest, InternalRaftRequest)> {
        let mut all = requests_of_clients();
        all.extend(requests_of_members());
        all
    }

    fn requests_of_clients() -> Vec<(LogRequest, InternalRaftRequest)> {
        let wire = wire();
        let put = PutRequest {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
            lease: 7,
            ..Default::default()
        };
        let delete = DeleteRangeRequest {
            key: put.key.clone(),
            ..Default::default()
        };
        let compaction = CompactionRequest {
            revision: 9,
            physical: true,
        };
        let alarm = AlarmRequest {
            action: 1,
            member_id: 2,
            alarm: 1,
        };
        let txn = TxnRequest::default();
        vec![
            (
                LogRequest::Put(put.clone()),
                InternalRaftRequest {
                    put: Some(put),
                    ..wire.clone()
                },
            ),
            (
                LogRequest::DeleteRange(delete.clone()),
                InternalRaftRequest {
                    delete_range: Some(delete),
                    ..wire.clone()
                },
            ),
            (
                LogRequest::Txn(txn.clone()),
                InternalRaftRequest {
                    txn: Some(txn),
                    ..wire.clone()
                },
            ),
            (
                LogRequest::Compaction(compaction),
                InternalRaftRequest {
                    compaction: Some(compaction),
                    ..wire.clone()
                },
            ),
            (
                LogRequest::Alarm(alarm),
                InternalRaftRequest {
                    alarm: Some(alarm),
                    ..wire
                },
            ),
        ]
    }

    fn requests_of_members() -> Vec<(LogRequest, InternalRaftRequest)> {
        let wire = wire();
        let version = ClusterVersionSetRequest {
            ver: "3.7.0".to_owned(),
        };
        let attributes = ClusterMemberAttrSetRequest {
            member_id: 3,
            member_attributes: Some(Attributes {
                name: "a".to_owned(),
                client_urls: vec![],
            }),
        };
        let downgrade = DowngradeInfoSetRequest {
            enabled: true,
            ver: "3.6.0".to_owned(),
        };
        vec![
            (
                LogRequest::ClusterVersionSet(version.clone()),
                InternalRaftRequest {
                    cluster_version_set: Some(version),
                    ..wire.clone()
                },
            ),
            (
                LogRequest::ClusterMemberAttrSet(attributes.clone()),
                InternalRaftRequest {
                    cluster_member_attr_set: Some(attributes),
                    ..wire.clone()
                },
            ),
            (
                LogRequest::DowngradeInfoSet(downgrade.clone()),
                InternalRaftRequest {
                    downgrade_info_set: Some(downgrade),
                    ..wire
                },
            ),
        ]
    }

    #[test]
    fn every_kind_has_the_bytes_of_etcds_message() {
        for (request, wire) in one_of_each() {
            assert_eq!(
                request.encode(id(), Some(&auth_info())),
                wire.encode_to_vec(),
                "{request:?}"
            );
        }
    }

    #[test]
    fn the_second_apis_requests_are_etcd_3_4s_field() {
        let request = cairn_v2::Request {
            method: "PUT".to_owned(),
            path: Bytes::from_static(b"/1/a"),
            ..Default::default()
        };
        let request = LogRequest::V2(Box::new(request));
        let data = request.encode(id(), None);
        let header = wire_header();
        assert_eq!(
            data,
            [b"\x12\x0b\x12\x03PUT\x1a\x04/1/a".as_slice(), &header].concat()
        );
        let entry = LogEntry::decode(data.clone()).unwrap();
        assert_eq!(entry.request, Some(request));
        assert!(LogEntry::decode(data.slice(..data.len() - 1)).is_err());
    }

    fn wire_header() -> Vec<u8> {
        let header = Some(RequestHeader {
            id: 77,
            ..Default::default()
        });
        InternalRaftRequest {
            header,
            ..Default::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn every_kind_comes_back_as_it_went_in() {
        for (request, _) in one_of_each() {
            let expected = LogEntry {
                id: Some(id()),
                auth_info: Some(auth_info()),
                request: Some(request.clone()),
            };
            let data = request.encode(id(), Some(&auth_info()));
            assert_eq!(LogEntry::decode(data).unwrap(), expected);
        }
    }

    /// What the API lets through, the log must give back.
    #[test]
    fn the_deepest_transaction_that_can_be_read_comes_back_too() {
        let nested = |depth: usize| {
            (0..depth).fold(TxnRequest::default(), |inner, _| TxnRequest {
                success: vec![RequestOp {
                    request: Some(request_op::Request::RequestTxn(inner)),
                }],
                ..TxnRequest::default()
            })
        };
        let is_readable =
            |depth: &usize| TxnRequest::decode(nested(*depth).encode_to_vec().as_slice()).is_ok();
        let deepest = (0..200).take_while(is_readable).last().unwrap();
        assert!(deepest > 40, "{deepest}");
        let request = LogRequest::Txn(nested(deepest));
        let entry = LogEntry::decode(request.encode(id(), None)).unwrap();
        assert_eq!(entry.request, Some(request));
    }

    #[test]
    fn unknown_kinds_are_nothing_and_torn_bytes_are_an_error() {
        let checkpoint = cairn_proto::etcdserverpb::LeaseCheckpointRequest::default();
        let wire = InternalRaftRequest {
            lease_checkpoint: Some(checkpoint),
            ..Default::default()
        };
        assert_eq!(
            LogEntry::decode(wire.encode_to_vec().into()).unwrap(),
            LogEntry::default()
        );
        for (request, _) in one_of_each() {
            let data = request.encode(id(), None);
            assert!(
                LogEntry::decode(data.slice(..data.len() - 1)).is_err(),
                "{request:?}"
            );
        }
    }
}
