//! Users, roles and permissions.

use cairn_proto::authpb::Permission;
use cairn_proto::authpb::permission::Type;
use cairn_proto::etcdserverpb::{
    AuthRoleGetResponse, AuthRoleListResponse, AuthStatusResponse, AuthUserGetResponse,
    AuthUserListResponse,
};
use prost::Message as _;

use super::header::with_header;
use super::{Show, Style, Text};
use crate::golang::{Json, Object, quote};
use crate::key_range::{OPEN_END, prefix_end};

/// The role that may do everything without a permission.
const ROOT: &str = "root";

pub(crate) struct RoleShown<'a> {
    pub(crate) role: &'a str,
    pub(crate) response: AuthRoleGetResponse,
}

fn permission_line(permission: &Permission, text: &mut Text) {
    let (key, end) = (&permission.key, &permission.range_end);
    text.push(b"\t");
    if end.is_empty() {
        text.push(key);
        return text.line("");
    }
    text.push(b"[");
    text.push(key);
    text.push(b", ");
    if **end == OPEN_END {
        text.push(b"<open ended>");
    } else {
        text.push(end);
        text.push(b")");
    }
    if !key.is_empty() && prefix_end(key) == **end {
        text.push(b" (prefix ");
        text.push(key);
        text.push(b")");
    }
    text.line("");
}

impl Show for RoleShown<'_> {
    fn simple(&self, _style: Style, text: &mut Text) {
        text.line(format_args!("Role {}", self.role));
        let permissions = &self.response.perm;
        for (head, own) in [("KV Read:", Type::Read), ("KV Write:", Type::Write)] {
            text.line(head);
            if self.role == ROOT && permissions.is_empty() {
                text.line("\t[, <open ended>");
            }
            for permission in permissions {
                if [own, Type::Readwrite].contains(&permission.perm_type()) {
                    permission_line(permission, text);
                }
            }
        }
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        text.header_fields(self.response.header.as_ref(), style);
        for permission in &self.response.perm {
            // With two blanks, as etcdctl has it.
            let kind = permission.perm_type().as_str_name();
            text.field("PermType", format_args!(" {kind}"));
            text.quoted_field("Key", &permission.key);
            text.quoted_field("RangeEnd", &permission.range_end);
        }
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        let permission = |permission: &Permission| {
            Object::default()
                .number("permType", permission.perm_type)
                .bytes("key", &permission.key)
                .bytes("range_end", &permission.range_end)
                .end()
        };
        with_header(self.response.header.as_ref())
            .list("perm", &self.response.perm, permission)
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}

pub(crate) struct RoleList(pub(crate) AuthRoleListResponse);

impl Show for RoleList {
    fn simple(&self, _style: Style, text: &mut Text) {
        self.0.roles.iter().for_each(|role| text.line(role));
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        text.header_fields(self.0.header.as_ref(), style);
        text.push(b"\"Roles\" :");
        for role in &self.0.roles {
            text.write(format_args!(" {}", quote(role.as_bytes())));
        }
        text.line("");
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        with_header(self.0.header.as_ref())
            .list("roles", &self.0.roles, |role| Json::string(role))
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

pub(crate) struct UserShown<'a> {
    pub(crate) user: &'a str,
    pub(crate) response: AuthUserGetResponse,
}

impl Show for UserShown<'_> {
    fn simple(&self, _style: Style, text: &mut Text) {
        text.line(format_args!("User: {}", self.user));
        text.push(b"Roles:");
        for role in &self.response.roles {
            text.write(format_args!(" {role}"));
        }
        text.line("");
    }

    fn json(&self, _style: Style) -> Json {
        with_header(self.response.header.as_ref())
            .list("roles", &self.response.roles, |role| Json::string(role))
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}

pub(crate) struct UserList(pub(crate) AuthUserListResponse);

impl Show for UserList {
    fn simple(&self, _style: Style, text: &mut Text) {
        self.0.users.iter().for_each(|user| text.line(user));
    }

    fn json(&self, _style: Style) -> Json {
        with_header(self.0.header.as_ref())
            .list("users", &self.0.users, |user| Json::string(user))
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

pub(crate) struct AuthStatus(pub(crate) AuthStatusResponse);

impl Show for AuthStatus {
    fn simple(&self, _style: Style, text: &mut Text) {
        text.line(format_args!("Authentication Status: {}", self.0.enabled));
        text.line(format_args!("AuthRevision: {}", self.0.auth_revision));
    }

    fn json(&self, _style: Style) -> Json {
        with_header(self.0.header.as_ref())
            .truth("enabled", self.0.enabled)
            .number("authRevision", self.0.auth_revision)
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}
