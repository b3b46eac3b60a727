//! Answers in the formats of `-w`, to the letter as etcdctl prints them.
//!
//! One file a noun; an answer is a type that says how it looks in each format, and a format that
//! it does not have is refused with etcdctl's words.

mod auth;
mod cluster;
mod endpoint;
#[cfg(test)]
mod golden;
mod header;
mod kv;
mod lease;
mod member;
mod table;
mod text;

pub(crate) use self::auth::{AuthStatus, RoleList, RoleShown, UserList, UserShown};
pub(crate) use self::cluster::{Alarms, Downgraded, LeaderMoved};
pub(crate) use self::endpoint::{Hash, Hashes, Health, Healths, Status, Statuses};
pub(crate) use self::header::Done;
pub(crate) use self::kv::WatchShown;
pub(crate) use self::lease::{Granted, KeptAlive, LeaseList, TimeToLive};
pub(crate) use self::member::{MemberAdded, MemberList, MembersChanged};
pub(crate) use self::table::Table;
pub(crate) use self::text::Text;
use crate::failure::Failure;
use crate::golang::Json;

/// An answer that can be shown.
pub(crate) trait Show {
    /// For people, and the default.
    fn simple(&self, style: Style, text: &mut Text);

    /// A line a field, if this answer has that form.
    fn fields(&self, _style: Style) -> Option<Text> {
        None
    }

    fn json(&self, style: Style) -> Json;

    /// The message as it came over the wire, if this answer has that form.
    fn protobuf(&self) -> Option<Vec<u8>> {
        None
    }

    /// Rows and columns, if this answer has that form.
    fn table(&self) -> Option<Table> {
        None
    }
}

/// What flags change about the look of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Bytes and ids in hexadecimal.
    pub(crate) hex: bool,
    /// Of pairs, only values.
    pub(crate) value_only: bool,
}

/// How answers are to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Simple,
    Json,
    Fields,
    Table,
    Protobuf,
}

impl Format {
    /// The formats by name.
    pub(crate) const ALL: [(&str, Self); 5] = [
        ("simple", Self::Simple),
        ("json", Self::Json),
        ("fields", Self::Fields),
        ("table", Self::Table),
        ("protobuf", Self::Protobuf),
    ];

    /// # Errors
    ///
    /// There is no such format.
    pub(crate) fn parse(name: &str) -> Result<Self, Failure> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        let (_, format) = found.ok_or_else(|| Failure::feature("unsupported output format"))?;
        Ok(*format)
    }

    fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, format)| *format == self);
        found.map_or("", |(name, _)| name)
    }

    /// The bytes of an answer, for stdout.
    ///
    /// # Errors
    ///
    /// The answer does not have this form.
    pub(crate) fn render(self, shown: &dyn Show, style: Style) -> Result<Vec<u8>, Failure> {
        let bytes = match self {
            Self::Simple => {
                let mut text = Text::default();
                shown.simple(style, &mut text);
                Some(text.into_bytes())
            }
            Self::Json => {
                let mut json = shown.json(style).into_text();
                json.push('\n');
                Some(json.into_bytes())
            }
            Self::Fields => shown.fields(style).map(Text::into_bytes),
            Self::Table => shown.table().map(|table| table.to_string().into_bytes()),
            Self::Protobuf => shown.protobuf(),
        };
        bytes.ok_or_else(|| self.refusal())
    }

    /// What is said where this format is not to be had.
    pub(crate) fn refusal(self) -> Failure {
        Failure::feature(format!("{} not supported as output format", self.name()))
    }
}
