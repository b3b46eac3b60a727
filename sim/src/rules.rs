//! Who may do what: a naive model of users and roles, beside which every member's answers are held.
//!
//! It reads the log as it is committed and says, for each entry, whether the rules at that very place
//! allow it. So a change of the rules and a write that it forbids cannot come in one order at one
//! member and in another at the next, or be checked by rules that are older or newer.

use std::collections::{BTreeMap, BTreeSet};

use cairn_auth::{AuthInfo, AuthRequest};
use cairn_history::{KeyRange, Request, TxnOp, TxnRequest};
use cairn_proto::authpb::{Permission, UserAddOptions, permission::Type};
use cairn_proto::etcdserverpb as pb;
use cairn_replica::log_request::LogRequest;

use crate::schedule::RuleChange;

/// The user, and the role, that may do everything.
const ROOT: &str = "root";

/// What is looked at, or written.
type Need = (KeyRange, bool);

/// By range, its two ends as the wire has them: whether it may be read, and written.
type Permissions = BTreeMap<(Vec<u8>, Vec<u8>), (bool, bool)>;

/// The rules at one place in the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    enabled: bool,
    /// Changes, but for the one that turns authentication on.
    changes: u64,
    users: BTreeMap<String, BTreeSet<String>>,
    /// What each role may do.
    roles: BTreeMap<String, Permissions>,
}

/// What the rules say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It may be done; whether it can be, others say.
    Allowed,
    /// It must be refused.
    Denied,
    /// The model does not know.
    Unknown,
}

impl Rules {
    /// The revision that members show.
    pub(crate) fn revision(&self) -> u64 {
        self.changes + 1
    }

    /// Checks an entry, and does what it says to the rules.
    pub(crate) fn check(&mut self, request: &LogRequest, auth_info: Option<&AuthInfo>) -> Decision {
        match request {
            LogRequest::Put(put) if put.lease != 0 => Decision::Unknown,
            LogRequest::Put(put) => self.decision(auth_info, &needs_of_put(put)),
            LogRequest::DeleteRange(delete) => self.decision(auth_info, &needs_of_delete(delete)),
            LogRequest::Txn(txn) => match needs_of_txn(txn) {
                Some(needs) => self.decision(auth_info, &needs),
                None => Decision::Unknown,
            },
            LogRequest::Auth(change) => self.change(change, auth_info),
            _ => Decision::Unknown,
        }
    }

    /// Checks a read.
    pub(crate) fn check_read(&self, request: &Request, auth_info: Option<&AuthInfo>) -> Decision {
        match request {
            Request::Range(range) => self.decision(auth_info, &[(range.range.clone(), false)]),
            Request::Txn(txn) => self.decision(auth_info, &reads_of(txn)),
            _ => Decision::Unknown,
        }
    }

    fn decision(&self, auth_info: Option<&AuthInfo>, needs: &[Need]) -> Decision {
        if !self.enabled {
            return Decision::Allowed;
        }
        let is_current =
            auth_info.is_some_and(|auth_info| auth_info.revision().get() >= self.revision());
        let user = auth_info.map_or("", AuthInfo::username);
        let may = |(range, write): &Need| self.may(user, range, *write);
        if needs.is_empty() || is_current && needs.iter().all(may) {
            Decision::Allowed
        } else {
            Decision::Denied
        }
    }

    /// Whether every key of a range is in what the user may read, or write: keys are looked at one by
    /// one, at every bound that anything has.
    fn may(&self, user: &str, range: &KeyRange, write: bool) -> bool {
        let Some(roles) = self.users.get(user) else {
            return false;
        };
        if roles.contains(ROOT) {
            return true;
        }
        let granted = roles
            .iter()
            .filter_map(|role| self.roles.get(role))
            .flatten();
        let granted: Vec<KeyRange> = granted
            .filter(|(_, (read, may_write))| if write { *may_write } else { *read })
            .map(|((key, end), _)| KeyRange::from_wire(key.clone().into(), end.clone().into()))
            .collect();
        if let KeyRange::One(key) = range {
            return granted.iter().any(|it| it.contains(key));
        }
        // Between two bounds that follow one another nothing changes.
        let (first, end) = range.to_wire();
        let mut points = vec![first.as_slice().to_vec()];
        for it in &granted {
            let (key, end) = it.to_wire();
            let mut after = key.as_slice().to_vec();
            after.push(0);
            points.extend([after, end.as_slice().to_vec()]);
        }
        let no_end = end.as_slice() == [0];
        let is_within = |point: &Vec<u8>| {
            point.as_slice() >= first.as_slice() && (no_end || point.as_slice() < end.as_slice())
        };
        points.into_iter().filter(is_within).all(|point| {
            let point = point.into();
            granted.iter().any(|it| it.contains(&point))
        })
    }

