//! Tables of command lines, variables and files, and what becomes of them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::feature_gate::FeatureGate;
use super::flag_table::FLAGS;
use super::notice::Severity;
use super::*;

fn start(
    arguments: &[&str],
    environment: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Invocation, SettingsError> {
    let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
    let environment: Vec<(String, String)> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    read(&arguments, &environment, |_| {
        file.map(str::to_owned)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    })
}

fn settings_of(invocation: Invocation) -> Settings {
    match invocation {
        Invocation::Serve(settings) => *settings,
        Invocation::Print(text) => panic!("printed {text}"),
    }
}

fn with_flags(arguments: &[&str]) -> Settings {
    settings_of(start(arguments, &[], None).unwrap())
}

fn with_file(text: &str) -> Settings {
    settings_of(start(&["--config-file", "f"], &[], Some(text)).unwrap())
}

fn refused(arguments: &[&str]) -> (u8, String) {
    let error = start(arguments, &[], None).unwrap_err();
    (error.exit_code(), error.to_string())
}

fn warnings(settings: &Settings) -> Vec<String> {
    let warnings = settings
        .notices
        .iter()
        .filter(|notice| notice.severity == Severity::Warn);
    warnings
        .map(|notice| notice.about.clone().unwrap_or_default())
        .collect()
}

fn listed(urls: &[Url]) -> String {
    urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",")
}

