//! What `etcdctl` is asked to do, in order, on a fresh server.

/// How much of an answer must be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sameness {
    /// All but ids, addresses, terms and times.
    Exact,
    /// Which words and fields there are; numbers may differ.
    Shape,
    /// The same lines, and words in a line, in any order.
    Words,
}

/// One call of `etcdctl`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// Its arguments, with spaces between them; words in capitals are of this session:
    /// see [`Session`](super::session::Session).
    pub(super) line: &'static str,
    pub(super) stdin: &'static str,
    pub(super) sameness: Sameness,
    /// A call that does not end by itself is ended after so many lines.
    pub(super) lines: Option<usize>,
    /// The first minor release of etcd that is asked.
    pub(super) since: u32,
    /// The first minor release of etcdctl that prints this answer as the latest does.
    pub(super) printed_since: u32,
}

impl Call {
    /// Older etcds are not asked: they answer otherwise.
    pub(super) const fn since(self, since: u32) -> Self {
        Self { since, ..self }
    }

    /// Older etcdctls print something else.
    pub(super) const fn printed_since(self, printed_since: u32) -> Self {
        Self {
            printed_since,
            ..self
        }
    }
}

pub(super) const fn exact(line: &'static str) -> Call {
    with_stdin(line, "")
}

pub(super) const fn with_stdin(line: &'static str, stdin: &'static str) -> Call {
    Call {
        line,
        stdin,
        sameness: Sameness::Exact,
        lines: None,
        since: 0,
        printed_since: 0,
    }
}

pub(super) const fn shape(line: &'static str) -> Call {
    Call {
        sameness: Sameness::Shape,
        ..exact(line)
    }
}

pub(super) const fn words(line: &'static str) -> Call {
    Call {
        sameness: Sameness::Words,
        ..exact(line)
    }
}

pub(super) const fn lines(line: &'static str, lines: usize) -> Call {
    Call {
        lines: Some(lines),
        ..exact(line)
    }
}

/// Keys, their past, watches and maintenance.
pub(super) const DATA: &[Call] = &[
    // Put.
    exact("put foo bar"),
    exact("put foo bar2 --prev-kv"),
    with_stdin("put fool", "from standard input"),
    exact("put foo --ignore-value --prev-kv"),
    exact("put nothing --ignore-value"),
    exact("put foo lost --lease=4d2"),
    exact("put zebra stripes -w json"),
    exact("put zebra spots --prev-kv -w json"),
    exact("put apple red -w fields"),
    // Get, with every option.
    exact("get foo"),
    exact("get missing"),
    exact("get foo -w json"),
    exact("get foo -w fields"),
    exact("get foo --hex"),
    exact("get foo --print-value-only"),
    exact("get foo --rev=2"),
    exact("get foo --rev=3 -w json"),
    exact("get foo --rev=9999"),
    exact("get foo --consistency=s"),
    exact("get a g"),
    exact("get g a"),
    exact("get fo --prefix"),
    exact("get fo --prefix --keys-only"),
    exact("get fo --prefix --count-only -w fields").printed_since(7),
    exact("get fo --prefix --limit=1 -w json"),
    exact("get --from-key fool"),
    exact("get --prefix --order=DESCEND --sort-by=KEY f"),
    exact("get --from-key a --sort-by=MODIFY --order=ASCEND"),
    exact("get --from-key a --sort-by=VERSION --order=DESCEND --limit=2"),
    exact("get --from-key a --sort-by=CREATE"),
    exact("get --from-key a --sort-by=VALUE -w json"),
    // Txn.
    with_stdin(
        "txn",
        "mod(\"foo\") > \"0\"\n\nput foo changed\nget foo\n\nput foo unchanged\n\n",
    ),
    with_stdin(
        "txn",
        "value(\"foo\") = \"nothing\"\n\nput foo unchanged\n\nget foo\ndel fool --prev-kv\n\n",
    ),
    with_stdin(
        "txn -w json",
        "create(\"new\") = \"0\"\n\nput new 1\n\nget new\n\n",
    )
    .printed_since(7),
    with_stdin("txn", "ver(\"foo\") < \"2\"\n\n\nget foo --rev=9999\n\n"),
    with_stdin("txn", "\nput foo once\nput foo twice\n\n\n"),
    // Del.
    exact("del missing"),
    exact("del new --prev-kv"),
    exact("del zebra -w json"),
    exact("put zebra again"),
    exact("del --from-key z --prev-kv"),
    exact("put dir/1 one"),
    exact("put dir/2 two"),
    exact("del dir/ --prefix -w fields"),
    // Watch; what follows a watch tells nothing about it, so it looks at the past.
    lines("watch foo --rev=2", 12),
    lines("watch foo --rev=2 --prev-kv", 10),
    lines("watch --prefix dir/ --rev=2", 10),
    lines("watch a z --rev=3 -w json", 3).printed_since(7),
    // Compaction.
    exact("compaction 4"),
    exact("get foo --rev=4"),
    exact("get foo --rev=3"),
    exact("compaction 4"),
    exact("compaction 9999"),
    exact("compaction --physical 8"),
    exact("watch foo --rev=2"),
    // Maintenance.
    exact("endpoint hashkv -w json").printed_since(7),
    exact("endpoint hashkv -w fields").printed_since(7),
    shape("endpoint hashkv").printed_since(7),
    exact("endpoint health"),
    shape("endpoint health -w json"),
    shape("endpoint health -w table").printed_since(7),
    shape("endpoint status").printed_since(7),
    shape("endpoint status -w json").printed_since(7),
    shape("endpoint status -w fields").printed_since(7),
    shape("endpoint status -w table").printed_since(7),
    exact("alarm list").printed_since(7),
    exact("alarm disarm").printed_since(7),
    exact("defrag").printed_since(7),
    exact("snapshot save SNAPSHOT").printed_since(7),
    exact("get foo"),
];

