//! Calls of any method on behalf of anybody, and what became of them as far as permission goes.

use bytes::{Buf, BufMut};
use cairn_proto::etcdserverpb::auth_client::AuthClient;
use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use cairn_proto::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
    AuthUserGrantRoleRequest, AuthenticateRequest, WatchCreateRequest, WatchRequest,
};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::harness::Clients;

/// What a caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The call was carried out, or failed for what it asks.
    Allowed,
    /// There must be a user.
    Empty,
    /// The user may not.
    Denied,
    /// The token is none.
    BadToken,
    /// The rules have changed.
    Old,
    /// A stream ended without an answer: all that etcd tells an observer whom it refuses.
    Unanswered,
}

impl Verdict {
    /// As one letter of a table.
    pub(crate) const fn letter(self) -> char {
        match self {
            Self::Allowed => '+',
            Self::Empty => 'e',
            Self::Denied => 'd',
            Self::BadToken => 't',
            Self::Old => 'o',
            Self::Unanswered => 'u',
        }
    }

    fn of_text(text: &str) -> Self {
        match text.rsplit("etcdserver: ").next().unwrap_or_default() {
            "user name is empty" => Self::Empty,
            "permission denied" => Self::Denied,
            "invalid auth token" => Self::BadToken,
            "revision of auth store is old" => Self::Old,
            _ => Self::Allowed,
        }
    }
}

/// A call of any method with one message.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    message: Vec<u8>,
}

impl Call {
    pub(crate) fn new(path: &str, message: &impl Message) -> Self {
        Self {
            path: path.to_owned(),
            message: message.encode_to_vec(),
        }
    }

    /// Calls, with a token or without, and takes the first of the answers; whether there was one.
    pub(crate) async fn by(&self, clients: &Clients, token: Option<&str>) -> Result<bool, Status> {
        if let Some(gateway) = &clients.gateway
            && let Some(answered) = gateway.call(&self.path, &self.message, token)
        {
            return answered;
        }
        let mut grpc = tonic::client::Grpc::new(clients.channel.clone());
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::try_from(self.path.as_str()).unwrap();
        let request = with_token(self.message.clone(), token);
        let answers = grpc.server_streaming(request, path, Raw).await?;
        Ok(answers.into_inner().message().await?.is_some())
    }

    pub(crate) async fn verdict(&self, clients: &Clients, token: Option<&str>) -> Verdict {
        match self.by(clients, token).await {
            Ok(true) => Verdict::Allowed,
            Ok(false) => Verdict::Unanswered,
            Err(status) => {
                let code = tonic::Code::Unimplemented;
                assert_ne!(status.code(), code, "{}", self.path);
                Verdict::of_text(status.message())
            }
        }
    }
}

/// Asks for a watcher, and answers with the reason if it is refused.
pub(crate) async fn watch(
    clients: &Clients,
    create: WatchCreateRequest,
    token: Option<&str>,
) -> Result<(), String> {
    let (requests, receiver) = mpsc::channel(1);
    let request = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    if let Some(gateway) = &clients.gateway {
        let path = "/etcdserverpb.Watch/Watch";
        let answer = gateway
            .answer(path, &request.encode_to_vec(), token)
            .unwrap();
        let answer = &answer["result"];
        assert_eq!(answer["created"], true);
        return match answer["cancel_reason"].as_str() {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(()),
        };
    }
    requests.send(request).await.unwrap();
    let call = with_token(ReceiverStream::new(receiver), token);
    let mut answers = clients
        .watch
        .clone()
        .watch(call)
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert!(answer.created);
    match answer.canceled {
        true => Err(answer.cancel_reason),
        false => Ok(()),
    }
}

/// [`watch`], as a verdict. etcd writes the status of the error in its long form.
pub(crate) async fn watch_verdict(
    clients: &Clients,
    create: WatchCreateRequest,
    token: Option<&str>,
) -> Verdict {
    match watch(clients, create, token).await {
        Ok(()) => Verdict::Allowed,
        Err(reason) => {
            assert!(reason.starts_with("rpc error: code = "), "{reason}");
            Verdict::of_text(&reason)
        }
    }
}

pub(crate) fn with_token<M>(message: M, token: Option<&str>) -> Request<M> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let token = MetadataValue::try_from(token).unwrap();
        request.metadata_mut().insert("token", token);
    }
    request
}

/// Root's view of users, while authentication is off or with root's token.
pub(crate) struct Admin {
    pub(crate) auth: AuthClient<Channel>,
    pub(crate) token: Option<String>,
}

impl Admin {
    pub(crate) fn new(clients: &Clients) -> Self {
        Self::over(clients.channel.clone())
    }

    pub(crate) fn over(channel: Channel) -> Self {
        Self {
            auth: AuthClient::new(channel),
            token: None,
        }
    }

    pub(crate) fn request<M>(&self, message: M) -> Request<M> {
        with_token(message, self.token.as_deref())
    }

    /// Adds a user whose password is its name.
    pub(crate) async fn add_user(&mut self, name: &str) {
        let request = self.request(AuthUserAddRequest {
            name: name.to_owned(),
            password: name.to_owned(),
            ..AuthUserAddRequest::default()
        });
        self.auth.user_add(request).await.unwrap();
    }

    pub(crate) async fn add_role(&mut self, name: &str) {
        let name = name.to_owned();
        let request = self.request(AuthRoleAddRequest { name });
        self.auth.role_add(request).await.unwrap();
    }

    pub(crate) async fn grant_role(&mut self, user: &str, role: &str) {
        let (user, role) = (user.to_owned(), role.to_owned());
        let request = self.request(AuthUserGrantRoleRequest { user, role });
        self.auth.user_grant_role(request).await.unwrap();
    }

    pub(crate) async fn grant(&mut self, role: &str, perm_type: i32, key: &str, range_end: &str) {
        let request = self.request(AuthRoleGrantPermissionRequest {
            name: role.to_owned(),
            perm: Some(cairn_proto::authpb::Permission {
                perm_type,
                key: key.to_owned().into(),
                range_end: range_end.to_owned().into(),
            }),
        });
        self.auth.role_grant_permission(request).await.unwrap();
    }

    /// Makes root, turns authentication on and logs root in.
    pub(crate) async fn enable(&mut self) {
        self.add_user("root").await;
        self.grant_role("root", "root").await;
        let request = self.request(AuthEnableRequest {});
        self.auth.auth_enable(request).await.unwrap();
        self.token = Some(self.log_in("root").await);
    }

    pub(crate) async fn log_in(&self, name: &str) -> String {
        self.try_log_in(name, name).await.unwrap()
    }

    pub(crate) async fn try_log_in(&self, name: &str, password: &str) -> Result<String, Status> {
        let (name, password) = (name.to_owned(), password.to_owned());
        let login = AuthenticateRequest { name, password };
        let answer = self.auth.clone().authenticate(login).await?;
        Ok(answer.into_inner().token)
    }
}

/// Messages as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}
