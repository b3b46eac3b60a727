//! Every row of every table, damaged in every way: a start refuses it, or is what it was before.
//!
//! Etcd 3.7 panics over a member that it cannot read, and passes over much else. A member that passes
//! over damaged rows of others elects itself alone.
//!
//! A row of table `key` that is damaged within itself is found by the storage engine, which has a
//! checksum of each. Here it is found if it is missing, or another one's.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_auth::AuthRequest;
use cairn_backend::{LmdbEngine, LmdbOptions, RowsChecksum, STATE_CHECKSUM_KEY, Table};
use cairn_consensus::{ConfChange, MemberId};
use cairn_index::Revision;
use cairn_lease::LeaseId;
use cairn_proto::authpb::Permission;
use cairn_proto::etcdserverpb::{
    AlarmRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest,
    AuthUserAddRequest, AuthUserGrantRoleRequest, CompactionRequest, DeleteRangeRequest,
    LeaseGrantRequest, PutRequest,
};
use cairn_proto::membershippb::{ClusterVersionSetRequest, DowngradeInfoSetRequest};

use super::*;
use crate::lease_request::LeaseRequest;
use crate::membership::{Member, MemberChange};

/// The rows of all tables.
type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

fn id(number: u64) -> MemberId {
    MemberId::from_wire(number).unwrap()
}

fn add(number: u64, is_learner: bool) -> MemberChange {
    MemberChange::Add {
        member: Member {
            id: id(number),
            peer_urls: vec![format!("http://m{number}:2380")],
            is_learner,
            name: format!("m{number}"),
            client_urls: vec!["http://c:1".to_owned()],
        },
        learners_max: 1,
    }
}

fn put(key: &'static str, lease: i64) -> LogRequest {
    LogRequest::Put(PutRequest {
        key: key.into(),
        value: "value".into(),
        lease,
        ..PutRequest::default()
    })
}

fn auth_requests() -> Vec<AuthRequest> {
    let user = |name: &str| AuthUserAddRequest {
        name: name.to_owned(),
        hashed_password: STANDARD.encode("hash"),
        ..AuthUserAddRequest::default()
    };
    let permission = Permission {
        perm_type: 2,
        key: "k".into(),
        range_end: "l".into(),
    };
    vec![
        AuthRequest::AuthUserAdd(user("root")),
        AuthRequest::AuthUserAdd(user("u")),
        AuthRequest::AuthRoleAdd(AuthRoleAddRequest { name: "r".into() }),
        AuthRequest::AuthRoleGrantPermission(AuthRoleGrantPermissionRequest {
            name: "r".into(),
            perm: Some(permission),
        }),
        AuthRequest::AuthUserGrantRole(AuthUserGrantRoleRequest {
            user: "u".into(),
            role: "r".into(),
        }),
        AuthRequest::AuthUserGrantRole(AuthUserGrantRoleRequest {
            user: "root".into(),
            role: "root".into(),
        }),
        AuthRequest::AuthEnable(AuthEnableRequest {}),
    ]
}

fn requests_of_all_kinds() -> Vec<LogRequest> {
    let grant = |id| LogRequest::Lease(LeaseRequest::Grant(LeaseGrantRequest { id, ttl: 60 }));
    let mut all = vec![
        LogRequest::ClusterVersionSet(ClusterVersionSetRequest {
            ver: "3.7.0".to_owned(),
        }),
        LogRequest::DowngradeInfoSet(DowngradeInfoSetRequest {
            enabled: true,
            ver: "3.6.0".to_owned(),
        }),
        grant(7),
        grant(8),
        put("a", 0),
        put("a", 0),
        put("b", 7),
        put("c", 0),
        put("a", 0),
        LogRequest::DeleteRange(DeleteRangeRequest {
            key: "c".into(),
            ..DeleteRangeRequest::default()
        }),
        LogRequest::Compaction(CompactionRequest {
            revision: 4,
            physical: false,
        }),
        put("d", 0),
        LogRequest::Alarm(AlarmRequest {
            action: 1,
            member_id: 2,
            alarm: 1,
        }),
    ];
    all.extend(auth_requests().into_iter().map(LogRequest::Auth));
    all
}

/// The rows of a member that has seen something of everything.
fn rows_of_all_kinds() -> Rows {
    let mut machine = Machine::open(&MemoryEngine::new());
    let changes = [
        add(1, false),
        add(2, false),
        add(3, false),
        add(4, true),
        MemberChange::Remove(id(3)),
    ];
    let number = |place: usize| RequestId::from_wire(place as u64 + 1).unwrap();
    let changes = changes.iter().enumerate();
    let changes = changes.map(|(place, change)| {
        let change: ConfChange = change.to_conf_change(number(place));
        EntryKind::ConfChange(change)
    });
    let requests = requests_of_all_kinds().into_iter().enumerate();
    let requests =
        requests.map(|(place, request)| EntryKind::Normal(request.encode(number(place), None)));
    let entries: Vec<_> = (1..)
        .zip(changes.chain(requests))
        .map(|(index, kind)| Entry {
            index: LogIndex::new(index),
            term: Term::new(1),
            kind,
        })
        .collect();
    let applied = machine.applier.apply(entries).unwrap();
    for (id, reply) in &applied.replies {
        assert!(reply.is_ok(), "{id:?}: {reply:?}");
    }
    while machine.compact() {}
    let mut rows = Rows::new();
    let view = machine.store.backend().read().unwrap();
    for table in Table::ALL {
        view.read_table(table, |key, value| {
            rows.insert((table, key.to_vec()), value.to_vec());
            Ok::<_, String>(())
        })
        .unwrap();
    }
    rows
}

