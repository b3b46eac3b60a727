//! Generates the wire types from `proto/`, without `protoc`.
//!
//! Two passes over one descriptor set. The first makes plain structs and clients. The second
//! makes servers, and once more those messages in which a key-value or an event occurs, with the
//! encoded bytes in its place (see the crate's module `stored`); all other types it borrows from
//! the first.

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

const PROTO_ROOT: &str = "proto";

const PROTOS: [&str; 17] = [
    "authpb/auth.proto",
    "cairnpb/peer.proto",
    "etcdserverpb/auth.proto",
    "etcdserverpb/cluster.proto",
    "etcdserverpb/header.proto",
    "etcdserverpb/kv.proto",
    "etcdserverpb/lease.proto",
    "etcdserverpb/maintenance.proto",
    "etcdserverpb/metadata.proto",
    "etcdserverpb/raft_internal.proto",
    "etcdserverpb/watch.proto",
    "leasepb/lease.proto",
    "membershippb/membership.proto",
    "mvccpb/kv.proto",
    "raftpb/raft.proto",
    "v3electionpb/v3election.proto",
    "v3lockpb/v3lock.proto",
];

const HEALTH_PROTO: &str = "grpc/health/v1/health.proto";

/// Messages written by hand for the second pass, and their Rust types there.
const HAND_WRITTEN: [(&str, &str); 3] = [
    (".mvccpb.KeyValue", "crate::stored::EncodedKeyValue"),
    (".mvccpb.Event", "crate::stored::EncodedEvent"),
    (
        ".etcdserverpb.RangeResponse",
        "crate::stored::RangeResponse",
    ),
];

/// Field names that would become `peer_ur_ls` and the like, and the Rust names they get instead.
const FIELD_NAMES: [(&str, &str); 2] = [("peerURLs", "peer_urls"), ("clientURLs", "client_urls")];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO_ROOT}");
    let mut descriptors = protox::compile(PROTOS.iter().chain([&HEALTH_PROTO]), [PROTO_ROOT])?;
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    for file in &mut descriptors.file {
        file.message_type.iter_mut().for_each(rename_fields);
    }
    generate_plain(&out_dir.join("plain"), descriptors.clone())?;
    generate_stored(&out_dir.join("stored"), descriptors)
}

fn rename_fields(message: &mut DescriptorProto) {
    for field in &mut message.field {
        if let Some((_, rust)) = FIELD_NAMES.iter().find(|(name, _)| *name == field.name()) {
            field.name = Some((*rust).to_owned());
        }
    }
}

fn generate_plain(dir: &Path, descriptors: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(dir)?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .out_dir(dir)
        .bytes(".")
        .build_server(false)
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

fn generate_stored(dir: &Path, descriptors: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(dir)?;
    let twice = messages_with_stored_parts(&descriptors);
    let mut builder = tonic_prost_build::configure()
        .out_dir(dir)
        .bytes(".")
        .build_client(false)
        .codec_path("crate::codec::ReservingCodec");
    for (name, rust) in HAND_WRITTEN {
        builder = builder.extern_path(name, rust);
    }
    for file in &descriptors.file {
        let module = rust_module(file.package());
        let messages = file.message_type.iter().map(DescriptorProto::name);
        let enums = file.enum_type.iter().map(EnumDescriptorProto::name);
        for name in messages.chain(enums) {
            let full = format!(".{}.{name}", file.package());
            let by_hand = HAND_WRITTEN.iter().any(|(written, _)| *written == full);
            if !by_hand && !twice.contains(&full) {
                builder =
                    builder.extern_path(full, format!("crate::{module}::{}", rust_type(name)));
            }
        }
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}

/// Full names of the top-level messages that reach a hand-written one through their fields.
fn messages_with_stored_parts(descriptors: &FileDescriptorSet) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = HAND_WRITTEN
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    loop {
        let before = found.len();
        for file in &descriptors.file {
            for message in &file.message_type {
                if message
                    .field
                    .iter()
                    .any(|field| found.contains(field.type_name()))
                {
                    found.insert(format!(".{}.{}", file.package(), message.name()));
                }
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// The crate's module for a protobuf package.
fn rust_module(package: &str) -> &str {
    if package == "grpc.health.v1" {
        "health"
    } else {
        package
    }
}

/// The name that prost gives to a type; of etcd's only `HashKV…` differ.
fn rust_type(message: &str) -> String {
    message.replace("HashKV", "HashKv")
}
