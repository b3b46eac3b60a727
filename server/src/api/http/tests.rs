//! Pages of a member that only pretends.

use std::collections::BTreeSet;
use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::metrics::MetricsSource;
use crate::settings::{Allowed, HttpSettings, Invocation, MetricsDetail, read};

#[derive(Clone)]
struct State {
    has_leader: bool,
    is_learner: bool,
    alarms: Vec<Alarm>,
    linearizable: Answer,
    serializable: Answer,
    versions: Versions,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Good,
    Fails,
    Hangs,
}

struct FakeMember(Mutex<State>);

impl Probe for FakeMember {
    fn has_leader(&self) -> bool {
        self.0.lock().unwrap().has_leader
    }

    fn is_learner(&self) -> bool {
        self.0.lock().unwrap().is_learner
    }

    fn alarms(&self) -> Vec<Alarm> {
        self.0.lock().unwrap().alarms.clone()
    }

    fn read(&self, consistency: Consistency) -> ProbeFuture<'_> {
        let state = self.0.lock().unwrap();
        let answer = match consistency {
            Consistency::Linearizable => state.linearizable,
            Consistency::Serializable => state.serializable,
        };
        Box::pin(async move {
            match answer {
                Answer::Good => Ok(()),
                Answer::Fails => Err(ProbeError {
                    reason: "etcdserver: \"no\"".into(),
                }),
                Answer::Hangs => std::future::pending().await,
            }
        })
    }

    fn versions(&self) -> Versions {
        self.0.lock().unwrap().versions.clone()
    }

    fn measure(&self, metrics: &Metrics) {
        let has_leader = self.0.lock().unwrap().has_leader;
        metrics.server_has_leader.set(has_leader.into());
    }
}

fn healthy() -> State {
    State {
        has_leader: true,
        is_learner: false,
        alarms: Vec::new(),
        linearizable: Answer::Good,
        serializable: Answer::Good,
        versions: Versions {
            cluster: Some("3.7.0".into()),
            storage: Some("3.7.0".into()),
        },
    }
}

fn parts(state: State) -> HttpParts {
    let Invocation::Serve(settings) =
        read(&[], &[], |_| Err(std::io::ErrorKind::NotFound.into())).unwrap()
    else {
        panic!("no flags start a server");
    };
    let metrics = Metrics::new(MetricsSource {
        feature_gates: &settings.feature_gates,
        grpc_methods: &[],
        detail: MetricsDetail::Basic,
    });
    HttpParts {
        probe: Arc::new(FakeMember(Mutex::new(state))),
        metrics: Arc::new(metrics.unwrap()),
        request_timeout: Duration::from_millis(20),
    }
}

fn open() -> HttpSettings {
    HttpSettings {
        cors: Allowed::All,
        hosts: Allowed::All,
        gateway: true,
        v2: false,
    }
}

fn request(method: &str, path: &str) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "localhost:2379");
    request.body(Body::empty()).unwrap()
}

fn send(router: Router, request: Request<Body>) -> Response<Body> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let response = router.oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Response::from_parts(head, Body::from(body))
    })
}

fn text(response: Response<Body>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let body = runtime.block_on(async { response.into_body().collect().await.unwrap().to_bytes() });
    String::from_utf8(body.to_vec()).unwrap()
}

fn header(response: &Response<Body>, name: &str) -> String {
    let value = response.headers().get(name);
    value
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

/// What the pages answer to a request if it is let in.
fn admitted(settings: HttpSettings, request: Request<Body>) -> Response<Body> {
    match Access::new(settings).admit(&request) {
        Ok(admitted) => {
            let pages = client_router(parts(healthy()), Router::new());
            admitted.answered(send(pages, request))
        }
        Err(answer) => *answer,
    }
}

/// Status and body of a GET.
fn get(state: &State, path: &str) -> (u16, String) {
    let response = send(
        client_router(parts(state.clone()), Router::new()),
        request("GET", path),
    );
    (response.status().as_u16(), text(response))
}

const HEALTHY: &str = r#"{"health":"true","reason":""}"#;

#[test]
fn a_healthy_member_answers_as_etcd_does_to_the_letter() {
    let state = healthy();
    let version = r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#;
    for (path, body) in [
        ("/version", version),
        ("/health", HEALTHY),
        ("/health?serializable=true", HEALTHY),
        ("/livez", "ok\n"),
        ("/readyz", "ok\n"),
        ("/livez?verbose", "[+]serializable_read ok\nok\n"),
        ("/livez/serializable_read", "ok\n"),
        ("/readyz/data_corruption", "ok\n"),
        (
            "/readyz/linearizable_read?verbose",
            "[+]linearizable_read ok\nok\n",
        ),
        (
            "/readyz/linearizable_read?verbose&exclude=linearizable_read",
            "[+]linearizable_read ok\nok\n",
        ),
        (
            "/readyz?verbose",
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n\
             [+]non_learner ok\nok\n",
        ),
        (
            "/readyz?verbose&exclude=linearizable_read&exclude=nonsense",
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]non_learner ok\nok\n",
        ),
    ] {
        assert_eq!(get(&state, path), (200, body.to_owned()), "{path}");
    }
}