    fn change(&mut self, request: &AuthRequest, auth_info: Option<&AuthInfo>) -> Decision {
        if self.enabled {
            let roles = auth_info.and_then(|auth_info| self.users.get(auth_info.username()));
            if !roles.is_some_and(|roles| roles.contains(ROOT)) {
                return Decision::Denied;
            }
        }
        let before = self.clone();
        match self.carry_out(request) {
            Some(changed) => {
                self.changes += u64::from(changed);
                Decision::Allowed
            }
            None => {
                *self = before;
                Decision::Denied
            }
        }
    }

    /// Whether the change makes a new revision; none if it cannot be made.
    fn carry_out(&mut self, request: &AuthRequest) -> Option<bool> {
        let enabled = self.enabled;
        let unless = |forbidden: bool| (!forbidden).then_some(());
        match request {
            AuthRequest::AuthEnable(_) => {
                unless(!enabled && !self.users.get(ROOT)?.contains(ROOT))?;
                self.enabled = true;
                return Some(false);
            }
            AuthRequest::AuthDisable(_) => {
                self.enabled = false;
                return Some(enabled);
            }
            AuthRequest::AuthUserAdd(add) => {
                unless(self.users.contains_key(&add.name))?;
                self.users.insert(add.name.clone(), BTreeSet::new());
            }
            AuthRequest::AuthUserDelete(delete) => {
                unless(enabled && delete.name == ROOT)?;
                self.users.remove(&delete.name)?;
            }
            AuthRequest::AuthRoleAdd(add) => {
                unless(self.roles.contains_key(&add.name))?;
                self.roles.insert(add.name.clone(), BTreeMap::new());
            }
            AuthRequest::AuthRoleDelete(delete) => {
                unless(enabled && delete.role == ROOT)?;
                self.roles.remove(&delete.role)?;
                for roles in self.users.values_mut() {
                    roles.remove(&delete.role);
                }
            }
            AuthRequest::AuthUserGrantRole(give) => {
                let is_role = give.role == ROOT || self.roles.contains_key(&give.role);
                let roles = self.users.get_mut(&give.user)?;
                unless(!is_role)?;
                return Some(roles.insert(give.role.clone()));
            }
            AuthRequest::AuthUserRevokeRole(take) => {
                unless(enabled && take.name == ROOT && take.role == ROOT)?;
                unless(!self.users.get_mut(&take.name)?.remove(&take.role))?;
            }
            AuthRequest::AuthRoleGrantPermission(allow) => {
                let granted = allow.perm.as_ref()?;
                let range = (granted.key.to_vec(), granted.range_end.to_vec());
                let may = match granted.perm_type() {
                    Type::Read => (true, false),
                    Type::Write => (false, true),
                    Type::Readwrite => (true, true),
                };
                self.roles.get_mut(&allow.name)?.insert(range, may);
            }
            AuthRequest::AuthRoleRevokePermission(forbid) => {
                let range = (forbid.key.to_vec(), forbid.range_end.to_vec());
                self.roles.get_mut(&forbid.role)?.remove(&range)?;
            }
            // Questions change nothing.
            _ => return Some(false),
        }
        Some(true)
    }
}

fn range(key: &bytes::Bytes, range_end: &bytes::Bytes) -> KeyRange {
    KeyRange::from_wire(key.clone().into(), range_end.clone().into())
}

fn needs_of_put(put: &pb::PutRequest) -> Vec<Need> {
    let key = KeyRange::One(put.key.clone().into());
    let mut needs = vec![(key.clone(), true)];
    needs.extend(put.prev_kv.then_some((key, false)));
    needs
}

