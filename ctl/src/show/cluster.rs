//! Alarms, leadership and versions of a cluster.

use cairn_proto::etcdserverpb::{
    AlarmMember, AlarmResponse, AlarmType, DowngradeResponse, MoveLeaderResponse,
};
use prost::Message as _;

use super::header::with_header;
use super::{Show, Style, Text};
use crate::golang::{Json, Object};

pub(crate) struct Alarms(pub(crate) AlarmResponse);

/// An alarm's name, or its number if it has none.
pub(crate) fn alarm_name(alarm: i32) -> String {
    AlarmType::try_from(alarm).map_or_else(
        |_| alarm.to_string(),
        |alarm| alarm.as_str_name().to_owned(),
    )
}

fn alarm_text(alarm: &AlarmMember) -> String {
    let mut parts = Vec::new();
    if alarm.member_id != 0 {
        parts.push(format!("memberID:{}", alarm.member_id));
    }
    if alarm.alarm != 0 {
        parts.push(format!("alarm:{}", alarm_name(alarm.alarm)));
    }
    parts.join(" ")
}

impl Show for Alarms {
    fn simple(&self, _style: Style, text: &mut Text) {
        for alarm in &self.0.alarms {
            text.line(alarm_text(alarm));
        }
    }

    fn fields(&self, style: Style) -> Option<Text> {
        let mut text = Text::default();
        text.header_fields(self.0.header.as_ref(), style);
        for alarm in &self.0.alarms {
            text.id_field("MemberID", alarm.member_id, style);
            text.field("AlarmType", alarm_name(alarm.alarm));
            text.line("");
        }
        Some(text)
    }

    fn json(&self, _style: Style) -> Json {
        let alarm = |alarm: &AlarmMember| {
            Object::default()
                .number("memberID", alarm.member_id)
                .number("alarm", alarm.alarm)
                .end()
        };
        with_header(self.0.header.as_ref())
            .list("alarms", &self.0.alarms, alarm)
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

pub(crate) struct LeaderMoved {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) response: MoveLeaderResponse,
}

impl Show for LeaderMoved {
    fn simple(&self, _style: Style, text: &mut Text) {
        let (from, to) = (self.from, self.to);
        text.line(format_args!(
            "Leadership transferred from {from:x} to {to:x}"
        ));
    }

    fn json(&self, _style: Style) -> Json {
        with_header(self.response.header.as_ref()).end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}

pub(crate) struct Downgraded {
    /// What was asked for: `validate`, `enable` or `cancel`.
    pub(crate) action: &'static str,
    pub(crate) response: DowngradeResponse,
}

impl Show for Downgraded {
    fn simple(&self, _style: Style, text: &mut Text) {
        let (action, version) = (self.action, &self.response.version);
        text.line(format_args!(
            "Downgrade {action} success, cluster version {version}"
        ));
    }

    fn json(&self, _style: Style) -> Json {
        with_header(self.response.header.as_ref())
            .string("version", &self.response.version)
            .end()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}
