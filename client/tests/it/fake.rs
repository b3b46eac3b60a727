//! A server inside the process that misbehaves as chance has it, and keeps the book of what it did.
//!
//! It refuses streams, answers nothing, breaks connections before and after it applies a write,
//! resets streams in the middle of fragments, leaves with GOAWAY, loses its leader and forgets
//! tokens. What it applied is its history, which is what clients must have seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use cairn_client::proto::etcdserverpb as pb;
use cairn_client::proto::mvccpb;
use cairn_client::{Connecting, Endpoint, Socket};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use pb::watch_request::RequestUnion;
use prost::Message;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// What all leases live for.
pub(crate) const LEASE_SECONDS: i64 = 9;

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap())
}

/// What the server holds.
pub(crate) struct Book {
    /// The put of each revision from 2 on.
    pub(crate) history: Vec<(Bytes, Bytes)>,
    /// When each lease ends.
    pub(crate) leases: BTreeMap<i64, Instant>,
    /// Streams that leases were renewed over.
    pub(crate) lease_streams: usize,
    compacted: i64,
    token: u32,
    chance: SmallRng,
    /// How often something goes wrong, of 100 times.
    pub(crate) faults: u32,
}

/// See the module. Clones are the same server.
#[derive(Clone)]
pub(crate) struct Fake {
    book: Arc<Mutex<Book>>,
    /// Something was written, or a connection is to break.
    news: Arc<Notify>,
}

/// What goes wrong with a call.
enum Fault {
    None,
    Refused,
    NoLeader,
    /// The connection breaks before it is processed.
    Broken,
    /// It is processed, and then the connection breaks.
    Unanswered,
    /// It is processed, and the stream is reset.
    Reset,
    /// The connection leaves orderly.
    GoAway,
}

/// What becomes of the connection after a call.
#[derive(PartialEq)]
enum After {
    Stay,
    Break,
    Leave,
}

impl Fake {
    pub(crate) fn new(seed: u64, faults: u32) -> Self {
        let book = Book {
            history: Vec::new(),
            leases: BTreeMap::new(),
            lease_streams: 0,
            compacted: 0,
            token: 0,
            chance: SmallRng::seed_from_u64(seed),
            faults,
        };
        Self {
            book: Arc::new(Mutex::new(book)),
            news: Arc::default(),
        }
    }

