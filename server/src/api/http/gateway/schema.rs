//! The methods as the `.proto` files describe them, and their messages as JSON.
//!
//! The mapping is proto3's own, as etcd's gateway speaks it: names as in the `.proto` files out, those
//! and camelCase in; 64-bit numbers as strings out, either way in; bytes in base64, standard or for URLs,
//! padded or not; what is zero or empty left out, what is unknown passed over.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use prost::Message;
use prost_reflect::{
    DescriptorError, DescriptorPool, DeserializeOptions, DynamicMessage, Kind, MessageDescriptor,
    MethodDescriptor, SerializeOptions,
};
use serde_json::Value;
use serde_json::error::Category;
use tonic::{Code, Status};

use super::request::WATCH;
use super::routes::ROUTES;
use super::shared_json::{MessageJson, SharedJson};
use crate::api::grpc::PREFIX_BYTES;

/// Why there is no gateway: the descriptors do not fit the routes, which a build decides once for all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    /// They cannot be read.
    #[error("the API's descriptors: {0}")]
    Descriptors(#[from] DescriptorError),
    /// A route leads to a method that they do not have.
    #[error("no method {0} in the API's descriptors")]
    NoMethod(&'static str),
}

/// A method, as it is called over HTTP.
#[derive(Clone, Debug)]
pub(super) struct Method {
    /// Its path in gRPC.
    pub(super) grpc_path: &'static str,
    pub(super) shape: Shape,
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
    /// Of a method that tells many clients the same.
    shared_json: Option<Arc<SharedJson>>,
}

/// How many messages go which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One each.
    Unary,
    /// One in, many out.
    Answers,
    /// Many each.
    Both,
}

/// How bytes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Show {
    /// In base64, all of them.
    Base64,
    /// As text where they are UTF-8; the others as an object with the one field `base64`.
    Text,
}

/// The methods by their paths below `/v3/`.
pub(super) fn methods() -> Result<HashMap<&'static str, Method>, SchemaError> {
    let pool = DescriptorPool::decode(cairn_proto::DESCRIPTORS)?;
    let by_path: HashMap<String, MethodDescriptor> = pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| {
            let service = method.parent_service().full_name().to_owned();
            (format!("/{service}/{}", method.name()), method)
        })
        .collect();
    let methods = ROUTES.iter().map(|(path, grpc_path)| {
        let method = by_path.get(*grpc_path);
        let method = method.ok_or(SchemaError::NoMethod(grpc_path))?;
        Ok((*path, Method::new(grpc_path, method)))
    });
    methods.collect()
}

impl Method {
    fn new(grpc_path: &'static str, method: &MethodDescriptor) -> Self {
        let shape = match (method.is_client_streaming(), method.is_server_streaming()) {
            (false, false) => Shape::Unary,
            (false, true) => Shape::Answers,
            (true, _) => Shape::Both,
        };
        Self {
            grpc_path,
            shape,
            input: method.input(),
            output: method.output(),
            shared_json: (grpc_path == WATCH).then(Arc::default),
        }
    }

    /// A request as a frame of gRPC's. What follows the first JSON value is not looked at; nothing at
    /// all is an empty message.
    ///
    /// # Errors
    ///
    /// What is wrong with the JSON, and where.
    pub(super) fn request(&self, json: &[u8]) -> Result<Bytes, Status> {
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let message = if json.trim_ascii().is_empty() {
            DynamicMessage::new(self.input.clone())
        } else {
            let mut json = serde_json::Deserializer::from_slice(json);
            DynamicMessage::deserialize_with_options(self.input.clone(), &mut json, &options)
                .map_err(|error| bad_json(&error))?
        };
        frame(&message)
    }

    /// A message of a stream as JSON.
    ///
    /// # Errors
    ///
    /// As [`Self::answer`].
    pub(super) fn message(&self, message: Bytes, show: Show) -> Result<MessageJson, Status> {
        let write = |message| Ok(MessageJson::new(&self.answer(message, show)?));
        match &self.shared_json {
            Some(shared) => shared.of(message, show, write),
            None => write(message),
        }
    }

    /// An answer as JSON.
    ///
    /// # Errors
    ///
    /// Only for a message of ours that is none.
    pub(super) fn answer(&self, message: Bytes, show: Show) -> Result<Vec<u8>, Status> {
        let internal = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
        let message = DynamicMessage::decode(self.output.clone(), message)
            .map_err(|error| internal(&error))?;
        let mut out = Vec::with_capacity(message.encoded_len() * 2);
        let options = SerializeOptions::new()
            .use_proto_field_name(true)
            .skip_default_fields(true);
        match show {
            Show::Base64 => {
                let mut json = serde_json::Serializer::new(&mut out);
                message.serialize_with_options(&mut json, &options)
            }
            Show::Text => message
                .serialize_with_options(serde_json::value::Serializer, &options)
                .and_then(|mut value| {
                    show_as_text(&self.output, &mut value);
                    serde_json::to_writer(&mut out, &value)
                }),
        }
        .map_err(|error| internal(&error))?;
        Ok(out)
    }
}

/// A message with gRPC's prefix.
fn frame(message: &DynamicMessage) -> Result<Bytes, Status> {
    let len = message.encoded_len();
    let Ok(prefix) = u32::try_from(len) else {
        return Err(Status::resource_exhausted("the request is over 4 GiB"));
    };
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + len);
    frame.extend_from_slice(&[0]);
    frame.extend_from_slice(&prefix.to_be_bytes());
    message
        .encode(&mut frame)
        .map_err(|error| Status::internal(error.to_string()))?;
    Ok(frame.freeze())
}

/// Turns the base64 of a message's bytes into text.
fn show_as_text(message: &MessageDescriptor, value: &mut Value) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        if let Some(field) = message.get_field_by_name(name) {
            match value {
                Value::Array(elements) => elements
                    .iter_mut()
                    .for_each(|element| show_value_as_text(&field.kind(), element)),
                one => show_value_as_text(&field.kind(), one),
            }
        }
    }
}

fn show_value_as_text(kind: &Kind, value: &mut Value) {
    if let Kind::Message(message) = kind {
        show_as_text(message, value);
    } else if let (Kind::Bytes, Value::String(base64)) = (kind, &*value) {
        let text = STANDARD.decode(base64).ok();
        *value = match text.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(text) => Value::String(text),
            None => serde_json::json!({ "base64": base64 }),
        };
    }
}

/// What is wrong with a client's JSON, and where.
fn bad_json(error: &serde_json::Error) -> Status {
    let text = error.to_string();
    let (what, _) = text.rsplit_once(" at line ").unwrap_or((&text, ""));
    let (line, column) = (error.line(), error.column());
    let text = match error.classify() {
        Category::Eof => "unexpected EOF".to_owned(),
        Category::Syntax => format!("proto: syntax error (line {line}:{column}): {what}"),
        Category::Data | Category::Io => format!("proto: (line {line}:{column}): {what}"),
    };
    Status::new(Code::InvalidArgument, text)
}
