//! Members.

use cairn_proto::etcdserverpb::{
    Member, MemberAddResponse, MemberListResponse, MemberRemoveResponse, ResponseHeader,
};
use prost::Message as _;

use super::header::with_header;
use super::{Show, Style, Table, Text};
use crate::golang::{Json, Object};

fn urls(object: Object, member: &Member) -> Object {
    object
        .string("name", &member.name)
        .list("peerURLs", &member.peer_urls, |url| Json::string(url))
        .list("clientURLs", &member.client_urls, |url| Json::string(url))
        .truth("isLearner", member.is_learner)
}

fn member_json(member: &Member, style: Style) -> Json {
    let id = if style.hex {
        Object::default().always("ID", &Json::string(&format!("{:x}", member.id)))
    } else {
        Object::default().number("ID", member.id)
    };
    urls(id, member).end()
}

/// A header, of which `--hex` writes ids as text.
fn begin(header: Option<&ResponseHeader>, style: Style) -> Object {
    if !style.hex {
        return with_header(header);
    }
    let header = header.copied().unwrap_or_default();
    let hex = Object::default()
        .always(
            "cluster_id",
            &Json::string(&format!("{:x}", header.cluster_id)),
        )
        .always(
            "member_id",
            &Json::string(&format!("{:x}", header.member_id)),
        )
        .number("revision", header.revision)
        .number("raft_term", header.raft_term);
    Object::default().always("header", &hex.end())
}

fn members(object: Object, members: &[Member], style: Style) -> Json {
    let list = members.iter().map(|member| member_json(member, style));
    if style.hex {
        object.always("members", &Json::list(list)).end()
    } else {
        object
            .list("members", members, |it| member_json(it, style))
            .end()
    }
}

const HEAD: [&str; 6] = [
    "ID",
    "Status",
    "Name",
    "Peer Addrs",
    "Client Addrs",
    "Is Learner",
];

fn row(member: &Member) -> Vec<String> {
    let status = match member.name.as_str() {
        "" => "unstarted",
        _ => "started",
    };
    vec![
        format!("{:x}", member.id),
        status.to_owned(),
        member.name.clone(),
        member.peer_urls.join(","),
        member.client_urls.join(","),
        member.is_learner.to_string(),
    ]
}

pub(crate) struct MemberList(pub(crate) MemberListResponse);

impl Show for MemberList {
    fn simple(&self, _style: Style, text: &mut Text) {
        for member in &self.0.members {
            text.line(row(member).join(", "));
        }
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        text.header_fields(self.0.header.as_ref(), style);
        for member in &self.0.members {
            text.id_field("ID", member.id, style);
            text.quoted_field("Name", member.name.as_bytes());
            for url in &member.peer_urls {
                text.quoted_field("PeerURL", url.as_bytes());
            }
            for url in &member.client_urls {
                text.quoted_field("ClientURL", url.as_bytes());
            }
            text.field("IsLearner", member.is_learner);
            text.line("");
        }
        Some(text)
    }

    fn json(&self, style: Style) -> Json {
        let object = begin(self.0.header.as_ref(), style);
        members(object, &self.0.members, style)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }

    fn table(&self) -> Option<Table> {
        let rows = self.0.members.iter().map(row).collect();
        Some(Table::new(&HEAD, rows))
    }
}

pub(crate) struct MemberAdded {
    pub(crate) response: MemberAddResponse,
    /// What the new member is to be called.
    pub(crate) name: String,
    pub(crate) peer_urls: String,
}

impl MemberAdded {
    fn id(&self) -> u64 {
        self.response.member.as_ref().map_or(0, |member| member.id)
    }

    /// `--initial-cluster` for the new member.
    fn initial_cluster(&self) -> String {
        let mut entries = Vec::new();
        for member in &self.response.members {
            let is_new = member.id == self.id();
            let name = if is_new { &self.name } else { &member.name };
            entries.extend(member.peer_urls.iter().map(|url| format!("{name}={url}")));
        }
        entries.join(",")
    }
}

impl Show for MemberAdded {
    fn simple(&self, _style: Style, text: &mut Text) {
        let member = self.response.member.as_ref();
        let how = match member.is_some_and(|member| member.is_learner) {
            true => " as learner ",
            false => " ",
        };
        let cluster = self.response.header.map_or(0, |header| header.cluster_id);
        let quote = |text: &str| crate::golang::quote(text.as_bytes());
        text.line(format_args!(
            "Member {:16x} added{how}to cluster {cluster:16x}\n",
            self.id()
        ));
        text.line(format_args!("ETCD_NAME={}", quote(&self.name)));
        let cluster = self.initial_cluster();
        text.line(format_args!("ETCD_INITIAL_CLUSTER={}", quote(&cluster)));
        let urls = quote(&self.peer_urls);
        text.line(format_args!("ETCD_INITIAL_ADVERTISE_PEER_URLS={urls}"));
        text.line("ETCD_INITIAL_CLUSTER_STATE=\"existing\"");
    }

    fn json(&self, style: Style) -> Json {
        let response = &self.response;
        let member = response.member.as_ref();
        let member = member.map(|member| member_json(member, style));
        let object = begin(response.header.as_ref(), style).optional("member", member);
        members(object, &response.members, style)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}

/// Answers of removals, updates and promotions, which have the same fields.
pub(crate) struct MembersChanged {
    pub(crate) words: String,
    pub(crate) response: MemberRemoveResponse,
}

impl Show for MembersChanged {
    fn simple(&self, _style: Style, text: &mut Text) {
        text.line(&self.words);
    }

    fn json(&self, style: Style) -> Json {
        let object = begin(self.response.header.as_ref(), style);
        members(object, &self.response.members, style)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}