/// Leases of one id, and what etcdctl makes of leases and transactions by itself. After the
/// hashes, which ids of leases are part of.
pub(super) const LEASES_AND_LOCKS: &[Call] = &[
    exact("lease grant 6000"),
    exact("lease grant 9000000001"),
    shape("lease list"),
    exact("lease timetolive 4d2"),
    exact("lease timetolive 4d2 --keys"),
    exact("lease timetolive 4d2 -w json"),
    exact("lease keep-alive 4d2 --once"),
    exact("lease revoke 4d2"),
    exact("lock name echo locked"),
    lines("elect name value", 2),
];

/// The only member there is.
pub(super) const MEMBER: &[Call] = &[
    exact("member list"),
    exact("member list -w json"),
    shape("member list -w table").printed_since(7),
    exact("member list -w fields").printed_since(7),
];

/// Users and roles, from the first to none again.
pub(super) const USERS: &[Call] = &[
    exact("user add root:pw"),
    exact("user add root:pw"),
    exact("user add u:u"),
    exact("user add certified --no-password"),
    exact("user list"),
    exact("user list -w json"),
    exact("role add r"),
    exact("role add r"),
    exact("role grant-permission r read foo"),
    exact("role grant-permission r readwrite dir/ --prefix"),
    exact("role grant-permission r write x --from-key"),
    exact("role grant-permission nothing read a"),
    exact("role get r"),
    exact("role get r -w json"),
    exact("role list"),
    exact("auth enable"),
    exact("user grant-role root root"),
    exact("user grant-role u r"),
    exact("user grant-role u nothing"),
    exact("user get u"),
    exact("user get u --detail"),
    exact("auth status").printed_since(7),
    exact("auth enable"),
    exact("get foo"),
    exact("put foo 1"),
    exact("--user root:pw auth status").printed_since(7),
    exact("--user u:u get foo"),
    exact("--user u:u put foo 1"),
    exact("--user u:u put dir/3 three"),
    exact("--user u:u get dir/ --prefix"),
    exact("--user u:u get dir/ --from-key"),
    exact("--user u:u watch foo zoo"),
    exact("--user u:u user get u"),
    exact("--user u:u user list"),
    exact("--user u:wrong get foo"),
    exact("--user nobody:pw get foo"),
    exact("--user certified:x get foo"),
    with_stdin("--user root:pw user passwd u --interactive=false", "new\n"),
    exact("--user u:u get foo"),
    exact("--user u:new get foo"),
    words("--user u:new member list"),
    exact("--user u:new alarm list"),
    exact("--user root:pw role revoke-permission r foo"),
    exact("--user root:pw role revoke-permission r foo"),
    exact("--user u:new get foo"),
    exact("--user root:pw user revoke-role u r"),
    exact("--user root:pw user revoke-role root root"),
    exact("--user root:pw user delete root"),
    exact("--user root:pw role delete r"),
    exact("--user root:pw user delete u"),
    exact("--user root:pw user delete u"),
    exact("--user root:pw auth disable"),
    exact("get foo"),
];