/// What a member that starts with these rows is, to its last row; or why it does not start.
fn started(rows: &Rows) -> Result<String, String> {
    let backend = Backend::open(MemoryEngine::new(), BackendOptions::default()).unwrap();
    let mut tx = backend.write();
    for ((table, key), value) in rows {
        tx.put(*table, key, Bytes::copy_from_slice(value));
    }
    tx.end().unwrap();
    let restored = Restored::read(backend).map_err(|error| error.to_string())?;
    let store = restored.store.clone();
    let applier = Applier::restore(restored).map_err(|error| error.to_string())?;
    let leases = applier.leases();
    let leases = leases.lock();
    let keys: Vec<_> = leases
        .ids()
        .map(|lease: LeaseId| (lease, leases.keys(lease).cloned().collect::<Vec<_>>()))
        .collect();
    let history = history(&store);
    Ok(format!(
        "{:?} {:?} {:?} {:?} {keys:?} {:?} {:?} {:?} {} {:?} {history:?}",
        applier.applied(),
        applier.alarms(),
        applier.membership(),
        leases.checksum(),
        applier.auth_store().load().is_enabled(),
        applier.auth_store().load().checksums(),
        applier
            .auth_store()
            .load()
            .password_of("u")
            .map(|it| it.hash),
        store.current(),
        store.compaction_point(),
    ))
}

/// Every pair that can be read at every revision.
fn history(store: &Store) -> Vec<(i64, Bytes)> {
    let first = store.compacted().unwrap_or(Revision::FIRST);
    let mut pairs = Vec::new();
    for number in first.to_wire()..=store.current().to_wire() {
        let query = RangeQuery {
            at: ReadAt::Revision(Revision::from_wire(number).unwrap()),
            ..RangeQuery::new(cairn_index::KeyRange::All)
        };
        let mut see = |kv: cairn_mvcc::StoredKv<'_>| {
            pairs.push((number, Bytes::copy_from_slice(kv.encoded)));
        };
        store.range(&query, &mut see).unwrap();
    }
    pairs
}

/// A start with `damaged` refuses and says which table it is about, or is `before`.
fn check(damaged: &Rows, before: &str, what: &str) {
    match started(damaged) {
        Ok(state) => assert!(state == before, "{what}\n{state}\n{before}"),
        Err(error) => {
            let says = ["table ", ", key ", cairn_backend::DAMAGED_ADVICE];
            assert!(says.iter().all(|it| error.contains(it)), "{what}: {error}");
        }
    }
}

fn shown(table: Table, key: &[u8]) -> String {
    format!("table {} key {}", table.name(), key.escape_ascii())
}

/// Whether this is a byte of what a client has put under a key, which the storage engine alone checks.
fn is_of_value(table: Table, row: &[u8], at: usize) -> bool {
    const VALUE: &[u8] = b"value";
    let begins = row.windows(VALUE.len()).position(|part| part == VALUE);
    table == Table::Key && begins.is_some_and(|begins| (begins..begins + VALUE.len()).contains(&at))
}

#[test]
fn all_tables_have_rows_and_a_start_with_them_is_the_same_twice() {
    let rows = rows_of_all_kinds();
    for table in Table::ALL {
        assert!(rows.keys().any(|(it, _)| *it == table), "{}", table.name());
    }
    assert_eq!(started(&rows), started(&rows));
    assert!(started(&rows).is_ok());
}

#[test]
fn every_flipped_byte_of_a_value_is_refused_or_changes_nothing() {
    let rows = rows_of_all_kinds();
    let before = started(&rows).unwrap();
    for (place, value) in &rows {
        for at in (0..value.len()).filter(|at| !is_of_value(place.0, value, *at)) {
            for mask in [1, 0x20, 0x80] {
                let mut damaged = rows.clone();
                damaged.get_mut(place).unwrap()[at] ^= mask;
                let what = format!("{} value byte {at} ^ {mask}", shown(place.0, &place.1));
                check(&damaged, &before, &what);
            }
        }
    }
}

#[test]
fn every_flipped_byte_of_a_key_is_refused_or_changes_nothing() {
    let rows = rows_of_all_kinds();
    let before = started(&rows).unwrap();
    let rows_but_keys = rows.iter().filter(|((table, _), _)| *table != Table::Key);
    for ((table, key), value) in rows_but_keys {
        for at in 0..key.len() {
            for mask in [1, 0x20, 0x80] {
                let mut damaged = rows.clone();
                damaged.remove(&(*table, key.clone()));
                let mut other = key.clone();
                other[at] ^= mask;
                damaged.insert((*table, other), value.clone());
                let what = format!("{} key byte {at} ^ {mask}", shown(*table, key));
                check(&damaged, &before, &what);
            }
        }
    }
}

