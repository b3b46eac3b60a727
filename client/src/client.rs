//! The client: a handle that is cheap to clone, and the one way that calls take.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cairn_proto::etcdserverpb as pb;
#[cfg(feature = "websocket")]
use http::HeaderValue;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument as _;

use crate::balance::retry::{self, Verdict};
use crate::balance::{EndpointId, Leased, Pool};
use crate::connect::{ConnectOptions, Credentials, Endpoint};
use crate::counters::{Counters, Counting};
use crate::error::Error;
use crate::etcd_error::EtcdError;
use crate::into_bytes::IntoBytes;
use crate::lease::{Keeper, Keepers};
use crate::rpc::{Effect, Rpc, path};
use crate::token::{Token, TokenStore};
use crate::transport::{Attacher, CallFailure, Headers, Replies, Requests, frame};
use crate::watch::{Hub, Hubs};

/// A client of one cluster.
///
/// Clones share connections, the token and watch streams. All methods take `&self`, and every
/// future may be dropped at any point: a read is then cancelled, a write may or may not be applied.
///
/// Reads are tried again at other endpoints until the request timeout. Writes are tried again only
/// if they surely were not applied; where that is not known the error is [`Error::Ambiguous`].
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    namespace: Bytes,
    only: Option<EndpointId>,
}

struct Shared {
    pool: Arc<Pool>,
    tokens: TokenStore,
    hubs: Hubs,
    keepers: Keepers,
}

impl Client {
    pub(crate) fn new(options: ConnectOptions) -> Self {
        Self {
            namespace: options.namespace.clone(),
            shared: Arc::new(Shared {
                pool: Pool::new(options),
                tokens: TokenStore::default(),
                hubs: Hubs::default(),
                keepers: Keepers::default(),
            }),
            only: None,
        }
    }

    /// Connects to a cluster, in plain text or with the authorities of the operating system;
    /// [`ConnectOptions`] has everything else.
    ///
    /// # Errors
    ///
    /// As [`ConnectOptions::new`] and [`ConnectOptions::connect`].
    pub async fn connect<I>(endpoints: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        ConnectOptions::new(endpoints)?.connect().await
    }

    /// The same client with all keys under a prefix that the program never sees: what it puts at
    /// `a` is at `PREFIXa`, and watches, locks and caches made from it see only what is there.
    /// Prefixes add up.
    #[must_use]
    pub fn namespace(&self, prefix: impl IntoBytes) -> Self {
        let mut client = self.clone();
        client.namespace = [&self.namespace[..], &prefix.into_bytes()].concat().into();
        client
    }

    /// A client that calls one endpoint only, as maintenance of a member needs. It shares the
    /// connection if the endpoint is among this client's.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the endpoint cannot be read.
    pub fn only(&self, endpoint: impl AsRef<str>) -> Result<Self, Error> {
        let endpoint: Endpoint = endpoint.as_ref().parse()?;
        if let Some(id) = self.shared.pool.id_of(&endpoint) {
            let mut client = self.clone();
            client.only = Some(id);
            return Ok(client);
        }
        let mut options = self.shared.pool.options().clone();
        options.endpoints = vec![endpoint];
        options.namespace = self.namespace.clone();
        Ok(Self::new(options))
    }