#[test]
fn versions_not_decided_are_said_to_be_so() {
    let state = State {
        versions: Versions::default(),
        ..healthy()
    };
    let body = r#"{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}"#;
    assert_eq!(get(&state, "/version"), (200, body.to_owned()));
}

#[test]
fn health_names_what_is_wrong_first() {
    let no_space = State {
        alarms: vec![Alarm::NoSpace],
        ..healthy()
    };
    let both = State {
        alarms: vec![Alarm::NoSpace, Alarm::Corrupt],
        ..healthy()
    };
    let no_leader = State {
        has_leader: false,
        ..healthy()
    };
    let fails = State {
        linearizable: Answer::Fails,
        ..healthy()
    };
    let hangs = State {
        linearizable: Answer::Hangs,
        ..healthy()
    };
    let ill = |reason: &str| {
        (
            503,
            format!("{{\"health\":\"false\",\"reason\":\"{reason}\"}}\n"),
        )
    };
    let well = || (200, HEALTHY.to_owned());
    for (state, path, answer) in [
        (&no_space, "/health", ill("ALARM NOSPACE")),
        (&no_space, "/health?exclude=NOSPACE", well()),
        (&both, "/health?exclude=NOSPACE", ill("ALARM CORRUPT")),
        (&both, "/health?exclude=NOSPACE&exclude=CORRUPT", well()),
        (&no_leader, "/health", ill("RAFT NO LEADER")),
        (&no_leader, "/health?serializable=true", well()),
        (&no_leader, "/health?serializable=1", ill("RAFT NO LEADER")),
        (&fails, "/health", ill(r#"RANGE ERROR:etcdserver: \"no\""#)),
        (&fails, "/health?serializable=true", well()),
        (
            &hangs,
            "/health",
            ill("RANGE ERROR:etcdserver: request timed out"),
        ),
    ] {
        assert_eq!(get(state, path), answer, "{path}");
    }
}

#[test]
fn readiness_names_every_check_that_failed_and_liveness_only_its_own() {
    let corrupt = State {
        alarms: vec![Alarm::Corrupt],
        ..healthy()
    };
    let learner = State {
        is_learner: true,
        ..healthy()
    };
    let no_space = State {
        alarms: vec![Alarm::NoSpace],
        ..healthy()
    };
    let hangs = State {
        linearizable: Answer::Hangs,
        ..healthy()
    };
    assert_eq!(
        get(&corrupt, "/readyz"),
        (
            503,
            "[-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n\
             [+]linearizable_read ok\n[+]non_learner ok\n\n"
                .to_owned()
        )
    );
    assert_eq!(get(&corrupt, "/readyz?exclude=data_corruption").0, 200);
    assert_eq!(get(&corrupt, "/livez").0, 200);
    assert_eq!(
        get(&learner, "/readyz/non_learner"),
        (
            503,
            "[-]non_learner failed: not supported for learner\n\n".to_owned()
        )
    );
    assert_eq!(get(&no_space, "/readyz").0, 200);
    assert_eq!(
        get(&hangs, "/readyz/linearizable_read").1,
        "[-]linearizable_read failed: etcdserver: request timed out\n\n"
    );
    assert_eq!(get(&hangs, "/livez").0, 200);
}

#[test]
fn only_get_is_allowed_where_etcd_allows_only_get() {
    for path in [
        "/version",
        "/health",
        "/livez",
        "/readyz",
        "/livez/serializable_read",
        "/debug/vars",
    ] {
        for method in ["POST", "PUT", "DELETE", "HEAD"] {
            let response = send(
                client_router(parts(healthy()), Router::new()),
                request(method, path),
            );
            assert_eq!(
                response.status(),
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert_eq!(header(&response, "allow"), "GET", "{method} {path}");
            assert_eq!(header(&response, "x-content-type-options"), "nosniff");
            if method != "HEAD" {
                assert_eq!(text(response), "Method Not Allowed\n", "{method} {path}");
            }
        }
    }
}

#[test]
fn other_paths_are_not_found() {
    for path in [
        "/",
        "/nope",
        "/livez/",
        "/livez/nope",
        "/readyz/nope",
        "/v2/keys",
        "/members",
    ] {
        assert_eq!(
            get(&healthy(), path),
            (404, "404 page not found\n".to_owned()),
            "{path}"
        );
    }
    let monitoring = send(
        monitoring_router(parts(healthy())),
        request("GET", "/version"),
    );
    assert_eq!(monitoring.status(), StatusCode::NOT_FOUND);
}

#[test]
fn metrics_are_scraped_and_count_the_checks_themselves() {
    let parts = parts(healthy());
    for path in ["/health", "/readyz", "/livez"] {
        send(monitoring_router(parts.clone()), request("GET", path));
    }
    let response = send(monitoring_router(parts), request("GET", "/metrics"));
    assert_eq!(
        header(&response, "content-type"),
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    );
    let text = text(response);
    for line in [
        "etcd_server_health_success 1",
        "etcd_server_health_failures 0",
        "etcd_server_has_leader 1",
        "etcd_server_healthcheck{name=\"serializable_read\",type=\"livez\"} 1",
        "etcd_server_healthchecks_total{name=\"non_learner\",status=\"success\",type=\"readyz\"} 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}");
    }
}

#[test]
fn content_types_are_etcds() {
    for (path, content_type) in [
        ("/version", "application/json"),
        ("/health", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        ("/debug/vars", "application/json; charset=utf-8"),
    ] {
        let response = send(
            client_router(parts(healthy()), Router::new()),
            request("GET", path),
        );
        assert_eq!(header(&response, "content-type"), content_type, "{path}");
    }
    let vars: serde_json::Value = serde_json::from_str(&get(&healthy(), "/debug/vars").1).unwrap();
    assert_eq!(vars["etcd_version"], "3.7.1");
}

#[test]
fn browsers_are_told_where_they_may_call_from() {
    let origin = |cors: Allowed, method: &str, origin: &str| {
        let settings = HttpSettings { cors, ..open() };
        let mut request = request(method, "/version");
        request
            .headers_mut()
            .insert("Origin", origin.parse().unwrap());
        let response = admitted(settings, request);
        (
            response.status().as_u16(),
            header(&response, "access-control-allow-origin"),
        )
    };
    let only = || Allowed::Only(BTreeSet::from(["http://a:1".to_owned()]));
    assert_eq!(
        origin(Allowed::All, "GET", "http://b:1"),
        (200, "*".to_owned())
    );
    assert_eq!(
        origin(Allowed::All, "OPTIONS", "http://b:1"),
        (200, "*".to_owned())
    );
    assert_eq!(
        origin(only(), "GET", "http://a:1"),
        (200, "http://a:1".to_owned())
    );
    assert_eq!(origin(only(), "GET", "http://b:1"), (200, String::new()));
}

#[test]
fn requests_under_a_foreign_name_are_misdirected() {
    let hosts = Allowed::Only(BTreeSet::from([
        "good.example".to_owned(),
        "::1".to_owned(),
    ]));
    for (host, status) in [
        ("good.example", 200),
        ("good.example:2379", 200),
        ("[::1]:2379", 200),
        ("evil.example", 421),
        ("localhost:2379", 421),
    ] {
        let settings = HttpSettings {
            hosts: hosts.clone(),
            ..open()
        };
        let mut request = request("GET", "/version");
        request.headers_mut().insert("Host", host.parse().unwrap());
        let response = admitted(settings, request);
        assert_eq!(response.status().as_u16(), status, "{host}");
    }
}
