//! A few records in the order of their times, in columns, for reports.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use crate::{ClientId, History, IncidentKind, MemberId, OpId, Time, WatchId};

/// The longest text of a line; the rest is cut off.
const TEXT_CHARS_MAX: usize = 160;
/// Incidents shown at most, the last ones.
const INCIDENTS_MAX: usize = 8;

/// Records that concern one finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Concerned {
    ops: BTreeSet<OpId>,
    /// A watch, and which of its responses.
    watches: BTreeSet<(WatchId, usize)>,
}

/// What is shown of a finding's records: one line each, by time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    from: Time,
    /// Begin and end, in seconds since the history began.
    times: String,
    who: String,
    whom: String,
    what: String,
}

impl Concerned {
    pub(crate) fn op(mut self, op: OpId) -> Self {
        self.ops.insert(op);
        self
    }

    pub(crate) fn ops(mut self, ops: impl IntoIterator<Item = OpId>) -> Self {
        self.ops.extend(ops);
        self
    }

    pub(crate) fn response(mut self, watch: WatchId, response: usize) -> Self {
        self.watches.insert((watch, response));
        self
    }
}

impl Timeline {
    pub(crate) fn new(history: &History, concerned: &Concerned) -> Self {
        let begin = history.begin();
        let mut lines = Vec::new();
        for id in &concerned.ops {
            if let Some(op) = history.ops.get(id.0) {
                lines.push(Line {
                    from: op.call,
                    times: span(begin, op.call, op.outcome.at()),
                    who: op.client.to_string(),
                    whom: op.member.to_string(),
                    what: format!("[{id}] {} → {}", op.request, op.outcome),
                });
            }
        }
        let watches: BTreeSet<WatchId> =
            concerned.watches.iter().map(|(watch, _)| *watch).collect();
        for id in watches {
            if let Some(watch) = history.watches.get(id.0) {
                let what = format!("[{id}] {}", watch.request);
                lines.push(Line::at(
                    begin,
                    watch.call,
                    watch.client,
                    watch.member,
                    what,
                ));
            }
        }
        for (id, response) in &concerned.watches {
            let watch = history.watches.get(id.0);
            let response = watch.and_then(|watch| watch.responses.get(*response));
            if let (Some(watch), Some(response)) = (watch, response) {
                let what = format!("[{id}] heard {response}");
                lines.push(Line::at(
                    begin,
                    response.at,
                    watch.client,
                    watch.member,
                    what,
                ));
            }
        }
        let first = lines.iter().map(|line| line.from).min();
        let last = lines.iter().map(|line| line.from).max();
        if let (Some(first), Some(last)) = (first, last) {
            lines.extend(incidents(history, begin, first, last));
        }
        lines.sort_by_key(|line| line.from);
        Self { lines }
    }
}

fn incidents(history: &History, begin: Time, first: Time, last: Time) -> Vec<Line> {
    let mut found: Vec<_> = history
        .incidents
        .iter()
        .filter(|it| {
            first <= it.at && it.at <= last && it.what != IncidentKind::Note(String::new())
        })
        .collect();
    found.sort_by_key(|it| it.at);
    let hidden = found.len().saturating_sub(INCIDENTS_MAX);
    let shown = found.into_iter().skip(hidden);
    shown
        .map(|incident| Line {
            from: incident.at,
            times: seconds(begin, incident.at),
            who: "–".to_owned(),
            whom: match incident.member {
                Some(member) => member.to_string(),
                None => "all".to_owned(),
            },
            what: incident.what.to_string(),
        })
        .collect()
}

impl Line {
    fn at(begin: Time, at: Time, client: ClientId, member: MemberId, what: String) -> Self {
        Self {
            from: at,
            times: seconds(begin, at),
            who: client.to_string(),
            whom: member.to_string(),
            what,
        }
    }
}

fn seconds(begin: Time, at: Time) -> String {
    format!("{:.6}", at.seconds_since(begin))
}

fn span(begin: Time, from: Time, to: Time) -> String {
    let to = if to == Time::NEVER {
        "…".to_owned()
    } else {
        seconds(begin, to)
    };
    format!("{} – {to}", seconds(begin, from))
}

impl Display for Timeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let width = |column: fn(&Line) -> &String| {
            let widths = self.lines.iter().map(|line| column(line).chars().count());
            widths.max().unwrap_or_default()
        };
        let times = width(|line| &line.times);
        let who = width(|line| &line.who);
        let whom = width(|line| &line.whom);
        for line in &self.lines {
            let what: String = line.what.chars().take(TEXT_CHARS_MAX).collect();
            let cut = if what.len() < line.what.len() {
                "…"
            } else {
                ""
            };
            writeln!(
                f,
                "    {:<times$}  {:<who$}  {:<whom$}  {what}{cut}",
                line.times, line.who, line.whom
            )?;
        }
        Ok(())
    }
}
