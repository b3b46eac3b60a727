//! Wire types of etcd's API and of the replicated log.
//!
//! Packages, messages, fields and numbers are etcd 3.7's, generated at build time from the files
//! under `proto/` with prost and tonic, `bytes` fields as [`bytes::Bytes`]. There is a module per
//! package: plain structs, and tonic clients where the package has services.
//!
//! | module | package | what |
//! |---|---|---|
//! | [`etcdserverpb`] | `etcdserverpb` | KV, Watch, Lease, Cluster, Maintenance, Auth; the log's `InternalRaftRequest` |
//! | [`mvccpb`] | `mvccpb` | `KeyValue`, also as stored, and `Event` |
//! | [`authpb`], [`leasepb`], [`membershippb`] | same | rows of the stores of users, leases and members |
//! | [`raftpb`] | `raftpb` | what consensus writes and sends |
//! | [`v3lockpb`], [`v3electionpb`] | same | locks and elections by name |
//! | [`health`] | `grpc.health.v1` | gRPC's health check |
//!
//! The servers are in [`stored`]. Their responses hold a key-value as the bytes that the store
//! holds, so that an answer is spliced together and not decoded and encoded again; a client never
//! sees the difference. Messages without a key-value inside are the plain ones in both worlds.
//!
//! Here is no behaviour: limits, defaults and errors of the API are the server's.

#![forbid(unsafe_code)]

/// Declares a module of generated code.
macro_rules! generated {
    ($(#[$attributes:meta])* $visibility:vis $module:ident = $file:literal) => {
        $(#[$attributes])*
        #[allow(
            missing_docs,
            unused_qualifications,
            clippy::all,
            clippy::allow_attributes,
            clippy::allow_attributes_without_reason,
            clippy::missing_errors_doc,
            clippy::use_self,
            reason = "generated; what the .proto files leave unsaid needs no saying"
        )]
        $visibility mod $module {
            include!(concat!(env!("OUT_DIR"), $file));
        }
    };
}

generated!(
    /// Users, roles and permissions as stored.
    pub authpb = "/plain/authpb.rs"
);
generated!(
    /// What members of one cluster say to each other beside raft's messages.
    pub cairnpb = "/plain/cairnpb.rs"
);
generated!(
    /// etcd's main API, and the union of requests that the replicated log carries.
    pub etcdserverpb = "/plain/etcdserverpb.rs"
);
generated!(
    /// gRPC's health check.
    pub health = "/plain/grpc.health.v1.rs"
);
generated!(
    /// Leases as stored, and what members ask each other about them.
    pub leasepb = "/plain/leasepb.rs"
);
generated!(
    /// Members as the log carries them.
    pub membershippb = "/plain/membershippb.rs"
);
generated!(
    /// Versions of keys and their changes.
    pub mvccpb = "/plain/mvccpb.rs"
);
generated!(
    /// Messages of consensus. Its fields have presence (`Option`), as etcd's: their getters
    /// answer for those that are absent.
    pub raftpb = "/plain/raftpb.rs"
);
generated!(
    /// Elections by name.
    pub v3electionpb = "/plain/v3electionpb.rs"
);
generated!(
    /// Locks by name.
    pub v3lockpb = "/plain/v3lockpb.rs"
);

/// The `.proto` files as a descriptor set, with every name as it is there: for who handles messages
/// without knowing their types.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod codec;
pub mod lenient;
pub mod stored;