#[test]
fn a_start_without_flags_has_etcds_defaults_and_nothing_to_warn_of() {
    let settings = with_flags(&[]);
    assert_eq!(settings.name, "default");
    assert_eq!(settings.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(settings.wal_dir, None);
    assert_eq!(listed(&settings.advertise.clients), "http://localhost:2379");
    assert_eq!(
        settings.listen.clients[0].address(),
        &ListenAddress::Tcp("127.0.0.1:2379".parse().unwrap())
    );
    assert_eq!(settings.raft.election_ticks, 10);
    assert_eq!(settings.raft.initial_ticks, Some(8));
    let waits = with_flags(&["--initial-election-tick-advance=false"]);
    assert_eq!(waits.raft.initial_ticks, None);
    assert_eq!(
        settings.backend.quota,
        Quota::Bytes(NonZeroU64::new(2_147_483_648).unwrap())
    );
    assert_eq!(settings.backend.batch_interval, Duration::from_millis(100));
    assert_eq!(settings.backend.batch_ops_max, 10_000);
    assert_eq!(settings.compaction.auto, None);
    assert_eq!(settings.watch_progress_interval, Duration::from_secs(600));
    assert_eq!(settings.request_timeout(), Duration::from_secs(7));
    assert_eq!(settings.log.outputs, [LogOutput::Stderr]);
    assert_eq!(warnings(&settings), [""; 0]);
    let first = new_cluster(settings.first_start());
    assert_eq!(first.me.to_string(), "8e9e05c52164694d");
    assert_eq!(first.cluster_id.to_string(), "cdf818194e3a8c32");
}

#[test]
fn flags_are_read_in_every_form_and_the_last_wins() {
    for arguments in [
        &["--name", "n1"][..],
        &["--name=n1"],
        &["-name", "n1"],
        &["-name=n1"],
        &["--name", "n0", "-name=n1"],
        &["--name=n1", "--"],
    ] {
        let settings = with_flags(arguments);
        assert_eq!(settings.name, "n1", "{arguments:?}");
        assert_eq!(settings.data_dir, PathBuf::from("n1.etcd"), "{arguments:?}");
    }
    assert!(!with_flags(&["--pre-vote=false"]).raft.pre_vote);
    assert!(
        with_flags(&["--pre-vote=false", "--pre-vote"])
            .raft
            .pre_vote
    );
    assert_eq!(with_flags(&["--name="]).name, "");
    assert_eq!(with_flags(&["--name", "--odd"]).name, "--odd");
}

#[test]
fn command_lines_that_cannot_be_parsed_exit_with_2_and_name_the_flag() {
    for (arguments, text) in [
        (&["--bogus"][..], "flag provided but not defined: -bogus"),
        (&["--bogus=1"], "flag provided but not defined: -bogus"),
        (
            &["--experimental-peer-skip-client-san-verification"],
            "not defined: -experimental-peer",
        ),
        (
            &["--discovery", "x"],
            "flag provided but not defined: -discovery",
        ),
        (&["--name"], "flag needs an argument: -name"),
        (&["--pre-vote=x"], "for flag -pre-vote"),
        // etcd 3.7 knows the stage of 3.5 no more.
        (
            &["--v2-deprecation", "not-yet"],
            "invalid value \"not-yet\" for flag -v2-deprecation: invalid value \"not-yet\"",
        ),
        (
            &["--v2-deprecation", ""],
            "invalid value \"\" for flag -v2-deprecation: invalid value \"\"",
        ),
        (
            &["--max-txn-ops", "-1"],
            "invalid value \"-1\" for flag -max-txn-ops",
        ),
        (
            &["--grpc-keepalive-min-time", "5"],
            "for flag -grpc-keepalive-min-time",
        ),
        (
            &["--initial-cluster-state", "x"],
            "for flag -initial-cluster-state",
        ),
        (
            &["--listen-client-urls", "foo:1"],
            "URL scheme must be http",
        ),
        (&["--cors", "a.example"], "URL scheme must be http"),
        (&["---name", "x"], "bad flag syntax: ---name"),
    ] {
        let (code, message) = refused(arguments);
        assert!(message.contains(text), "{arguments:?}: {message}");
        assert_eq!(code, 2, "{arguments:?}");
    }
}

#[test]
fn settings_that_do_not_fit_exit_with_1_and_say_why() {
    for (arguments, text) in [
        (&["foo"][..], "\"foo\" is not a valid flag"),
        (&["--name", "a", "b"], "\"b\" is not a valid flag"),
        (
            &["--listen-client-urls", "http://127.0.0.1:1"],
            "--advertise-client-urls is required",
        ),
        (
            &[
                "--listen-client-urls",
                "http://foo:1",
                "--advertise-client-urls",
                "",
            ],
            "expected IP",
        ),
        (
            &["--advertise-client-urls", "http://:1"],
            "unexpected empty host",
        ),
        (&["--heartbeat-interval", "0"], "must be >0"),
        (&["--heartbeat-interval", "201"], "at least as 5 times"),
        (&["--election-timeout", "50001"], "too long"),
        (
            &["--auto-compaction-mode", "x"],
            "unknown auto-compaction-mode",
        ),
        (&["--auto-compaction-retention", "x"], "is no duration"),
        (
            &[
                "--auto-compaction-mode=revision",
                "--auto-compaction-retention=5m",
            ],
            "number of revisions",
        ),
        (&["--log-level", "loud"], "unknown --log-level"),
        (&["--log-format", "xml"], "unknown --log-format"),
        (&["--log-outputs", "default,stdout"], "multi logoutput"),
        (&["--logger", "capnslog"], "removed"),
        (
            &["--feature-gates", "Nope=true"],
            "unrecognized feature gate: Nope",
        ),
        (
            &["--feature-gates", "LeaseCheckpoint"],
            "missing bool value",
        ),
        (
            &["--feature-gates", "LeaseCheckpointPersist=true"],
            "requires enabling",
        ),
        (&["--compact-hash-check-time", "0s"], "must be >0"),
        (
            &["--discovery-fallback", "proxy"],
            "exit is the only choice",
        ),
    ] {
        let (code, message) = refused(arguments);
        assert!(message.contains(text), "{arguments:?}: {message}");
        assert_eq!(code, 1, "{arguments:?}");
    }
}

#[test]
fn tls_settings_that_do_not_fit_exit_with_1_and_say_why() {
    for (arguments, text) in [
        (
            &["--tls-min-version", "TLS1.1"][..],
            "unexpected TLS version",
        ),
        (
            &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "is greater than",
        ),
        (&["--cipher-suites", "NONE"], "unexpected TLS cipher suite"),
        (
            &[
                "--cipher-suites=TLS_AES_128_GCM_SHA256",
                "--tls-min-version=TLS1.3",
            ],
            "cannot be configured",
        ),
        (&["--cert-file", "c"], "--cert-file and --key-file"),
        (&["--client-key-file", "k"], "--client-cert-file and"),
        (&["--peer-key-file", "k"], "--peer-cert-file and"),
        (
            &["--auto-tls", "--self-signed-cert-validity=0"],
            "greater than 0",
        ),
        (
            &["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"],
            "mutually exclusive",
        ),
        (
            &[
                "--listen-client-urls=https://127.0.0.1:1",
                "--advertise-client-urls=https://127.0.0.1:1",
            ],
            "TLS key/cert (--cert-file, --key-file) must be provided",
        ),
        (
            &["--listen-metrics-urls=https://127.0.0.1:1"],
            "TLS key/cert (--cert-file, --key-file) must be provided",
        ),
        (
            &["--listen-peer-urls=https://127.0.0.1:1"],
            "TLS key/cert (--peer-cert-file, --peer-key-file) must be provided",
        ),
        (
            &["--grpc-keepalive-interval", "-1s"],
            "must not be negative",
        ),
        (
            &["--config-file", "missing"],
            "cannot read configuration file missing",
        ),
    ] {
        let (code, message) = refused(arguments);
        assert!(message.contains(text), "{arguments:?}: {message}");
        assert_eq!(code, 1, "{arguments:?}");
    }
}

#[test]
fn tls_to_the_discovery_service_is_what_etcds_client_makes_of_its_flags() {
    let tls = |arguments: &[&str]| {
        let service = ["--discovery-endpoints", "s:1", "--discovery-token", "t"];
        let settings = with_flags(&[&service, arguments].concat());
        match settings.discovery() {
            Discovery::Registry(registry) => registry.tls.clone(),
            Discovery::None | Discovery::Srv(_) => panic!("there is a service"),
        }
    };
    let plain = ServiceTls::default();
    let certificate = ServiceTls {
        identity: Some(KeyPairFiles {
            certificate: "c".into(),
            key: "k".into(),
        }),
        ..plain.clone()
    };
    let authorities = ServiceTls {
        authorities: Some("a".into()),
        ..plain.clone()
    };
    let anyone = ServiceTls {
        believes_anyone: true,
        ..plain.clone()
    };
    for (arguments, expected) in [
        (&[][..], None),
        (&["--discovery-insecure-transport=false"], Some(plain)),
        (
            &["--discovery-cert", "c", "--discovery-key", "k"],
            Some(certificate),
        ),
        (&["--discovery-cacert", "a"], Some(authorities)),
        (&["--discovery-insecure-skip-tls-verify"], Some(anyone)),
    ] {
        assert_eq!(tls(arguments), expected, "{arguments:?}");
    }
}

#[test]
fn deprecated_flags_are_named_with_the_words_of_etcd() {
    let settings = with_flags(&["--max-snapshots", "3", "--v2-deprecation", "gone"]);
    let words: Vec<_> = settings
        .notices
        .iter()
        .filter(|notice| notice.severity == Severity::Warn)
        .map(|notice| notice.message.as_str())
        .collect();
    assert_eq!(
        words,
        [
            "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
            "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value \
             is enforced, ignoring user input.",
        ]
    );
}

#[test]
fn metrics_over_tls_need_a_certificate() {
    let (_, text) = refused(&["--listen-metrics-urls", "https://127.0.0.1:2381"]);
    let etcd = "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure";
    assert!(text.starts_with(etcd), "{text}");
}

#[test]
fn what_has_no_effect_yet_is_said_once() {
    let settings = with_flags(&["--enable-pprof", "--memory-mlock", "--max-wals=9", "--v"]);
    assert_eq!(warnings(&settings), ["memory-mlock", "enable-pprof"]);
    assert_eq!(
        warnings(&with_flags(&[
            "--enable-pprof=false",
            "--memory-mlock=false"
        ])),
        [""; 0]
    );
    let gates = with_flags(&[
        "--feature-gates",
        "AllAlpha=true,LeaseCheckpointPersist=false",
    ]);
    assert!(gates.feature_gates.is_open(FeatureGate::LeaseCheckpoint));
    assert!(
        !gates
            .feature_gates
            .is_open(FeatureGate::LeaseCheckpointPersist)
    );
    assert!(gates.feature_gates.is_open(FeatureGate::FastLeaseKeepAlive));
}

#[test]
fn variables_stand_in_for_flags() {
    let environment = [
        ("ETCD_NAME", "e1"),
        ("ETCD_MAX_TXN_OPS", "7"),
        ("ETCD_PRE_VOTE", "false"),
        ("ETCD_WAL_DIR", ""),
        ("ETCD_PORT_2379_TCP", "tcp://10.0.0.1:2379"),
        ("ETCD_VERSION", "3.5.0"),
        ("PATH", "/bin"),
    ];
    let settings = settings_of(start(&[], &environment, None).unwrap());
    assert_eq!(settings.name, "e1");
    assert_eq!(settings.limits.txn_ops_max, 7);
    assert!(!settings.raft.pre_vote);
    assert_eq!(warnings(&settings), ["ETCD_PORT_2379_TCP", "ETCD_VERSION"]);
    let notices = format!("{:?}", settings.notices);
    assert!(
        !notices.contains("10.0.0.1"),
        "values of variables stay out of the log"
    );
}

#[test]
fn flag_and_variable_for_one_setting_are_fatal() {
    for value in ["x", ""] {
        let error = start(&["--name", "x"], &[("ETCD_NAME", value)], None).unwrap_err();
        assert!(
            matches!(error, SettingsError::SetTwice { name: "name", .. }),
            "{error}"
        );
        assert_eq!(error.exit_code(), 1);
    }
    let error = start(&[], &[("ETCD_MAX_TXN_OPS", "x")], None).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("invalid value \"x\" for ETCD_MAX_TXN_OPS"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn a_configuration_file_replaces_flags_and_variables() {
    let file = "name: 7\nheartbeat-interval: 50\ngrpc-keepalive-min-time: 1000000000\n";
    let environment = [
        ("ETCD_CONFIG_FILE", "f"),
        ("ETCD_NAME", "e"),
        ("ETCD_ODD", "e"),
    ];
    let settings =
        settings_of(start(&["--name=n", "--max-txn-ops=3"], &environment, Some(file)).unwrap());
    assert_eq!(settings.name, "7");
    assert_eq!(settings.limits.txn_ops_max, 128);
    assert_eq!(settings.raft.election_ticks, 20);
    assert_eq!(
        settings.keepalive.client_ping_interval_min,
        Duration::from_secs(1)
    );
    assert_eq!(warnings(&settings), [""; 0]);
}

/// etcd 3.7 reads both: a file that an editor of another system wrote, and of a key that stands twice the
/// last one.
#[test]
fn a_configuration_file_may_begin_with_a_byte_order_mark_and_have_a_key_twice() {
    let settings = with_file("\u{feff}name: first\nlog-level: warn\nname: second\n");
    assert_eq!(settings.name, "second");
    assert_eq!(settings.log.level, LogLevel::Warn);
}

#[test]
fn a_configuration_file_has_lists_nested_keys_and_unknown_keys() {
    let settings = with_file(
        "Name: n\n\
         listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2\n\
         initial-advertise-peer-urls:\n\
         log-outputs: [stdout, /tmp/x.log]\n\
         log-level: warn\n\
         socket-options: {reuse-port: true}\n\
         client-transport-security: {client-cert-auth: false, odd: 1}\n\
         quota-backend-bytes: -1\n\
         bogus: [1]\n",
    );
    assert_eq!(settings.listen.clients.len(), 2);
    assert_eq!(listed(&settings.advertise.clients), "http://localhost:2379");
    assert_eq!(listed(&settings.advertise.peers), "http://localhost:2380");
    assert_eq!(
        settings.log.outputs,
        [
            LogOutput::File(PathBuf::from("/tmp/x.log")),
            LogOutput::Stdout
        ]
    );
    assert_eq!(settings.log.level, LogLevel::Warn);
    assert!(settings.listen.reuse_port);
    assert_eq!(settings.backend.quota, Quota::Unlimited);
    assert_eq!(
        warnings(&settings),
        ["client-transport-security.odd", "bogus"]
    );
    assert_eq!(with_file("").name, "default");
    assert_eq!(with_file(r#"{"name": "json"}"#).name, "json");
}

#[test]
fn a_configuration_file_with_wrong_values_is_refused() {
    for (file, text) in [
        ("max-txn-ops: many", "invalid value for max-txn-ops"),
        ("max-txn-ops: '5'", "invalid value for max-txn-ops"),
        ("watch-progress-notify-interval: 10m", "nanoseconds"),
        ("pre-vote: 'true'", "invalid value for pre-vote"),
        (
            "client-transport-security: 5",
            "a map of settings is expected",
        ),
        (
            "discovery-config: {client: [1]}",
            "a map of settings is expected",
        ),
        ("- name", "not a map"),
        ("name: [", "not valid YAML"),
        (
            "client-transport-security: {cert-file: c}",
            "--cert-file and --key-file",
        ),
        (
            "discovery-config: {token: t, client: {endpoints: e, secure: {cert: c}}}",
            "both --discovery-cert and --discovery-key",
        ),
    ] {
        let error = start(&["--config-file=f"], &[], Some(file)).unwrap_err();
        assert!(error.to_string().contains(text), "{file}: {error}");
        assert_eq!(error.exit_code(), 1, "{file}");
    }
}

#[test]
fn an_empty_address_flag_keeps_the_default_but_counts_as_given() {
    let settings = with_flags(&[
        "--listen-client-urls=http://0.0.0.0:1",
        "--advertise-client-urls",
        "",
    ]);
    assert_eq!(listed(&settings.advertise.clients), "http://localhost:2379");
}

#[test]
fn auto_compaction_reads_hours_durations_and_revisions() {
    let auto = |mode: &str, retention: &str| {
        let arguments = [
            "--auto-compaction-mode",
            mode,
            "--auto-compaction-retention",
            retention,
        ];
        with_flags(&arguments).compaction.auto
    };
    let periodic = |secs| Some(AutoCompaction::Periodic(Duration::from_secs(secs)));
    assert_eq!(auto("periodic", "2"), periodic(7200));
    assert_eq!(auto("periodic", "5m"), periodic(300));
    assert_eq!(auto("periodic", "0"), None);
    assert_eq!(auto("revision", "0"), None);
    assert_eq!(
        auto("revision", "1000"),
        Some(AutoCompaction::Revisions(NonZeroU64::new(1000).unwrap()))
    );
}

#[test]
fn log_settings_are_read_as_etcd_reads_them() {
    let log = |arguments: &[&str]| with_flags(arguments).log;
    assert_eq!(log(&["--log-level=Info"]), LogSettings::default());
    assert_eq!(log(&["--log-level=fatal"]).level, LogLevel::Error);
    assert_eq!(log(&["--log-format=console"]).format, LogFormat::Console);
    assert_eq!(
        log(&["--log-outputs=stdout,stderr"]).outputs,
        [LogOutput::Stderr, LogOutput::Stdout]
    );
    assert_eq!(log(&["--log-outputs=/dev/null,stderr"]).outputs, []);
}

#[test]
fn zero_keepalive_means_grpcs_own_measure() {
    assert_eq!(
        with_flags(&["--grpc-keepalive-interval=0s"])
            .keepalive
            .server_ping,
        None
    );
    let ping = with_flags(&[]).keepalive.server_ping.unwrap();
    assert_eq!(
        (ping.interval.as_secs(), ping.timeout.as_secs()),
        (7200, 20)
    );
}

#[test]
fn a_first_start_takes_its_own_entry_of_the_initial_cluster() {
    let first = |arguments: &[&str]| with_flags(arguments).first_start();
    let first_with = |cluster: &str| {
        first(&[
            "--name=n",
            "--initial-cluster",
            cluster,
            "--initial-cluster-token=new",
            "--initial-advertise-peer-urls=https://localhost:20001",
        ])
    };
    let start = new_cluster(first_with("n=https://localhost:20001"));
    assert_eq!(start.me.get(), 0x00a8_f345_8387_986d);
    assert_eq!(start.cluster_id.get(), 0x34c2_1a2d_427d_b393);
    // A name may stand for any address; `localhost` is the same as itself alone.
    let by_name = first(&[
        "--name=n",
        "--initial-cluster=n=https://member-0.example:20001",
        "--initial-advertise-peer-urls=https://10.0.0.7:20001",
    ]);
    assert!(by_name.is_ok());
    for (cluster, text) in [
        ("", "couldn't find local name"),
        ("m=https://localhost:20001", "couldn't find local name"),
        ("n=https://localhost:20002", "give both the same addresses"),
        ("n=https://127.0.0.1:20001", "give both the same addresses"),
        ("n=https://10.0.0.1:20001", "give both the same addresses"),
        (
            "n=https://localhost:20001,n=https://localhost:20001",
            "duplicate url",
        ),
        (
            "n=https://localhost:20001,m=https://localhost:20001",
            "duplicate url",
        ),
        ("n=localhost", "URL scheme"),
        ("n=https://localhost:20001,m", "write NAME=URL"),
    ] {
        let error = first_with(cluster).unwrap_err().to_string();
        assert!(error.contains(text), "{cluster}: {error}");
    }
    assert!(first(&["--name="]).is_err());
    let alone = new_cluster(first(&[
        "--initial-advertise-peer-urls=http://10.0.0.1:2380",
    ]));
    assert_eq!(
        alone.members[0].peer_urls,
        [Url::parse("http://10.0.0.1:2380").unwrap()]
    );
}

fn new_cluster(start: Result<FirstStart, SettingsError>) -> NewCluster {
    match start.unwrap() {
        FirstStart::New(cluster) => cluster,
        FirstStart::Join(cluster) => panic!("joins {cluster:?}"),
    }
}

/// Numbers as etcd 3.7.1 gives them to the same flags.
#[test]
fn members_of_a_new_cluster_have_the_same_numbers_wherever_they_are_read() {
    let urls: Vec<String> = (1..=3)
        .map(|number| format!("http://127.0.0.1:1438{number}"))
        .collect();
    let cluster = format!("m1={},m2={},m3={}", urls[0], urls[1], urls[2]);
    let starts = urls.iter().enumerate().map(|(number, url)| {
        let name = format!("--name=m{}", number + 1);
        let own = format!("--initial-advertise-peer-urls={url}");
        new_cluster(with_flags(&[&name, &own, "--initial-cluster", &cluster]).first_start())
    });
    let starts: Vec<_> = starts.collect();
    let of = |start: &NewCluster| (start.cluster_id, start.members.clone());
    assert!(starts.iter().all(|start| of(start) == of(&starts[0])));
    let ids: Vec<_> = starts.iter().map(|start| start.me.to_string()).collect();
    assert_eq!(
        ids,
        ["fc418c949f011d6f", "3b978cc65c2c507e", "4136fee9d001fb5a"]
    );
    assert!(starts[0].members.is_sorted_by_key(|member| member.id));
}

#[test]
fn a_member_that_joins_knows_its_own_addresses_from_those_of_others() {
    let joins = |arguments: &[&str]| match with_flags(arguments).first_start().unwrap() {
        FirstStart::Join(cluster) => cluster,
        FirstStart::New(cluster) => panic!("begins {cluster:?}"),
    };
    let url = |text| Url::parse(text).unwrap();
    let joined = joins(&[
        "--initial-cluster-state=existing",
        "--name=n",
        "--initial-cluster=a=http://a:1,n=http://n:1,a=http://a:2",
    ]);
    assert_eq!(joined.own_urls, [url("http://n:1")]);
    assert_eq!(joined.others, [[url("http://a:1"), url("http://a:2")]]);
}

#[test]
fn origins_and_hosts_are_all_unless_listed() {
    let settings = with_flags(&["--host-whitelist=a,b", "--cors", "http://b:1,http://a:1"]);
    assert!(settings.http.hosts.contains("b") && !settings.http.hosts.contains("c"));
    assert!(settings.http.cors.contains("http://a:1") && !settings.http.cors.contains("*"));
    assert_eq!(with_flags(&["--host-whitelist="]).http.hosts, Allowed::All);
    assert_eq!(with_flags(&["--cors=*"]).http.cors, Allowed::All);
}

#[test]
fn flag_names_are_unique_and_explained() {
    let mut seen = BTreeSet::new();
    for flag in FLAGS {
        assert!(seen.insert(flag.name), "{} stands twice", flag.name);
        let is_explained = flag.help.ends_with('.') || flag.state == flag::State::Ignored;
        assert!(is_explained, "{} has no help", flag.name);
    }
}

/// Flags that etcd does not have, or has no more: the second API went with 3.6.
const OWN_FLAGS: [&str; 11] = [
    "alarm-clear-delay",
    "backup-base-interval",
    "backup-buffer-bytes",
    "backup-endpoint",
    "backup-interval",
    "backup-key-file",
    "backup-retention",
    "backup-url",
    "disk-reserve-bytes",
    "enable-v2",
    "unread-answers-bytes",
];

/// etcd 3.7.1's flags and defaults, as its binary registers them; 3.7's own rules for the five
/// that it sets up outside its flag table.
#[test]
fn flags_and_defaults_are_those_of_etcd() {
    let effective: BTreeMap<&str, &str> =
        FLAGS.iter().map(|flag| (flag.name, flag.default)).collect();
    let mut count = 0;
    for line in include_str!("etcd_flags.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let (name, default) = line.split_once('\t').unwrap();
        assert_eq!(effective.get(name), Some(&default), "--{name}");
        count += 1;
    }
    let shown = FLAGS
        .iter()
        .filter(|flag| flag.state != flag::State::Ignored && !OWN_FLAGS.contains(&flag.name))
        .count();
    assert_eq!(
        count, shown,
        "a flag that etcd does not have, or one too few"
    );
}

#[test]
fn help_is_what_was_reviewed() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/settings/help.txt");
    let Invocation::Print(help) = start(&["-h"], &[], None).unwrap() else {
        panic!("--help starts no server");
    };
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&golden, &help).unwrap();
    }
    let reviewed = std::fs::read_to_string(&golden).unwrap();
    assert_eq!(
        help, reviewed,
        "run with UPDATE_EXPECT=1 and review the difference"
    );
}

#[test]
fn version_and_help_print_and_start_nothing() {
    for arguments in [
        &["--version"][..],
        &["--name=x", "--version"],
        &["--help"],
        &["-h"],
    ] {
        assert!(
            matches!(start(arguments, &[], None), Ok(Invocation::Print(_))),
            "{arguments:?}"
        );
    }
}

#[test]
fn effective_settings_are_one_json_object_without_passwords() {
    let json: serde_json::Value =
        serde_json::from_str(&with_flags(&["--name=x"]).effective_json()).unwrap();
    assert_eq!(json["name"], "x");
    assert_eq!(
        json["listen-client-urls"],
        serde_json::json!(["http://localhost:2379"])
    );
    assert_eq!(json["max-txn-ops"], 128);
    assert_eq!(json["data-dir"], "x.etcd");
    assert_eq!(json["quota-backend-bytes"], 2_147_483_648_u64);
    assert_eq!(json["grpc-keepalive-interval"], "2h0m0s");
    assert!(json.get("discovery-password").is_none());
}
