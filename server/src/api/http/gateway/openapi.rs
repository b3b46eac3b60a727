//! What the gateway offers, as a document for tools: OpenAPI 3, made of the routes and the `.proto` files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::schema::{Method, Shape};
use crate::settings::ETCD_VERSION;

/// The document.
pub(super) fn document(methods: &HashMap<&'static str, Method>) -> String {
    let mut schemas = Schemas::default();
    let inputs: HashMap<&str, Value> = methods
        .iter()
        .map(|(path, method)| (*path, schemas.message(&method.input)))
        .collect();
    schemas.now_of_answers();
    let mut paths: BTreeMap<String, Value> = BTreeMap::new();
    for (path, method) in methods {
        let operation = operation(path, method, inputs.get(path), &mut schemas);
        paths.insert(format!("/v3/{path}"), json!({ "post": operation }));
    }
    if let Some(watch) = paths.get_mut("/v3/watch") {
        watch["get"] = events();
    }
    let mut schemas = schemas.described;
    schemas.insert("Error".to_owned(), error());
    schemas.insert(BYTES.to_owned(), shown_bytes());
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "etcd's v3 API as JSON",
            "version": ETCD_VERSION,
            "description": "Requests may name fields in camelCase, write 64-bit numbers as numbers, \
                            enums as numbers, and bytes in any base64.",
        },
        "paths": paths,
        "security": [{}, { "token": [] }],
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "From /v3/auth/authenticate." },
            },
        },
    })
    .to_string()
}

/// The schema of bytes in answers.
const BYTES: &str = "Bytes";

fn operation(path: &str, method: &Method, input: Option<&Value>, schemas: &mut Schemas) -> Value {
    let service = method.grpc_path.rsplit_once('/').map_or("", |(it, _)| it);
    let tag = service.rsplit_once('.').map_or(service, |(_, it)| it);
    let output = schemas.message(&method.output);
    let (description, output, refused) = match method.shape {
        Shape::Unary => ("The answer.", output, refused(&reference("Error"))),
        Shape::Answers | Shape::Both => (
            "One JSON object a line; the last may be an error.",
            json!({ "type": "object", "properties": { "result": output, "error": reference("Error") } }),
            refused(&refused_stream()),
        ),
    };
    json!({
        "operationId": path.replace(['/', '-'], "_"),
        "tags": [tag],
        "description": format!("gRPC: {}", method.grpc_path),
        "parameters": [text()],
        "requestBody": { "content": { "application/json": { "schema": input } } },
        "responses": {
            "200": {
                "description": description,
                "content": { "application/json": { "schema": output } },
            },
            "default": refused,
        },
    })
}

/// The watch of a browser's `EventSource`.
fn events() -> Value {
    let parameter =
        |name: &str, schema: Value| json!({ "name": name, "in": "query", "schema": schema });
    json!({
        "operationId": "watch_events",
        "tags": ["Watch"],
        "description": "One watch as server-sent events, for requests that accept text/event-stream.",
        "parameters": [
            { "name": "key", "in": "query", "required": true, "schema": { "type": "string", "format": "byte" } },
            parameter("range_end", json!({ "type": "string", "format": "byte" })),
            parameter("start_revision", json!({ "type": "string", "format": "int64" })),
            parameter("progress_notify", json!({ "type": "boolean" })),
            parameter("prev_kv", json!({ "type": "boolean" })),
            parameter("filters", json!({ "type": "string", "description": "NOPUT, NODELETE or both." })),
            text(),
            {
                "name": "Last-Event-ID", "in": "header", "schema": { "type": "string" },
                "description": "The revision after which to go on.",
            },
        ],
        "responses": {
            "200": { "description": "Events.", "content": { "text/event-stream": { "schema": { "type": "string" } } } },
            "default": refused(&reference("Error")),
        },
    })
}

fn text() -> Value {
    json!({
        "name": "text", "in": "query", "schema": { "type": "string", "enum": ["0", "1"] },
        "description": "1 shows bytes that are UTF-8 as text, and others as an object with base64.",
    })
}

fn refused(schema: &Value) -> Value {
    json!({
        "description": "A refusal.",
        "content": { "application/json": { "schema": schema } },
    })
}

/// A stream says what went wrong in its first and last line, unless it was never one.
fn refused_stream() -> Value {
    let line = json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": reference("Error") },
    });
    json!({ "anyOf": [line, reference("Error")] })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": { "type": "integer", "description": "gRPC's code." },
            "message": { "type": "string" },
        },
    })
}

