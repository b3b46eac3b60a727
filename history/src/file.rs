//! Histories as files: a JSON object a line, each a record, in any order but that of [`OpId`]s.
//!
//! [`OpId`]: crate::OpId

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{History, Incident, Leadership, Operation, Time, Watch};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Op(Operation),
    Watch(Watch),
    Incident(Incident),
    Leadership(Leadership),
    Settled(Time),
}

/// Why a history cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("reading a history")]
    Io(#[from] io::Error),
    /// A line is no record.
    #[error("line {line} is no record of a history")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl History {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, mut file: impl Write) -> io::Result<()> {
        let ops = self.ops.iter().cloned().map(Line::Op);
        let watches = self.watches.iter().cloned().map(Line::Watch);
        let incidents = self.incidents.iter().cloned().map(Line::Incident);
        let leaderships = self.leaderships.iter().cloned().map(Line::Leadership);
        let settled = self.settled.into_iter().map(Line::Settled);
        let others = incidents.chain(leaderships).chain(settled);
        for line in ops.chain(watches).chain(others) {
            serde_json::to_writer(&mut file, &line)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    }

    /// Reads what [`History::write`] wrote; empty lines are skipped.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or holds a line that is no record.
    pub fn read(file: impl BufRead) -> Result<Self, ReadError> {
        let mut history = Self::new();
        for (at, text) in file.lines().enumerate() {
            let text = text?;
            if text.trim().is_empty() {
                continue;
            }
            let line = at + 1;
            match serde_json::from_str(&text) {
                Ok(Line::Op(op)) => history.ops.push(op),
                Ok(Line::Watch(watch)) => history.watches.push(watch),
                Ok(Line::Incident(incident)) => history.incidents.push(incident),
                Ok(Line::Leadership(leadership)) => history.leaderships.push(leadership),
                Ok(Line::Settled(at)) => history.settled = Some(at),
                Err(source) => return Err(ReadError::Line { line, source }),
            }
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Answer, ClientId, Event, EventKind, IncidentKind, KeyRange, KeyValue, MemberId, Outcome,
        Request, Response, Revision, Term, WatchRequest, WatchResponse, WatchSays,
    };

    fn one_of_each() -> History {
        let mut history = History::new();
        let (client, member) = (ClientId(1), MemberId(2));
        let put = history.call(client, member, Time(5), Request::put("a", "1"));
        history.call(client, member, Time(6), Request::delete("a"));
        let answer = Answer {
            at: Time(7),
            revision: Some(Revision(2)),
            term: Some(Term(3)),
            body: Response::Put(None),
        };
        history.end(put, Outcome::Ok(answer));
        let watch = history.watch(
            client,
            member,
            Time(8),
            WatchRequest::new(KeyRange::prefix("a")),
        );
        let event = Event {
            kind: EventKind::Put,
            kv: KeyValue {
                key: "a".into(),
                ..KeyValue::default()
            },
            prev_kv: None,
        };
        let says = WatchSays::Events {
            events: vec![event],
            fragment: false,
        };
        let response = WatchResponse {
            at: Time(9),
            revision: Revision(2),
            says,
        };
        history.hear(watch, response);
        history.hear_no_more(watch, Time(10));
        history.incident(Time(11), Some(member), IncidentKind::Started);
        history.leaderships.push(Leadership {
            at: Time(12),
            member,
            term: Term(1),
            leader: None,
        });
        history.settled = Some(Time(13));
        history
    }

    #[test]
    fn a_history_is_the_same_after_a_file() {
        let history = one_of_each();
        let mut file = Vec::new();
        history.write(&mut file).unwrap();
        assert_eq!(file.iter().filter(|byte| **byte == b'\n').count(), 6);
        assert_eq!(History::read(file.as_slice()).unwrap(), history);
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let error = History::read(b"\n{\"settled\":4}\n{}\n".as_slice()).unwrap_err();
        assert_eq!(error.to_string(), "line 3 is no record of a history");
    }
}