fn needs_of_delete(delete: &pb::DeleteRangeRequest) -> Vec<Need> {
    let range = range(&delete.key, &delete.range_end);
    let mut needs = vec![(range.clone(), true)];
    needs.extend(delete.prev_kv.then_some((range, false)));
    needs
}

/// What a transaction needs, whichever list is done; none if that takes more to know.
fn needs_of_txn(txn: &pb::TxnRequest) -> Option<Vec<Need>> {
    use pb::request_op::Request;
    let compares = txn.compare.iter();
    let mut needs: Vec<Need> = compares
        .map(|it| (range(&it.key, &it.range_end), false))
        .collect();
    for op in txn.success.iter().chain(&txn.failure) {
        match op.request.as_ref()? {
            Request::RequestRange(read) => needs.push((range(&read.key, &read.range_end), false)),
            Request::RequestPut(put) if put.lease != 0 => return None,
            Request::RequestPut(put) => needs.extend(needs_of_put(put)),
            Request::RequestDeleteRange(delete) => needs.extend(needs_of_delete(delete)),
            Request::RequestTxn(txn) => needs.extend(needs_of_txn(txn)?),
        }
    }
    Some(needs)
}

fn reads_of(txn: &TxnRequest) -> Vec<Need> {
    let compares = txn.compares.iter().map(|it| (it.range.clone(), false));
    let ops = txn.success.iter().chain(&txn.failure);
    let ranges = ops.filter_map(|op| match op {
        TxnOp::Range(read) => Some((read.range.clone(), false)),
        _ => None,
    });
    compares.chain(ranges).collect()
}

/// The request that makes a change.
pub(crate) fn request(change: &RuleChange) -> AuthRequest {
    match change {
        RuleChange::Enable => AuthRequest::AuthEnable(pb::AuthEnableRequest {}),
        RuleChange::Disable => AuthRequest::AuthDisable(pb::AuthDisableRequest {}),
        RuleChange::AddUser(name) => AuthRequest::AuthUserAdd(pb::AuthUserAddRequest {
            name: name.clone(),
            options: Some(UserAddOptions { no_password: true }),
            ..pb::AuthUserAddRequest::default()
        }),
        RuleChange::DeleteUser(name) => {
            AuthRequest::AuthUserDelete(pb::AuthUserDeleteRequest { name: name.clone() })
        }
        RuleChange::AddRole(name) => {
            AuthRequest::AuthRoleAdd(pb::AuthRoleAddRequest { name: name.clone() })
        }
        RuleChange::DeleteRole(role) => {
            AuthRequest::AuthRoleDelete(pb::AuthRoleDeleteRequest { role: role.clone() })
        }
        RuleChange::Give(user, role) => {
            AuthRequest::AuthUserGrantRole(pb::AuthUserGrantRoleRequest {
                user: user.clone(),
                role: role.clone(),
            })
        }
        RuleChange::Take(name, role) => {
            AuthRequest::AuthUserRevokeRole(pb::AuthUserRevokeRoleRequest {
                name: name.clone(),
                role: role.clone(),
            })
        }
        RuleChange::Allow {
            role,
            range,
            read,
            write,
        } => {
            let (key, range_end) = wire(range);
            let kind = match (read, write) {
                (true, true) => Type::Readwrite,
                (false, true) => Type::Write,
                (_, false) => Type::Read,
            };
            AuthRequest::AuthRoleGrantPermission(pb::AuthRoleGrantPermissionRequest {
                name: role.clone(),
                perm: Some(Permission {
                    perm_type: kind.into(),
                    key,
                    range_end,
                }),
            })
        }
        RuleChange::Forbid(role, range) => {
            let (key, range_end) = wire(range);
            AuthRequest::AuthRoleRevokePermission(pb::AuthRoleRevokePermissionRequest {
                role: role.clone(),
                key,
                range_end,
            })
        }
    }
}

fn wire(range: &KeyRange) -> (bytes::Bytes, bytes::Bytes) {
    let (key, end) = range.to_wire();
    let bytes = |data: cairn_history::Data| bytes::Bytes::copy_from_slice(data.as_slice());
    (bytes(key), bytes(end))
}