#[test]
fn every_dropped_cut_emptied_or_swapped_row_is_refused_or_changes_nothing() {
    let rows = rows_of_all_kinds();
    let before = started(&rows).unwrap();
    for (place, value) in &rows {
        let what = shown(place.0, &place.1);
        let mut dropped = rows.clone();
        dropped.remove(place);
        check(&dropped, &before, &format!("{what} dropped"));
        let lengths = if place.0 == Table::Key {
            0
        } else {
            value.len()
        };
        for length in 0..lengths {
            let mut cut = rows.clone();
            cut.get_mut(place).unwrap().truncate(length);
            check(&cut, &before, &format!("{what} cut to {length}"));
        }
        for other in rows.keys().filter(|other| other.0 == place.0) {
            let mut swapped = rows.clone();
            swapped.insert(place.clone(), rows[other].clone());
            swapped.insert(other.clone(), value.clone());
            check(&swapped, &before, &format!("{what} swapped with {other:?}"));
            let mut copied = rows.clone();
            copied.insert(place.clone(), rows[other].clone());
            check(&copied, &before, &format!("{what} now {other:?}"));
        }
    }
}

/// The rows of the other members are gone or unreadable: this one would elect itself alone, and answer
/// linearizable reads with what the others do not know.
#[test]
fn a_member_whose_others_are_damaged_or_gone_does_not_start_alone() {
    let rows = rows_of_all_kinds();
    let others = [2_u64, 4].map(|number| (Table::Members, format!("{number:016x}").into_bytes()));
    let mut scribbled = rows.clone();
    let mut gone = rows.clone();
    for other in &others {
        scribbled.insert(other.clone(), b"\xff\xff\xff\xff".to_vec());
        gone.remove(other);
    }
    let refused = started(&scribbled).unwrap_err();
    assert!(
        refused.starts_with("table members, key \"0000000000000002\": "),
        "{refused}"
    );
    let refused = started(&gone).unwrap_err();
    assert!(
        refused.starts_with("table members, key (all): 3 rows were stored and 1 are there; "),
        "{refused}"
    );
}

/// Tables of an earlier state are good rows, but not those that belong to the applied index.
#[test]
fn a_whole_table_of_an_earlier_day_is_refused() {
    let rows = rows_of_all_kinds();
    for table in Table::ALL {
        let mut earlier = rows.clone();
        earlier.retain(|(it, _), _| *it != table);
        assert!(started(&earlier).is_err(), "{}", table.name());
    }
}

/// The checksum of the state comes with the first entry that is applied. A defragmentation before it,
/// as at a start that is asked for one, must not make it look lost.
#[test]
fn a_database_of_before_checksums_starts_whenever_it_is_defragmented() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let options = LmdbOptions {
            row_checksums: false,
            ..LmdbOptions::default()
        };
        let engine = LmdbEngine::open(directory.path(), options).unwrap();
        Backend::open(engine, BackendOptions::default()).unwrap()
    };
    let start = |backend: &Backend| {
        let restored = Restored::read(backend.clone()).unwrap();
        Applier::restore(restored).unwrap()
    };
    let backend = open();
    let mut tx = backend.write();
    for ((table, key), value) in &rows_of_all_kinds() {
        tx.put(*table, key, Bytes::copy_from_slice(value));
    }
    tx.delete(Table::Meta, STATE_CHECKSUM_KEY);
    tx.end().unwrap();
    backend.commit().unwrap();
    backend.defragment().unwrap();
    let mut applier = start(&backend);
    let next = applier.applied().next();
    let entry = Entry {
        index: next,
        term: Term::new(1),
        kind: EntryKind::Empty,
    };
    applier.apply([entry]).unwrap();
    drop(applier);
    backend.commit().unwrap();
    backend.defragment().unwrap();
    drop(backend);

    let backend = open();
    assert_eq!(start(&backend).applied(), next);
    assert!(!backend.read().unwrap().is_before_checksums());
}

#[test]
fn what_is_stored_has_the_form_that_is_documented() {
    let rows = rows_of_all_kinds();
    let stored = &rows[&(Table::Meta, b"stateChecksum".to_vec())];
    let numbers = stored.as_chunks::<8>().0.iter();
    let numbers: Vec<_> = numbers.map(|it| u64::from_be_bytes(*it)).collect();
    // Version, applied index and term, revision, compacted revision and 1, live keys.
    assert_eq!(numbers[..6], [1, 25, 1, 8, 5, 3]);
    assert_eq!(numbers.len(), 23);
    let of = |table| {
        let rows = rows.iter().filter(|((it, _), _)| *it == table);
        RowsChecksum::of(rows.map(|((_, key), value)| (key, value))).to_parts()
    };
    let tables = [
        Table::Alarm,
        Table::Auth,
        Table::AuthRoles,
        Table::AuthUsers,
        Table::Cluster,
        Table::Lease,
        Table::Members,
        Table::MembersRemoved,
    ];
    assert_eq!(numbers[7..], tables.map(of).concat());
}