/// Bytes as an answer may show them: in base64, or with text=1 as text where they are.
fn shown_bytes() -> Value {
    json!({
        "anyOf": [
            { "type": "string" },
            {
                "type": "object",
                "required": ["base64"],
                "properties": { "base64": { "type": "string", "format": "byte" } },
            },
        ],
        "description": "In base64; with text=1 as text, and as an object where it is not UTF-8.",
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The messages and enums that were met: first those of requests, then those of answers.
#[derive(Default)]
struct Schemas {
    described: Map<String, Value>,
    /// What requests may have, once all of them are described.
    asked: Option<BTreeSet<String>>,
}

impl Schemas {
    /// All requests are described.
    fn now_of_answers(&mut self) {
        self.asked = Some(self.described.keys().cloned().collect());
    }

    /// What a message is called: one of requests that answers have too shows its bytes otherwise there.
    fn name(&self, message: &MessageDescriptor) -> String {
        let name = message.full_name();
        match &self.asked {
            Some(asked) if asked.contains(name) => format!("{name}.Answer"),
            Some(_) | None => name.to_owned(),
        }
    }

    /// A reference to a message, which is described with all that it reaches.
    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let name = self.name(message);
        if !self.described.contains_key(&name) {
            // Before its fields, which may come back to it.
            self.described.insert(name.clone(), Value::Null);
            let fields: Map<String, Value> = message
                .fields()
                .map(|field| (field.name().to_owned(), self.field(&field)))
                .collect();
            let described = json!({ "type": "object", "properties": fields });
            self.described.insert(name.clone(), described);
        }
        reference(&name)
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let one = match field.kind() {
            Kind::Message(message) => self.message(&message),
            Kind::Enum(kind) => self.enumeration(&kind),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes if self.asked.is_some() => reference(BYTES),
            Kind::Bytes => json!({ "type": "string", "format": "byte" }),
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({ "type": "integer", "format": "int32" })
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX })
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": "string", "format": "int64" })
            }
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "format": "uint64" }),
        };
        if field.is_list() {
            json!({ "type": "array", "items": one })
        } else {
            one
        }
    }

    fn enumeration(&mut self, kind: &EnumDescriptor) -> Value {
        let names: Vec<String> = kind.values().map(|value| value.name().to_owned()).collect();
        let described = json!({ "type": "string", "enum": names });
        self.described
            .insert(kind.full_name().to_owned(), described);
        reference(kind.full_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::http::gateway::{routes::ROUTES, schema};

    fn parsed() -> Value {
        serde_json::from_str(&document(&schema::methods().unwrap())).unwrap()
    }

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(to)) = fields.get("$ref") {
                    found.insert(to.clone());
                }
                fields.values().for_each(|it| references(it, found));
            }
            Value::Array(elements) => elements.iter().for_each(|it| references(it, found)),
            _ => {}
        }
    }

    #[test]
    fn every_route_is_described_once_and_every_reference_leads_somewhere() {
        let document = parsed();
        let mut ids = BTreeSet::new();
        for (path, _) in ROUTES {
            let post = &document["paths"][format!("/v3/{path}")]["post"];
            assert!(
                ids.insert(post["operationId"].as_str().unwrap().to_owned()),
                "{path}"
            );
            assert!(post["responses"]["200"]["description"].is_string());
        }
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 80);
        for to in found {
            let name = to.strip_prefix("#/components/schemas/").unwrap();
            let schema = &document["components"]["schemas"][name];
            assert!(
                schema["type"].is_string() || schema["anyOf"].is_array(),
                "{to}"
            );
        }
    }

    #[test]
    fn fields_are_described_as_they_are_written() {
        let schemas = &parsed()["components"]["schemas"];
        let grant = &schemas["etcdserverpb.LeaseGrantRequest"]["properties"];
        assert_eq!(grant["TTL"], json!({"type": "string", "format": "int64"}));
        let member = &schemas["etcdserverpb.Member"]["properties"]["peerURLs"];
        assert_eq!(
            *member,
            json!({"type": "array", "items": {"type": "string"}})
        );
        let bytes = &schemas["mvccpb.KeyValue"]["properties"]["key"];
        assert_eq!(*bytes, json!({"$ref": "#/components/schemas/Bytes"}));
        // Permissions are in requests and in answers.
        for (message, bytes) in [
            (
                "authpb.Permission",
                json!({"type": "string", "format": "byte"}),
            ),
            ("authpb.Permission.Answer", bytes.clone()),
        ] {
            assert_eq!(schemas[message]["properties"]["key"], bytes, "{message}");
        }
        let kind = &schemas["mvccpb.Event"]["properties"]["type"]["$ref"];
        assert_eq!(kind, "#/components/schemas/mvccpb.Event.EventType");
        assert_eq!(
            schemas["mvccpb.Event.EventType"]["enum"],
            json!(["PUT", "DELETE"])
        );
    }
}
