//! The records that make up a history.

use serde::{Deserialize, Serialize};

use crate::{ClientId, MemberId, Outcome, Request, Term, Time};

/// A request and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who called.
    pub client: ClientId,
    /// The member asked.
    pub member: MemberId,
    /// Just before the request left.
    pub call: Time,
    /// What was asked.
    pub request: Request,
    /// How it ended.
    pub outcome: Outcome,
}

/// Something that was done to a member, or that befell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When it was over, for a start; when it began, for anything else.
    pub at: Time,
    /// To whom; absent: to the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// What.
    pub what: IncidentKind,
}

/// What befell a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// It was started, for the first time or again. Its revision may be lower than what it answered
    /// with before, until it has caught up.
    Started,
    /// It was stopped, and answers nobody until it is started.
    Stopped,
    /// Its data was replaced by older data, or other data: its term may be lower until it has said so.
    DataReplaced,
    /// Anything else, for reports: a partition, a pause, a slow disk.
    Note(String),
}

/// Who led when, as one member saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leadership {
    /// When.
    pub at: Time,
    /// Who saw it.
    pub member: MemberId,
    /// The term it was in.
    pub term: Term,
    /// The leader in that very term, if it knew one. Both must be of one moment: a server that
    /// reads the leader first and the term after it may pair an old leader with a new term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<MemberId>,
}