    /// The way to it, whatever the endpoint's name.
    pub(crate) fn connector(&self) -> impl Fn(Endpoint) -> Connecting + Send + Sync + 'static {
        let fake = self.clone();
        move |_| {
            let fake = fake.clone();
            Box::pin(async move {
                if fake.chance(10) {
                    return Err(std::io::ErrorKind::ConnectionRefused.into());
                }
                let (near, far) = tokio::io::duplex(16 << 10);
                tokio::spawn(fake.serve(far));
                let near: Box<dyn Socket> = Box::new(near);
                Ok(near)
            })
        }
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Book) -> T) -> T {
        let found = look(&mut self.book.lock().unwrap());
        self.news.notify_waiters();
        found
    }

    /// Whether something goes wrong that does so many times out of 100 where faults are certain.
    fn chance(&self, percent: u32) -> bool {
        let mut book = self.book.lock().unwrap();
        let faults = book.faults;
        book.chance.random_range(0..10_000) < percent * faults
    }

    async fn serve(self, socket: impl Socket) {
        let Ok(mut connection) = h2::server::handshake(socket).await else {
            return;
        };
        let (after, mut told) = tokio::sync::mpsc::channel(1);
        loop {
            tokio::select! {
                accepted = connection.accept() => {
                    let Some(Ok((request, respond))) = accepted else { return };
                    let (fake, after) = (self.clone(), after.clone());
                    tokio::spawn(async move {
                        let then = fake.call(request, respond).await;
                        if then != After::Stay {
                            let _ = after.send(then).await;
                        }
                    });
                }
                Some(then) = told.recv() => match then {
                    After::Break => return,
                    After::Leave | After::Stay => connection.graceful_shutdown(),
                },
            }
        }
    }

    async fn call(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> After {
        let path = request.uri().path().to_owned();
        let token = request.headers().get("token").cloned();
        if path.ends_with("/Watch") {
            return self.watch(request.into_body(), respond).await;
        }
        if path.ends_with("/LeaseKeepAlive") {
            return self.renew(request.into_body(), respond).await;
        }
        let fault = self.fault();
        match fault {
            Fault::Refused => {
                respond.send_reset(Reason::REFUSED_STREAM);
                return After::Stay;
            }
            Fault::NoLeader => {
                fail(&mut respond, 14, "etcdserver: no leader");
                return After::Stay;
            }
            Fault::Broken => return After::Break,
            Fault::None | Fault::Unanswered | Fault::Reset | Fault::GoAway => {}
        }
        let Some(message) = first_message(&mut request.into_body()).await else {
            return After::Stay;
        };
        let answer = self.process(&path, message, token.as_ref());
        match (fault, answer) {
            (Fault::Unanswered, _) => return After::Break,
            (Fault::Reset, _) => respond.send_reset(Reason::INTERNAL_ERROR),
            (_, Err((code, text))) => fail(&mut respond, code, text),
            (fault, Ok(answer)) => {
                if let Some(mut body) = head(&mut respond) {
                    let _ = body.send_data(answer, false);
                    let _ = body.send_trailers(status(0, ""));
                }
                if matches!(fault, Fault::GoAway) {
                    return After::Leave;
                }
            }
        }
        After::Stay
    }

    fn fault(&self) -> Fault {
        if !self.chance(40) {
            return Fault::None;
        }
        match self.book.lock().unwrap().chance.random_range(0..6) {
            0 => Fault::Refused,
            1 => Fault::NoLeader,
            2 => Fault::Broken,
            3 => Fault::Unanswered,
            4 => Fault::Reset,
            _ => Fault::GoAway,
        }
    }

    fn process(
        &self,
        path: &str,
        message: Bytes,
        token: Option<&HeaderValue>,
    ) -> Result<Bytes, (u8, &'static str)> {
        let forgets = self.chance(10);
        let mut book = self.book.lock().unwrap();
        book.token += u32::from(forgets);
        if path.ends_with("/Authenticate") {
            let token = book.token.to_string();
            return Ok(frame(&pb::AuthenticateResponse {
                header: book.header(),
                token,
            }));
        }
        if token.is_none_or(|token| *token != book.token.to_string()) {
            return Err((16, "etcdserver: invalid auth token"));
        }
        let answer = if path.ends_with("/LeaseGrant") {
            let ttl = pb::LeaseGrantRequest::decode(message).unwrap().ttl;
            let id = 1 + i64::try_from(book.leases.len()).unwrap();
            book.leases.insert(id, Instant::now() + seconds(ttl));
            frame(&pb::LeaseGrantResponse {
                header: book.header(),
                id,
                ttl,
                ..pb::LeaseGrantResponse::default()
            })
        } else if path.ends_with("/Put") {
            let put = pb::PutRequest::decode(message).unwrap();
            book.history.push((put.key, put.value));
            frame(&pb::PutResponse {
                header: book.header(),
                prev_kv: None,
            })
        } else {
            let range = pb::RangeRequest::decode(message).unwrap();
            match book.range(&range) {
                Some(answer) => frame(&answer),
                None => return Err((11, "etcdserver: mvcc: required revision has been compacted")),
            }
        };
        drop(book);
        self.news.notify_waiters();
        Ok(answer)
    }

    /// Renews leases, sooner or later, until something goes wrong.
    async fn renew(&self, mut requests: RecvStream, mut respond: SendResponse<Bytes>) -> After {
        self.with(|book| book.lease_streams += 1);
        let Some(mut body) = head(&mut respond) else {
            return After::Stay;
        };
        let mut unread = BytesMut::new();
        while let Some(Ok(chunk)) = requests.data().await {
            let _ = requests.flow_control().release_capacity(chunk.len());
            unread.extend_from_slice(&chunk);
            while let Some(message) = split_message(&mut unread) {
                if self.chance(20) {
                    return After::Break;
                }
                self.dawdle().await;
                let id = pb::LeaseKeepAliveRequest::decode(message).unwrap().id;
                let ttl = self.with(|book| book.renew(id));
                self.dawdle().await;
                if self.chance(20) {
                    body.send_reset(Reason::INTERNAL_ERROR);
                    return After::Stay;
                }
                let answer = pb::LeaseKeepAliveResponse {
                    header: None,
                    id,
                    ttl,
                };
                let _ = body.send_data(frame(&answer), false);
            }
        }
        After::Stay
    }

    /// Is slow, as chance has it.
    async fn dawdle(&self) {
        if self.chance(50) {
            let millis = self.with(|book| book.chance.random_range(0..4000));
            sleep(Duration::from_millis(millis)).await;
        }
    }

    /// Serves watchers until something goes wrong.
    async fn watch(&self, mut requests: RecvStream, mut respond: SendResponse<Bytes>) -> After {
        let Some(mut body) = head(&mut respond) else {
            return After::Stay;
        };
        let mut watchers: BTreeMap<i64, i64> = BTreeMap::new();
        let mut unread = BytesMut::new();
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            for (number, next) in &mut watchers {
                if !self.tell(&mut body, *number, next) {
                    return if self.chance(50) {
                        After::Break
                    } else {
                        After::Stay
                    };
                }
            }
            tokio::select! {
                data = requests.data() => {
                    let Some(Ok(chunk)) = data else { return After::Stay };
                    let _ = requests.flow_control().release_capacity(chunk.len());
                    unread.extend_from_slice(&chunk);
                    while let Some(message) = split_message(&mut unread) {
                        self.asked(&mut body, &mut watchers, message);
                    }
                }
                () = news => {}
                () = sleep(Duration::from_millis(50)) => {
                    if self.chance(5) {
                        return After::Leave;
                    }
                }
            }
        }
    }

    fn asked(
        &self,
        body: &mut SendStream<Bytes>,
        watchers: &mut BTreeMap<i64, i64>,
        message: Bytes,
    ) {
        let book = self.book.lock().unwrap();
        match pb::WatchRequest::decode(message)
            .unwrap()
            .request_union
            .unwrap()
        {
            RequestUnion::CreateRequest(create) => {
                let next = match create.start_revision {
                    0 => book.revision() + 1,
                    start => start,
                };
                watchers.insert(create.watch_id, next);
                let _ = body.send_data(frame(&book.answer(create.watch_id, true)), false);
            }
            RequestUnion::CancelRequest(cancel) => {
                watchers.remove(&cancel.watch_id);
            }
            RequestUnion::ProgressRequest(_) => {
                let _ = body.send_data(frame(&book.answer(-1, false)), false);
            }
        }
    }

    /// Tells a watcher what it lacks; `false` if the stream broke on the way.
    fn tell(&self, body: &mut SendStream<Bytes>, number: i64, next: &mut i64) -> bool {
        loop {
            let breaks = self.chance(8);
            let mut book = self.book.lock().unwrap();
            if *next > book.revision() {
                return true;
            }
            if *next < book.compacted {
                let mut answer = book.answer(number, false);
                answer.canceled = true;
                answer.compact_revision = book.compacted;
                *next = i64::MAX;
                let _ = body.send_data(frame(&answer), false);
                return true;
            }
            let last = (*next + book.chance.random_range(0..4)).min(book.revision());
            let events: Vec<_> = (*next..=last).map(|at| book.event(at)).collect();
            let parts: Vec<_> = events.chunks(book.chance.random_range(1..3)).collect();
            for (at, part) in parts.iter().enumerate() {
                let mut answer = book.answer(number, false);
                answer.events = part.to_vec();
                answer.fragment = at + 1 < parts.len();
                let _ = body.send_data(frame(&answer), false);
                if breaks {
                    body.send_reset(Reason::INTERNAL_ERROR);
                    return false;
                }
            }
            *next = last + 1;
        }
    }
}

