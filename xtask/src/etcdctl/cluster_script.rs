//! What `etcdctl` is asked to do on clusters, in plain text or by certificate.
//!
//! In the secured ones everybody is `visitor` by his certificate unless the call says who (`AS:`).

use super::script::{Call, exact, lines, shape, with_stdin, words};

/// Leases whose ids the servers choose.
pub(super) const LEASES: &[Call] = &[
    exact("put k v"),
    exact("lease list"),
    exact("lease grant 600"),
    exact("put k leased --lease=LEASE"),
    shape("get k -w json"),
    shape("lease timetolive LEASE"),
    shape("lease timetolive LEASE --keys"),
    shape("lease timetolive LEASE --keys -w json"),
    shape("lease timetolive LEASE --keys -w fields"),
    exact("lease keep-alive LEASE --once"),
    shape("lease keep-alive LEASE --once -w json"),
    shape("lease list"),
    exact("put k free"),
    exact("lease revoke LEASE"),
    exact("get k --prefix"),
    exact("lease revoke LEASE"),
    exact("lease timetolive LEASE"),
    exact("lease keep-alive LEASE --once"),
    exact("put k lost --lease=LEASE"),
    exact("lease grant 0"),
    exact("lease grant 600 -w fields"),
];

/// Locks and elections: those who hold them are killed, so that their leases end them.
pub(super) const LOCKS: &[Call] = &[
    exact("lock name echo locked"),
    exact("lock name false"),
    lines("lock busy --ttl=1", 2),
    // Until the lease of the killed one is over.
    exact("lock busy echo expired"),
    exact("get busy --prefix"),
    lines("elect seat one", 2),
    lines("elect --listen seat", 2),
    exact("get seat --prefix --print-value-only"),
];

/// Somebody's data are said to be damaged.
pub(super) const ALARMS: &[Call] = &[
    exact("put k v"),
    exact("RAISE 2"),
    exact("alarm list").printed_since(7),
    exact("put k w"),
    exact("get k"),
    exact("get k --consistency=s"),
    exact("del k"),
    with_stdin("txn", "\nget k\n\n\n"),
    exact("lease grant 600"),
    exact("lock name echo locked"),
    exact("compaction 1"),
    shape("member list -w table").printed_since(7),
    exact("user list"),
    words("endpoint health --cluster").printed_since(7),
    // 3.4 writes a blank behind each alarm.
    shape("endpoint status -w json").since(7).printed_since(7),
    exact("alarm disarm").printed_since(7),
    exact("alarm list").printed_since(7),
    exact("put k w"),
    exact("get k"),
];

/// Members who come and go, the leader and alarms: last, when members have known each other long
/// enough to let etcd change who they are.
pub(super) const MEMBERSHIP: &[Call] = &[
    exact("alarm list").printed_since(7),
    exact("alarm disarm").printed_since(7),
    words("member list"),
    words("member list -w fields").printed_since(7),
    words("member list -w json"),
    shape("member list -w table").printed_since(7),
    exact("move-leader FOLLOWER"),
    exact("move-leader 4d2"),
    exact("get k"),
    words("member add four --learner --peer-urls=http://127.0.0.1:39999").printed_since(7),
    words("member list"),
    words("member list -w json"),
    // The same URL alone would make the same id within a second, which is refused otherwise.
    exact("member add five --peer-urls=http://127.0.0.1:39999,http://127.0.0.1:39995"),
    exact("member promote ADDED"),
    exact("member update ADDED --peer-urls=http://127.0.0.1:39998"),
    // 3.4 forgets that it is a learner.
    words("member list").since(7),
    exact("member remove ADDED"),
    exact("member remove ADDED"),
    exact("member update ADDED --peer-urls=http://127.0.0.1:39997"),
    // 3.4 does not answer.
    exact("member promote ADDED").since(7),
    exact("member remove 4d2"),
    // Within a second the same URL would be the same, removed member.
    words("member add four --peer-urls=http://127.0.0.1:39996"),
    words("member list"),
    exact("member promote ADDED"),
    exact("put k again"),
    exact("member remove ADDED"),
    words("member list"),
    words("endpoint health --cluster -w fields").printed_since(7),
];

/// Users by certificate, and what they may.
pub(super) const CERTIFIED: &[Call] = &[
    exact("user add root --no-password"),
    exact("user grant-role root root"),
    exact("user add alice --no-password"),
    exact("user add bob:secret"),
    exact("role add app"),
    exact("role grant-permission app readwrite app/ --prefix"),
    exact("role grant-permission app read config"),
    exact("user grant-role alice app"),
    exact("AS:root auth enable"),
    exact("AS:root auth status").printed_since(7),
    exact("AS:alice auth status").printed_since(7),
    exact("AS:root put config v1"),
    exact("AS:alice put app/name cairn"),
    exact("AS:alice get app/ --prefix"),
    exact("AS:alice get config"),
    exact("AS:alice put config v2"),
    exact("AS:alice get app/ --from-key"),
    exact("AS:alice del app/ --prefix --prev-kv"),
    exact("AS:alice user get alice"),
    exact("AS:alice user get root"),
    exact("AS:alice role get app"),
    exact("AS:alice user list"),
    exact("get config"),
    exact("put app/x y"),
    words("member list"),
    // A token counts more than a certificate.
    exact("AS:root --user bob:secret get config"),
    exact("AS:root --user bob:wrong get config"),
    exact("AS:root --user alice:any get config"),
    exact("--user bob:secret user get bob"),
    exact("AS:root user grant-role bob app"),
    exact("--user bob:secret get config"),
    with_stdin(
        "AS:alice txn",
        "mod(\"config\") > \"0\"\n\nput app/a 1\nget config\n\nput config lost\n\n",
    ),
    with_stdin(
        "AS:alice txn",
        "mod(\"config\") > \"0\"\n\nput app/a 2\nget config\n\nput app/a 3\n\n",
    ),
    lines("AS:alice watch app/ --prefix --rev=2", 3),
    exact("AS:alice watch other"),
    // Leases, locks and elections of users.
    exact("AS:alice lease grant 600"),
    exact("AS:alice put app/leased v --lease=LEASE"),
    shape("AS:alice lease timetolive LEASE --keys"),
    exact("AS:root put other v --lease=LEASE"),
    // 3.4 shows, keeps and compacts for everybody, and refuses in other words.
    exact("AS:alice lease timetolive LEASE --keys").since(7),
    exact("AS:alice lease revoke LEASE"),
    exact("AS:alice lease keep-alive LEASE --once").since(7),
    exact("AS:root lease revoke LEASE"),
    exact("AS:alice lock app/lock echo locked"),
    exact("AS:alice lock other echo locked"),
    lines("AS:alice elect app/seat alice", 2),
    // What is root's alone.
    exact("AS:alice alarm list"),
    exact("AS:alice alarm disarm"),
    exact("AS:alice compaction 2").since(7),
    exact("AS:alice defrag").since(7).printed_since(7),
    exact("AS:alice move-leader 4d2").since(7),
    exact("AS:alice member add four --peer-urls=http://127.0.0.1:39999"),
    exact("AS:alice auth disable"),
    exact("AS:root alarm list"),
    exact("AS:root role delete app"),
    exact("AS:alice get config"),
    exact("AS:root user delete bob"),
    exact("--user bob:secret get config"),
    exact("AS:root auth disable"),
    exact("AS:stranger --command-timeout=1s --dial-timeout=1s get config"),
    exact("get config"),
];
