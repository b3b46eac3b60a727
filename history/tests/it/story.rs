//! Short histories, written by hand.

use cairn_history::{
    Answer, ClientId, Event, EventKind, History, IncidentKind, KeyRange, KeyValue, LeaseId,
    LeaseTimes, Limits, MemberId, OpId, Outcome, PutRequest, RangeRequest, RangeResponse, Refusal,
    Request, Response, Revision, Rule, Time, Verdict, WatchId, WatchRequest, WatchResponse,
    WatchSays, check,
};

const SECOND: u64 = 1_000_000_000;

/// A history under construction; times are in seconds.
#[derive(Clone, Default)]
pub(crate) struct Story {
    pub(crate) history: History,
}

/// From when to when.
pub(crate) type Span = (u64, u64);

pub(crate) fn time(seconds: u64) -> Time {
    Time(seconds * SECOND)
}

/// A version of a key: created, modified, version.
pub(crate) fn kv(key: &str, value: &str, (create, modified, version): (i64, i64, i64)) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: value.into(),
        create_revision: Revision(create),
        mod_revision: Revision(modified),
        version,
        lease: None,
    }
}

pub(crate) fn put_event(kv: KeyValue, prev_kv: Option<KeyValue>) -> Event {
    Event {
        kind: EventKind::Put,
        kv,
        prev_kv,
    }
}

pub(crate) fn delete_event(key: &str, revision: i64) -> Event {
    let kv = KeyValue {
        key: key.into(),
        mod_revision: Revision(revision),
        ..KeyValue::default()
    };
    Event {
        kind: EventKind::Delete,
        kv,
        prev_kv: None,
    }
}

pub(crate) fn found(kvs: Vec<KeyValue>) -> Response {
    let count = i64::try_from(kvs.len()).unwrap();
    Response::Range(RangeResponse {
        kvs,
        more: false,
        count,
    })
}

impl Story {
    pub(crate) fn call(&mut self, client: u32, at: u64, request: Request) -> OpId {
        let member = MemberId(u64::from(client % 3));
        self.history
            .call(ClientId(client), member, time(at), request)
    }

    pub(crate) fn done(
        &mut self,
        client: u32,
        (call, end): Span,
        request: Request,
        (revision, body): (i64, Response),
    ) -> OpId {
        let op = self.call(client, call, request);
        let answer = Answer {
            at: time(end),
            revision: Some(Revision(revision)),
            term: None,
            body,
        };
        self.history.end(op, Outcome::Ok(answer));
        op
    }

    pub(crate) fn refused(
        &mut self,
        client: u32,
        (call, end): Span,
        request: Request,
        why: Refusal,
    ) -> OpId {
        let op = self.call(client, call, request);
        let at = time(end);
        self.history.end(op, Outcome::Refused { at, why });
        op
    }

    pub(crate) fn put(&mut self, span: Span, key: &str, value: &str, revision: i64) -> OpId {
        let answer = (revision, Response::Put(None));
        self.done(0, span, Request::put(key, value), answer)
    }

    pub(crate) fn put_under(&mut self, span: Span, key: &str, lease: i64, revision: i64) -> OpId {
        let answer = (revision, Response::Put(None));
        self.done(0, span, under(key, lease), answer)
    }

    /// A linearizable read of one key.
    pub(crate) fn get(&mut self, span: Span, key: &str, revision: i64, kvs: Vec<KeyValue>) -> OpId {
        self.done(1, span, Request::get(key), (revision, found(kvs)))
    }

    /// A serializable read of one key.
    pub(crate) fn peek(
        &mut self,
        span: Span,
        key: &str,
        revision: i64,
        kvs: Vec<KeyValue>,
    ) -> OpId {
        let mut read = RangeRequest::new(KeyRange::One(key.into()));
        read.serializable = true;
        self.done(1, span, Request::Range(read), (revision, found(kvs)))
    }

    pub(crate) fn grant(&mut self, span: Span, lease: i64, ttl_secs: i64, revision: i64) -> OpId {
        let id = LeaseId(lease);
        let request = Request::LeaseGrant {
            id: Some(id),
            ttl_secs,
        };
        let answer = Response::LeaseGrant { id, ttl_secs };
        self.done(0, span, request, (revision, answer))
    }

    pub(crate) fn keep_alive(&mut self, span: Span, lease: i64, ttl_secs: i64) -> OpId {
        let request = Request::LeaseKeepAlive(LeaseId(lease));
        self.done(2, span, request, (1, Response::LeaseKeepAlive(ttl_secs)))
    }

    /// A watcher of all keys, created at revision 1.
    pub(crate) fn watch(&mut self, request: WatchRequest) -> WatchId {
        let watch = self
            .history
            .watch(ClientId(9), MemberId(0), time(0), request);
        self.hear(watch, 0, 1, WatchSays::Created);
        watch
    }

    pub(crate) fn watch_all(&mut self) -> WatchId {
        self.watch(WatchRequest {
            start: Some(Revision(1)),
            ..WatchRequest::new(KeyRange::all())
        })
    }

    pub(crate) fn hear(&mut self, watch: WatchId, at: u64, revision: i64, says: WatchSays) {
        let response = WatchResponse {
            at: time(at),
            revision: Revision(revision),
            says,
        };
        self.history.hear(watch, response);
    }

    pub(crate) fn events(&mut self, watch: WatchId, at: u64, events: Vec<Event>) {
        let revision = events.last().unwrap().kv.mod_revision.0;
        let fragment = false;
        self.hear(watch, at, revision, WatchSays::Events { events, fragment });
    }

    pub(crate) fn incident(&mut self, at: u64, member: u64, what: IncidentKind) {
        self.history
            .incident(time(at), Some(MemberId(member)), what);
    }

    pub(crate) fn check(&self) -> Verdict {
        let leases = LeaseTimes {
            clock_error_nanos: SECOND / 10,
            late_nanos_max: Some(5 * SECOND),
        };
        let limits = Limits {
            leases: Some(leases),
            ..Limits::default()
        };
        check(&self.history, &limits)
    }

    pub(crate) fn passes(&self) {
        let verdict = self.check();
        assert!(verdict.is_clean(), "{verdict}");
    }

    /// It breaks this rule and no other, and the report says so.
    pub(crate) fn breaks(&self, rule: Rule, text: &str) {
        let verdict = self.check();
        let shown = verdict.to_string();
        assert!(verdict.breaks(rule), "{shown}");
        let others = verdict.violations.iter().filter(|it| it.rule != rule);
        assert_eq!(others.count(), 0, "{shown}");
        assert!(shown.contains(text), "{shown}");
    }
}

pub(crate) fn under(key: &str, lease: i64) -> Request {
    let mut put = PutRequest::new(key, "x");
    put.lease = Some(LeaseId(lease));
    Request::Put(put)
}