impl Book {
    pub(crate) fn revision(&self) -> i64 {
        1 + i64::try_from(self.history.len()).unwrap()
    }

    /// Forgets everything before the present.
    pub(crate) fn compact(&mut self) {
        self.compacted = self.revision();
    }

    /// Renews a lease; 0 if it has ended.
    fn renew(&mut self, id: i64) -> i64 {
        let now = Instant::now();
        match self.leases.get_mut(&id) {
            Some(ends) if *ends > now => {
                *ends = now + seconds(LEASE_SECONDS);
                LEASE_SECONDS
            }
            _ => 0,
        }
    }

    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader {
            cluster_id: 1,
            member_id: 1,
            revision: self.revision(),
            raft_term: 1,
        })
    }

    fn answer(&self, watch_id: i64, created: bool) -> pb::WatchResponse {
        pb::WatchResponse {
            header: self.header(),
            watch_id,
            created,
            ..pb::WatchResponse::default()
        }
    }

    fn key_value(&self, revision: i64) -> mvccpb::KeyValue {
        let (key, value) = &self.history[usize::try_from(revision - 2).unwrap()];
        mvccpb::KeyValue {
            key: key.clone(),
            value: value.clone(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: 0,
        }
    }

    fn event(&self, revision: i64) -> mvccpb::Event {
        mvccpb::Event {
            kv: Some(self.key_value(revision)),
            ..mvccpb::Event::default()
        }
    }

    fn range(&self, range: &pb::RangeRequest) -> Option<pb::RangeResponse> {
        let at = if range.revision == 0 {
            self.revision()
        } else {
            range.revision
        };
        if at < self.compacted {
            return None;
        }
        let wanted = cairn_client::Keys::range(&range.key, &range.range_end);
        let mut found = BTreeMap::new();
        for revision in 2..=at {
            let kv = self.key_value(revision);
            if wanted.contains(&kv.key) {
                found.insert(kv.key.clone(), kv);
            }
        }
        let count = i64::try_from(found.len()).unwrap();
        let limit = usize::try_from(range.limit).unwrap();
        let limit = if limit == 0 { usize::MAX } else { limit };
        Some(pb::RangeResponse {
            header: self.header(),
            more: found.len() > limit,
            kvs: found.into_values().take(limit).collect(),
            count,
        })
    }
}

