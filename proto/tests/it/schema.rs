//! Compares our `.proto` files with etcd's interface, name by name and number by number.

use std::collections::BTreeSet;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    MessageOptions, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

const ETCD: &str = include_str!("fixtures/schema.txt");

#[test]
fn names_and_numbers_are_etcds() {
    let etcd: BTreeSet<String> = ETCD
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let ours = our_interface();
    let missing: Vec<_> = etcd.difference(&ours).collect();
    let extra: Vec<_> = ours.difference(&etcd).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "missing: {missing:#?}\nextra: {extra:#?}"
    );
}

fn our_interface() -> BTreeSet<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let mut files = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(root)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let found = if path.is_dir() {
                &mut folders
            } else {
                &mut files
            };
            found.push(path);
        }
    }
    let mut lines = BTreeSet::new();
    for file in protox::compile(files, [root]).unwrap().file {
        let package = file.package().to_owned();
        // What members of ours say to each other is no part of etcd's interface.
        if package == "cairnpb" {
            continue;
        }
        for message in &file.message_type {
            add_message(&mut lines, &file, &package, message);
        }
        file.enum_type
            .iter()
            .for_each(|item| add_enum(&mut lines, &package, item));
        file.service
            .iter()
            .for_each(|item| add_service(&mut lines, &package, item));
    }
    lines
}

fn add_message(
    lines: &mut BTreeSet<String>,
    file: &FileDescriptorProto,
    scope: &str,
    message: &DescriptorProto,
) {
    if message
        .options
        .as_ref()
        .is_some_and(MessageOptions::map_entry)
    {
        return;
    }
    let name = format!("{scope}.{}", message.name());
    lines.insert(format!("message {name}"));
    for field in &message.field {
        lines.insert(format!("field {name}.{}", field_line(file, message, field)));
    }
    message
        .enum_type
        .iter()
        .for_each(|item| add_enum(lines, &name, item));
    message
        .nested_type
        .iter()
        .for_each(|item| add_message(lines, file, &name, item));
}

fn field_line(
    file: &FileDescriptorProto,
    message: &DescriptorProto,
    field: &FieldDescriptorProto,
) -> String {
    let proto3 = file.syntax() == "proto3";
    let repeated = field.label() == Label::Repeated;
    let is_map = message.nested_type.iter().any(|nested| {
        nested
            .options
            .as_ref()
            .is_some_and(MessageOptions::map_entry)
            && field
                .type_name()
                .ends_with(&format!(".{}.{}", message.name(), nested.name()))
    });
    let kind = match field.r#type() {
        _ if is_map => "map".to_owned(),
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        scalar => scalar
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    };
    let label = if repeated { "repeated" } else { "optional" };
    let mut line = format!("{} {} {label} {kind}", field.name(), field.number());
    let scalar = !matches!(field.r#type(), Type::Message | Type::Bytes | Type::String);
    if proto3 && repeated && scalar {
        line.push_str(" packed");
    }
    let in_oneof = field
        .oneof_index
        .map(|index| &message.oneof_decl[usize::try_from(index).unwrap()]);
    if !repeated && (!proto3 || field.r#type() == Type::Message || in_oneof.is_some()) {
        line.push_str(" presence");
    }
    if let Some(oneof) = in_oneof {
        line.push_str(&format!(" oneof={}", oneof.name()));
    }
    line
}

fn add_enum(lines: &mut BTreeSet<String>, scope: &str, item: &EnumDescriptorProto) {
    for value in &item.value {
        lines.insert(format!(
            "value {scope}.{}.{} {}",
            item.name(),
            value.name(),
            value.number()
        ));
    }
}

fn add_service(lines: &mut BTreeSet<String>, package: &str, service: &ServiceDescriptorProto) {
    for method in &service.method {
        let stream = |yes| if yes { "stream:" } else { "" };
        lines.insert(format!(
            "rpc {package}.{}.{} {}{} {}{}",
            service.name(),
            method.name(),
            stream(method.client_streaming()),
            method.input_type().trim_start_matches('.'),
            stream(method.server_streaming()),
            method.output_type().trim_start_matches('.'),
        ));
    }
}