    /// The endpoints that calls go to.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.shared.pool.endpoints()
    }

    /// Calls these endpoints from now on. Connections to those that stay are kept.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if one cannot be read, or there is none.
    pub fn set_endpoints<I>(&self, endpoints: I) -> Result<(), Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let endpoints = ConnectOptions::new(endpoints)?.endpoints;
        self.shared.pool.set_endpoints(&endpoints);
        Ok(())
    }

    /// Makes a call as it is on the wire, with the balance and retry of every other call.
    ///
    /// It is what the typed calls are made of, and for programs that want the answer whole. The
    /// namespace is not applied.
    ///
    /// ```no_run
    /// # async fn run(client: cairn_client::Client) -> Result<(), cairn_client::Error> {
    /// use cairn_client::proto::etcdserverpb::StatusRequest;
    ///
    /// let status = client.call(StatusRequest {}).await?;
    /// println!("{} at raft index {}", status.version, status.raft_index);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn call<R: Rpc>(&self, request: R) -> Result<R::Response, Error> {
        let effect = request.effect();
        let span = tracing::debug_span!("etcd_call", method = R::PATH);
        let attempts = self.attempts(R::PATH, effect, frame(&request), true);
        let ended = attempts.instrument(span).await.and_then(|answer| {
            let decoded = <R::Response as prost::Message>::decode(answer);
            decoded.map_err(|error| Error::protocol(error.to_string()))
        });
        let counting = self.counting();
        counting.calls.add();
        if let Err(error) = &ended {
            counting.failed.add();
            if error.is_ambiguous() {
                counting.ambiguous.add();
            }
        }
        ended
    }

    /// Passes on a call of somebody else, with its own headers, messages and trailers, to an endpoint that
    /// is there. It is made once: who made it knows whether it may be made again.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if no endpoint has taken it, [`Error::Lost`] if it is not known what became
    /// of it.
    #[cfg(feature = "relay")]
    pub async fn relay<B>(
        &self,
        call: http::Request<B>,
    ) -> Result<http::Response<crate::transport::RelayedBody>, Error>
    where
        B: http_body::Body<Data = Bytes, Error: Send> + Send + 'static,
    {
        let leased = self.acquire(&Course::new(self.deadline())).await?;
        let relayed = leased.connection.relay(call).await;
        relayed.map_err(|failure| {
            if retry::is_members_fault(&failure) {
                self.shared.pool.disgrace(leased.id);
            }
            to_error(failure, self.request_timeout())
        })
    }

    /// Connects, and logs in if there is a user.
    pub(crate) async fn reach(&self) -> Result<(), Error> {
        let deadline = self.deadline();
        let reached = self.shared.pool.acquire(self.only, &[], deadline).await;
        reached.map_err(|reason| Error::Unavailable { reason })?;
        self.token().await?;
        Ok(())
    }

    pub(crate) fn namespace_prefix(&self) -> &Bytes {
        &self.namespace
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.shared.pool.options().limits.request_timeout
    }

    pub(crate) fn endpoint_count(&self) -> usize {
        self.shared.pool.endpoint_count()
    }

    /// The watch stream of this client's calls.
    pub(crate) fn hub(&self) -> Arc<Hub> {
        self.shared.hubs.of(self.only)
    }

    /// What renews the leases of this client's calls.
    pub(crate) fn keeper(&self) -> Arc<Keeper> {
        self.shared.keepers.of(self.only)
    }

    /// What this client and its clones have done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counting().read()
    }

    pub(crate) fn counting(&self) -> &Counting {
        self.shared.pool.counting()
    }

    #[cfg(feature = "websocket")]
    pub(crate) fn options(&self) -> &ConnectOptions {
        self.shared.pool.options()
    }

    /// The endpoints in an order of chance, those that are avoided last.
    #[cfg(feature = "websocket")]
    pub(crate) fn ways(&self, avoided: &[EndpointId]) -> Vec<(EndpointId, Endpoint)> {
        let mut ways = self.shared.pool.shuffled();
        ways.retain(|(id, _)| self.only.is_none_or(|only| only == *id));
        ways.sort_by_key(|(id, _)| avoided.contains(id));
        ways
    }

    /// The place of a stream at an endpoint, and the token to open it with.
    #[cfg(feature = "websocket")]
    pub(crate) async fn place(
        &self,
        id: EndpointId,
    ) -> Result<(StreamPlace, Option<HeaderValue>), Error> {
        let CallHeaders { token, wire } = self.headers(true).await?;
        let place = StreamPlace {
            id,
            token,
            attacher: None,
        };
        Ok((place, wire.token))
    }

    /// A server refused the token that a stream was opened with.
    pub(crate) fn refuse_token(&self, place: &StreamPlace) {
        if let Some(token) = &place.token {
            self.shared.tokens.forget(token);
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.request_timeout()
    }

    async fn attempts(
        &self,
        method: &'static str,
        effect: Effect,
        framed: Bytes,
        with_token: bool,
    ) -> Result<Bytes, Error> {
        let mut course = Course::new(self.deadline());
        let call = (method, effect, framed);
        match self.attempt(&mut course, call, with_token).await {
            Err(error) if course.hides_outcome => Err(Error::Ambiguous {
                cause: error.to_string(),
                server: error.server().cloned(),
            }),
            ended => ended,
        }
    }

    async fn attempt(
        &self,
        course: &mut Course,
        (method, effect, framed): (&'static str, Effect, Bytes),
        with_token: bool,
    ) -> Result<Bytes, Error> {
        loop {
            let headers = self.headers(with_token).await?;
            let leased = self.acquire(course).await?;
            let call = leased
                .connection
                .unary(path(method), &headers.wire, framed.clone());
            let ended = timeout_at(course.deadline, call).await;
            let failure = match ended.unwrap_or(Err(CallFailure::TimedOut)) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            course.hides_outcome |= retry::hides_outcome(effect, &failure);
            self.after(course, effect, &headers, leased.id, failure)
                .await?;
        }
    }

    /// Opens a call with streams, at whatever endpoint takes it. What fails after that is the
    /// caller's.
    pub(crate) async fn open_stream(
        &self,
        method: &'static str,
        avoided: &[EndpointId],
    ) -> Result<(Requests, Replies, StreamPlace), Error> {
        let mut course = Course::new(self.deadline());
        course.avoided = avoided.to_vec();
        loop {
            let mut headers = self.headers(true).await?;
            headers.wire.require_leader = true;
            let leased = self.acquire(&course).await?;
            let opened = leased.connection.open_stream(path(method), &headers.wire);
            let ended = timeout_at(course.deadline, opened).await;
            let failure = match ended.unwrap_or(Err(CallFailure::TimedOut)) {
                Ok((requests, replies)) => {
                    let place = StreamPlace {
                        id: leased.id,
                        token: headers.token,
                        attacher: Some(leased.connection.attacher()),
                    };
                    return Ok((requests, replies, place));
                }
                Err(failure) => failure,
            };
            self.after(&mut course, Effect::Read, &headers, leased.id, failure)
                .await?;
        }
    }

    /// Makes a call that is answered by a stream, up to its first message.
    pub(crate) async fn server_stream<M>(
        &self,
        method: &'static str,
        request: &impl prost::Message,
    ) -> Result<(Option<M>, Replies), Error>
    where
        M: prost::Message + Default,
    {
        let framed = frame(request);
        let mut course = Course::new(self.deadline());
        loop {
            let headers = self.headers(true).await?;
            let leased = self.acquire(&course).await?;
            let call = async {
                let connection = &leased.connection;
                let call = connection.server_stream(path(method), &headers.wire, framed.clone());
                let mut replies = call.await?;
                Ok((replies.next().await?, replies))
            };
            let ended = timeout_at(course.deadline, call).await;
            let failure = match ended.unwrap_or(Err(CallFailure::TimedOut)) {
                Ok(begun) => return Ok(begun),
                Err(failure) => failure,
            };
            self.after(&mut course, Effect::Read, &headers, leased.id, failure)
                .await?;
        }
    }

    /// A stream failed: what that says of its endpoint and of the token. Returns an error if
    /// there is no use in opening it again.
    pub(crate) fn stream_failed(
        &self,
        place: &StreamPlace,
        failure: &CallFailure,
    ) -> Result<(), Error> {
        if retry::is_members_fault(failure) {
            self.shared.pool.disgrace(place.id);
        }
        match retry::decide(Effect::Read, failure) {
            Verdict::Retry => Ok(()),
            Verdict::RenewToken => match &place.token {
                Some(token) if token.is_renewable => {
                    self.shared.tokens.forget(token);
                    Ok(())
                }
                _ => Err(to_error(failure.clone(), Duration::ZERO)),
            },
            Verdict::Fail | Verdict::Ambiguous => Err(to_error(failure.clone(), Duration::ZERO)),
        }
    }

    async fn acquire(&self, course: &Course) -> Result<Leased, Error> {
        let pool = &self.shared.pool;
        let acquired = pool
            .acquire(self.only, &course.avoided, course.deadline)
            .await;
        acquired.map_err(|reason| Error::Unavailable { reason })
    }

    async fn headers(&self, with_token: bool) -> Result<CallHeaders, Error> {
        let token = if with_token {
            self.token().await?
        } else {
            None
        };
        let wire = Headers {
            token: token.as_ref().and_then(|token| token.header.clone()),
            require_leader: self.shared.pool.options().limits.require_leader,
        };
        Ok(CallHeaders { token, wire })
    }

    /// Returns if the call is to be tried again.
    async fn after(
        &self,
        course: &mut Course,
        effect: Effect,
        headers: &CallHeaders,
        at: EndpointId,
        failure: CallFailure,
    ) -> Result<(), Error> {
        let pool = &self.shared.pool;
        if retry::is_members_fault(&failure) {
            pool.disgrace(at);
        }
        match retry::decide(effect, &failure) {
            Verdict::Fail | Verdict::Ambiguous => {
                return Err(to_error(failure, self.request_timeout()));
            }
            Verdict::RenewToken => match &headers.token {
                Some(token) if token.is_renewable && course.renewals < RENEWALS_MAX => {
                    self.shared.tokens.forget(token);
                    course.renewals += 1;
                }
                _ => return Err(to_error(failure, self.request_timeout())),
            },
            Verdict::Retry => course.avoided.push(at),
        }
        course.failed += 1;
        let wait = retry::wait_after(course.failed, pool.endpoint_count());
        if Instant::now() + wait >= course.deadline {
            return Err(to_error(failure, self.request_timeout()));
        }
        self.counting().retries.add();
        tracing::debug!(%failure, attempt = course.failed, "trying again");
        if !wait.is_zero() {
            sleep(wait).await;
            course.avoided.clear();
        }
        Ok(())
    }

    /// The token of the client's user; `None` if it has no user.
    async fn token(&self) -> Result<Option<Token>, Error> {
        let (name, password) = match &self.shared.pool.options().credentials {
            None => return Ok(None),
            Some(Credentials::Token(token)) => return Ok(Some(Token::given(token))),
            Some(Credentials::Password { user, password }) => (user, password),
        };
        let tokens = &self.shared.tokens;
        if let Some(token) = tokens.current(unix_time) {
            return Ok(Some(token));
        }
        let _renewing = tokens.renewing.lock().await;
        if let Some(token) = tokens.current(unix_time) {
            return Ok(Some(token));
        }
        let request = pb::AuthenticateRequest {
            name: name.clone(),
            password: password.clone(),
        };
        let method = pb::AuthenticateRequest::PATH;
        // Boxed: without its own token, the call does not come here again.
        let login = self.attempts(method, Effect::Read, frame(&request), false);
        let answer = match Box::pin(login).await {
            Ok(answer) => <pb::AuthenticateResponse as prost::Message>::decode(answer)
                .map_err(|error| Error::protocol(error.to_string()))?,
            Err(error) if error.etcd() == Some(EtcdError::AuthNotEnabled) => {
                pb::AuthenticateResponse::default()
            }
            Err(error) => return Err(error),
        };
        self.counting().logins.add();
        Ok(Some(tokens.keep(&answer.token, unix_time())))
    }
}

/// Tokens that one call may use up.
const RENEWALS_MAX: u32 = 2;

/// Where a stream was opened, and as whom.
#[derive(Clone)]
pub(crate) struct StreamPlace {
    pub(crate) id: EndpointId,
    token: Option<Token>,
    /// To the task of its connection, which calls share; a WebSocket has none.
    pub(crate) attacher: Option<Attacher>,
}

struct CallHeaders {
    token: Option<Token>,
    wire: Headers,
}

/// What a call has been through.
struct Course {
    deadline: Instant,
    failed: u32,
    renewals: u32,
    avoided: Vec<EndpointId>,
    /// An attempt that failed may have changed something.
    hides_outcome: bool,
}

impl Course {
    fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            failed: 0,
            renewals: 0,
            avoided: Vec::new(),
            hides_outcome: false,
        }
    }
}

fn unix_time() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default()
}

/// A failure of a call, if it surely changed nothing.
pub(crate) fn to_error(failure: CallFailure, after: Duration) -> Error {
    match failure {
        CallFailure::Status(error) => Error::Server(error),
        CallFailure::NotProcessed(reason) => Error::Unavailable { reason },
        CallFailure::Lost(reason) => Error::Lost { reason },
        CallFailure::TimedOut => Error::Timeout {
            after,
            reason: "the server is silent".to_owned(),
        },
        CallFailure::Protocol(reason) => Error::Protocol { reason },
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoints", &self.endpoints())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
