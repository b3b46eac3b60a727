//! Leases.

use cairn_proto::etcdserverpb::{
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseTimeToLiveResponse,
    ResponseHeader,
};
use prost::Message as _;

use super::header::header_object;
use super::{Show, Style, Text};
use crate::golang::{Json, Object};

/// Of answers about leases, etcdctl prints just the header in protobuf.
fn header_message(header: Option<&ResponseHeader>) -> Option<Vec<u8>> {
    Some(header.copied().unwrap_or_default().encode_to_vec())
}

/// The beginning of all `fields` here.
fn lease_fields(header: Option<&ResponseHeader>, id: i64, ttl: i64, style: Style) -> Text {
    let mut text = Text::default();
    text.header_fields(header, style);
    text.lease_field("ID", id, style);
    text.field("TTL", ttl);
    text
}

pub(crate) struct Granted(pub(crate) LeaseGrantResponse);

impl Show for Granted {
    fn simple(&self, _style: Style, text: &mut Text) {
        let LeaseGrantResponse { id, ttl, .. } = self.0;
        text.line(format_args!("lease {id:016x} granted with TTL({ttl}s)"));
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let header = self.0.header.as_ref();
        Some(lease_fields(header, self.0.id, self.0.ttl, style))
    }

    fn json(&self, _style: Style) -> Json {
        Object::default()
            .embed(&header_object(self.0.header.as_ref()))
            .always("ID", &Json::raw(self.0.id))
            .always("TTL", &Json::raw(self.0.ttl))
            .always("Error", &Json::string(&self.0.error))
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        header_message(self.0.header.as_ref())
    }
}

pub(crate) struct KeptAlive(pub(crate) LeaseKeepAliveResponse);

impl Show for KeptAlive {
    fn simple(&self, _style: Style, text: &mut Text) {
        let LeaseKeepAliveResponse { id, ttl, .. } = self.0;
        text.line(format_args!("lease {id:016x} keepalived with TTL({ttl})"));
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let header = self.0.header.as_ref();
        Some(lease_fields(header, self.0.id, self.0.ttl, style))
    }

    fn json(&self, _style: Style) -> Json {
        Object::default()
            .embed(&header_object(self.0.header.as_ref()))
            .always("ID", &Json::raw(self.0.id))
            .always("TTL", &Json::raw(self.0.ttl))
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        header_message(self.0.header.as_ref())
    }
}

pub(crate) struct TimeToLive {
    pub(crate) response: LeaseTimeToLiveResponse,
    /// Whether its keys were asked for.
    pub(crate) with_keys: bool,
}

impl Show for TimeToLive {
    fn simple(&self, _style: Style, text: &mut Text) {
        let response = &self.response;
        let id = response.id;
        if response.granted_ttl == 0 && response.ttl == -1 {
            return text.line(format_args!("lease {id:016x} already expired"));
        }
        text.write(format_args!(
            "lease {id:016x} granted with TTL({}s), remaining({}s)",
            response.granted_ttl, response.ttl
        ));
        if self.with_keys {
            text.push(b", attached keys([");
            text.push(&response.keys.join(&b' '));
            text.push(b"])");
        }
        text.line("");
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let response = &self.response;
        let header = response.header.as_ref();
        let mut text = lease_fields(header, response.id, response.ttl, style);
        text.field("GrantedTTL", response.granted_ttl);
        for key in &response.keys {
            text.quoted_field("Key", key);
        }
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        let response = &self.response;
        let keys = match response.keys.as_slice() {
            [] => Json::null(),
            keys => Json::list(keys.iter().map(|key| Json::bytes(key))),
        };
        Object::default()
            .embed(&header_object(response.header.as_ref()))
            .always("id", &Json::raw(response.id))
            .always("ttl", &Json::raw(response.ttl))
            .always("granted-ttl", &Json::raw(response.granted_ttl))
            .always("keys", &keys)
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        header_message(self.response.header.as_ref())
    }
}

pub(crate) struct LeaseList(pub(crate) LeaseLeasesResponse);

impl Show for LeaseList {
    fn simple(&self, _style: Style, text: &mut Text) {
        text.line(format_args!("found {} leases", self.0.leases.len()));
        for lease in &self.0.leases {
            text.line(format_args!("{:016x}", lease.id));
        }
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        text.header_fields(self.0.header.as_ref(), style);
        for lease in &self.0.leases {
            text.lease_field("ID", lease.id, style);
        }
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        let lease = |id| Object::default().always("id", &Json::raw(id)).end();
        let leases = self.0.leases.iter().map(|status| lease(status.id));
        Object::default()
            .embed(&header_object(self.0.header.as_ref()))
            .always("leases", &Json::list(leases))
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        header_message(self.0.header.as_ref())
    }
}