fn head(respond: &mut SendResponse<Bytes>) -> Option<SendStream<Bytes>> {
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .body(());
    respond.send_response(response.unwrap(), false).ok()
}

fn status(code: u8, text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        "grpc-status",
        HeaderValue::from_str(&code.to_string()).unwrap(),
    );
    headers.insert("grpc-message", HeaderValue::from_str(text).unwrap());
    headers
}

fn fail(respond: &mut SendResponse<Bytes>, code: u8, text: &str) {
    let mut response = Response::new(());
    *response.headers_mut() = status(code, text);
    let _ = respond.send_response(response, true);
}

fn frame(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut framed).unwrap();
    framed.freeze()
}

fn split_message(unread: &mut BytesMut) -> Option<Bytes> {
    let len = unread.get(1..5)?;
    let len = u32::from_be_bytes(len.try_into().unwrap()) as usize;
    (unread.len() >= 5 + len).then(|| unread.split_to(5 + len).freeze().split_off(5))
}

async fn first_message(body: &mut RecvStream) -> Option<Bytes> {
    let mut unread = BytesMut::new();
    loop {
        if let Some(message) = split_message(&mut unread) {
            return Some(message);
        }
        let chunk = body.data().await?.ok()?;
        let _ = body.flow_control().release_capacity(chunk.len());
        unread.extend_from_slice(&chunk);
    }
}
