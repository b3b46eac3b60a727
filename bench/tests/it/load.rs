//! What the generator sends and counts, and that it ends.

use std::time::{Duration, Instant};

use cairn_bench::endpoint::Endpoint;
use cairn_bench::key_space::{KeySpace, Order};
use cairn_bench::load::{Limit, LoadPlan};
use cairn_bench::probe;
use cairn_bench::progress::Progress;
use cairn_bench::pulse::Pulse;
use cairn_bench::scenario::{Consistency, Mixed, Renewals, puts, reads};
use cairn_bench::server_process::ServerProcess;
use cairn_bench::target::Target;

use crate::tiny_server::{Answer, TinyServer};

fn counted(endpoint: Endpoint, requests: u64) -> LoadPlan {
    LoadPlan {
        target: Target::one(endpoint).with_processes(vec![ServerProcess::own()]),
        threads: 2,
        connections: 3,
        clients: 20,
        rate: None,
        limit: Limit::Count {
            requests,
            deadline: Duration::from_secs(60),
        },
    }
}

fn keys() -> KeySpace {
    KeySpace::new("it/", 100, 16)
}

#[test]
fn exactly_the_given_number_of_requests_is_sent_and_counted() {
    let server = TinyServer::start(Answer::Well);
    let puts = puts(keys(), Order::Sequential, 64);
    let measured = counted(server.endpoint, 1000)
        .run("put", &puts, Progress::Quiet)
        .unwrap();
    assert_eq!(server.calls(), 1000);
    assert_eq!((measured.operations, measured.errors), (1000, 0));
    assert_eq!(measured.latency("put").unwrap().count, 1000);
    // Five bytes of frame head and four of message each.
    assert_eq!(measured.received_bytes, 9000);
}

#[test]
fn connections_are_spread_over_all_members() {
    let servers = [(); 3].map(|()| TinyServer::start(Answer::Well));
    let endpoints = servers.iter().map(|server| server.endpoint).collect();
    let plan = LoadPlan {
        target: Target::new(endpoints).unwrap(),
        threads: 1,
        ..counted(servers[0].endpoint, 300)
    };
    let puts = puts(keys(), Order::Random, 8);
    plan.run("put", &puts, Progress::Quiet).unwrap();
    let calls = servers.map(|server| server.calls());
    assert_eq!(calls.iter().sum::<u64>(), 300);
    assert!(calls.iter().all(|calls| *calls > 0), "{calls:?}");
}

#[test]
fn each_client_renews_on_one_stream() {
    let server = TinyServer::start(Answer::Each);
    let renewals = Renewals { leases: 7 };
    let measured = counted(server.endpoint, 1000)
        .run("keep-alive", &renewals, Progress::Quiet)
        .unwrap();
    assert_eq!((measured.operations, measured.errors), (1000, 0));
    assert_eq!(server.calls(), 20);
}

#[test]
fn a_pulse_goes_on_with_the_member_that_acknowledges() {
    let [well, failing] = [Answer::Well, Answer::Error("14")].map(TinyServer::start);
    let pulse = Pulse::start(vec![failing.endpoint, well.endpoint]).unwrap();
    let wait_max = Duration::from_secs(60);
    for _ in 0..3 {
        pulse
            .wait_for_one_sent_after(Instant::now(), wait_max)
            .unwrap();
    }
    let acknowledged = pulse.end().unwrap();
    assert!(acknowledged.is_sorted() && acknowledged.len() >= 3);
    assert!(failing.calls() > 0);
    assert!(acknowledged.len() as u64 <= well.calls());
}

#[test]
fn each_kind_of_request_has_its_own_latencies() {
    let server = TinyServer::start(Answer::Well);
    let reads = reads(keys(), Order::Random, Consistency::Serializable);
    let mixed = Mixed::new(reads, puts(keys(), Order::Random, 8), 50);
    let measured = counted(server.endpoint, 500)
        .run("mixed", &mixed, Progress::Quiet)
        .unwrap();
    let counts = ["range", "put"].map(|kind| measured.latency(kind).unwrap().count);
    assert_eq!(counts.iter().sum::<u64>(), 500);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn a_run_bounded_by_time_ends_and_counts_only_what_is_measured() {
    let server = TinyServer::start(Answer::Well);
    let limit = Limit::Duration {
        warm_up: Duration::from_millis(50),
        measure: Duration::from_millis(100),
    };
    let plan = LoadPlan {
        limit,
        rate: Some(2000.0),
        ..counted(server.endpoint, 0)
    };
    let puts = puts(keys(), Order::Random, 8);
    let measured = plan.run("put", &puts, Progress::Quiet).unwrap();
    assert!(measured.operations > 0 && measured.operations < server.calls());
}

#[test]
fn clients_give_up_on_a_server_that_refuses_everything() {
    let server = TinyServer::start(Answer::Error("8"));
    let puts = puts(keys(), Order::Random, 8);
    let error = counted(server.endpoint, 1_000_000)
        .run("put", &puts, Progress::Quiet)
        .unwrap_err();
    assert!(
        error.to_string().contains("gRPC status 8: as told"),
        "{error:#}"
    );
    assert_eq!(server.calls(), 20 * 10);
}

#[test]
fn nobody_listening_is_an_error_at_once() {
    let endpoint = Endpoint::free(1).unwrap()[0];
    let puts = puts(keys(), Order::Random, 8);
    let error = counted(endpoint, 10)
        .run("put", &puts, Progress::Quiet)
        .unwrap_err();
    assert!(format!("{error:#}").contains("connecting to"), "{error:#}");
}

#[test]
fn answers_to_single_questions_are_decoded() {
    let server = TinyServer::start(Answer::Well);
    assert_eq!(probe::count(server.endpoint, &keys()).unwrap(), 7);
    probe::wait_until_ready(server.endpoint, Duration::from_secs(60)).unwrap();
}
