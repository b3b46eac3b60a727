//! What members say of themselves, and how fast that changes.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_proto::etcdserverpb::{Member, MemberListRequest, StatusRequest, StatusResponse};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::golang::human_bytes;
use crate::session::Session;
use crate::show::Table;

/// A member, its answer at this look, and its progress at the last.
#[derive(Clone, Debug)]
struct Seen {
    member: Member,
    status: Result<StatusResponse, String>,
    applied_before: Option<u64>,
}

impl Seen {
    fn applied(&self) -> Option<u64> {
        self.status
            .as_ref()
            .ok()
            .map(|status| status.raft_applied_index)
    }
}

/// All members by id.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<u64, Seen>);

impl Members {
    /// Asks all that the cluster has.
    pub(super) async fn ask(&mut self, session: &Session) -> Result<(), Failure> {
        let list = session
            .call(MemberListRequest {
                linearizable: false,
            })
            .await?;
        let mut questions = JoinSet::new();
        for member in list.members {
            let session = session.clone();
            questions.spawn(async move {
                let status = status(&session, &member).await;
                (member, status)
            });
        }
        let mut seen = BTreeMap::new();
        while let Some(answer) = questions.join_next().await {
            let (member, status) = answer.map_err(Failure::error)?;
            let before = self.0.get(&member.id).and_then(Seen::applied);
            seen.insert(
                member.id,
                Seen {
                    member,
                    status,
                    applied_before: before,
                },
            );
        }
        self.0 = seen;
        Ok(())
    }

    pub(super) fn table(&self, span: Duration) -> Table {
        let first = self.0.values().filter_map(Seen::applied).max().unwrap_or(0);
        let head = [
            "member",
            "role",
            "version",
            "db size",
            "in use",
            "quota",
            "term",
            "index",
            "entries/s",
            "lag",
            "trouble",
        ];
        let rows = self.0.values().map(|seen| row(seen, first, span));
        Table::new(&head, rows.collect())
    }
}

async fn status(session: &Session, member: &Member) -> Result<StatusResponse, String> {
    let Some(url) = member.client_urls.first() else {
        return Err("not started".to_owned());
    };
    let at_member = session.at(url).map_err(|failure| failure.message)?;
    // A member that is down must not hold the others up.
    let asked = at_member.client.call(StatusRequest {});
    let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
    match answer {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

fn row(seen: &Seen, first: u64, span: Duration) -> Vec<String> {
    let name = match seen.member.name.as_str() {
        "" => format!("{:x}", seen.member.id),
        name => name.to_owned(),
    };
    let status = match &seen.status {
        Ok(status) => status,
        Err(trouble) => {
            let mut row = vec![name, "down".to_owned()];
            row.resize(10, String::new());
            row.push(trouble.clone());
            return row;
        }
    };
    let role = match (status.is_learner, status.leader == seen.member.id) {
        (true, _) => "learner",
        (false, true) => "leader",
        (false, false) => "follower",
    };
    let size = |bytes: i64| human_bytes(bytes.max(0).unsigned_abs());
    let applied = status.raft_applied_index;
    let rate = seen.applied_before.map_or_else(String::new, |before| {
        let entries = applied.saturating_sub(before) as f64;
        format!("{:.1}", entries / span.as_secs_f64().max(0.001))
    });
    vec![
        name,
        role.to_owned(),
        status.version.clone(),
        size(status.db_size),
        size(status.db_size_in_use),
        size(status.db_size_quota),
        status.raft_term.to_string(),
        applied.to_string(),
        rate,
        first.saturating_sub(applied).to_string(),
        status.errors.join(", "),
    ]
}
