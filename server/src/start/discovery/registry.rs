//! etcd's v3 discovery: a cluster that is there already holds the list of one that is to be.
//!
//! Under `/_etcd/registry/<token>` somebody has put the size; each member puts itself below
//! `members/`, and those that came first, by create revision, are the cluster.

use std::time::Duration;

use bytes::Bytes;
use cairn_proto::etcdserverpb::auth_client::AuthClient;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::{AuthenticateRequest, PutRequest, RangeRequest};
use cairn_proto::mvccpb::KeyValue;
use http::HeaderMap;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Response, Status};

use super::DiscoveryError;
use crate::net::peer::{Connection, Connector, Pings};
use crate::net::tls::ClientTls;
use crate::settings::{Protection, RegistrySettings, Url};

/// Time between two looks at who has come.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time between two tries.
const RETRY_MAX: Duration = Duration::from_secs(256);

/// Registers this member, `own`, as `entry` (`name=url,name=url`) and waits for the others: the text
/// of `--initial-cluster`.
///
/// # Errors
///
/// [`DiscoveryError`] where waiting cannot help.
pub(crate) async fn join(
    settings: &RegistrySettings,
    own: &str,
    entry: &str,
) -> Result<String, DiscoveryError> {
    let mut registry = Registry::new(settings)?;
    let own_key = format!("/_etcd/registry/{}/members/{own}", settings.token);
    let mut retry = Duration::from_secs(1);
    let mut is_registered = false;
    loop {
        let step = registry.step(&own_key, entry, &mut is_registered).await;
        let pause = match step {
            Ok(Step::Found(cluster)) => {
                tracing::info!(cluster, "discovery joined cluster successfully");
                return Ok(cluster);
            }
            Ok(Step::Waiting { here, size }) => {
                tracing::info!(here, size, "waiting for the other members of the cluster");
                retry = Duration::from_secs(1);
                LOOK_INTERVAL
            }
            Err(Trouble::Hopeless(error)) => return Err(error),
            Err(Trouble::Passing(status)) => {
                tracing::warn!(
                    error = status.message(),
                    retry_after = ?retry,
                    "the discovery service does not answer as it should"
                );
                retry = (retry * 2).min(RETRY_MAX);
                retry / 2
            }
        };
        tokio::time::sleep(pause).await;
    }
}

enum Step {
    Found(String),
    Waiting { here: usize, size: usize },
}

enum Trouble {
    Hopeless(DiscoveryError),
    Passing(Status),
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::PermissionDenied | Code::InvalidArgument | Code::Unimplemented => {
                Self::Hopeless(DiscoveryError::Refused(status.message().to_owned()))
            }
            _ => Self::Passing(status),
        }
    }
}

/// The service, as this member reaches it.
struct Registry {
    connector: Connector,
    /// The next one to try comes first.
    endpoints: Vec<Url>,
    settings: RegistrySettings,
    session: Option<Session>,
}

/// A connection, and who this member is on it.
#[derive(Clone)]
struct Session {
    connection: Connection,
    access: Option<MetadataValue<Ascii>>,
    timeout: Duration,
    /// Of the cluster that is to be.
    token: String,
}

impl Registry {
    fn new(settings: &RegistrySettings) -> Result<Self, DiscoveryError> {
        let scheme = match settings.tls {
            Some(_) => "https",
            None => "http",
        };
        let endpoints = settings.endpoints.iter().map(|endpoint| {
            if endpoint.contains("://") {
                Url::parse(endpoint)
            } else {
                Url::parse(&format!("{scheme}://{endpoint}"))
            }
        });
        let endpoints: Result<Vec<_>, _> = endpoints.collect();
        let endpoints = endpoints.map_err(|error| DiscoveryError::Endpoints(error.to_string()))?;
        let wants_tls = |url: &Url| url.protection() == Protection::Tls;
        // An address may want TLS without a flag that does.
        let tls = endpoints.iter().any(wants_tls).then(|| {
            let service = settings.tls.clone().unwrap_or_default();
            ClientTls::to_service(&service)
        });
        Ok(Self {
            connector: Connector {
                timeout: settings.dial_timeout,
                pings: Pings {
                    interval: settings.keepalive_time,
                    timeout: settings.keepalive_timeout,
                },
                tls: tls.transpose()?,
            },
            endpoints,
            settings: settings.clone(),
            session: None,
        })
    }

    /// Takes the next step, over a new connection to the next address if the last one failed.
    async fn step(
        &mut self,
        own_key: &str,
        entry: &str,
        is_registered: &mut bool,
    ) -> Result<Step, Trouble> {
        let session = match &self.session {
            Some(session) => session.clone(),
            None => self.connect().await?,
        };
        let step = session.step(own_key, entry, is_registered).await;
        if step.is_err() {
            self.endpoints.rotate_left(1);
            self.session = None;
        } else {
            self.session = Some(session);
        }
        step
    }

    async fn connect(&mut self) -> Result<Session, Trouble> {
        let connected = self.connector.connect(&self.endpoints, HeaderMap::new());
        let mut session = Session {
            connection: connected
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?,
            access: None,
            timeout: self.settings.request_timeout,
            token: self.settings.token.clone(),
        };
        if let Some((name, password)) = &self.settings.user {
            session.authenticate(name, password).await?;
        }
        Ok(session)
    }
}

impl Session {
    async fn authenticate(&mut self, name: &str, password: &str) -> Result<(), Trouble> {
        let request = AuthenticateRequest {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        let mut client = AuthClient::new(self.connection.clone());
        let answer = self.ask(client.authenticate(request)).await?;
        let token = answer.token.parse();
        self.access = Some(token.map_err(|_| Status::internal("the token is no text"))?);
        Ok(())
    }

    /// Waits for an answer, but not for long.
    async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let answer = tokio::time::timeout(self.timeout, answer).await;
        let answer = answer.map_err(|_| Status::deadline_exceeded("no answer in time"))?;
        answer.map(Response::into_inner)
    }

    /// Looks at who is there and registers this member if it is not.
    async fn step(
        &self,
        own_key: &str,
        entry: &str,
        is_registered: &mut bool,
    ) -> Result<Step, Trouble> {
        let size = self.size().await?;
        let members = self.members().await?;
        let place = members.iter().position(|kv| kv.key == own_key);
        // A member that registered too late takes no place of others.
        if place.map_or(members.len() >= size, |place| place >= size) {
            return Err(Trouble::Hopeless(DiscoveryError::Full));
        }
        if !*is_registered {
            let put = PutRequest {
                key: Bytes::copy_from_slice(own_key.as_bytes()),
                value: Bytes::copy_from_slice(entry.as_bytes()),
                ..PutRequest::default()
            };
            self.ask(self.kv().put(self.request(put))).await?;
            *is_registered = true;
            // The next look tells who was first.
            return Box::pin(self.step(own_key, entry, is_registered)).await;
        }
        if members.len() < size {
            let here = members.len();
            return Ok(Step::Waiting { here, size });
        }
        Ok(Step::Found(initial_cluster(&members, size)))
    }

    async fn size(&self) -> Result<usize, Trouble> {
        let key = format!("/_etcd/registry/{}/_config/size", self.token);
        let range = RangeRequest {
            key: key.into(),
            ..RangeRequest::default()
        };
        let answer = self.ask(self.kv().range(self.request(range))).await?;
        let Some(kv) = answer.kvs.first() else {
            return Err(Trouble::Hopeless(DiscoveryError::SizeNotFound));
        };
        let text = String::from_utf8_lossy(&kv.value);
        match text.parse() {
            Ok(size) if size > 0 => Ok(size),
            _ => Err(Trouble::Hopeless(DiscoveryError::BadSize {
                text: text.into_owned(),
            })),
        }
    }

    /// Those that have registered, the first one first.
    async fn members(&self) -> Result<Vec<KeyValue>, Trouble> {
        let prefix = format!("/_etcd/registry/{}/members", self.token);
        let mut end = prefix.clone().into_bytes();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let range = RangeRequest {
            key: prefix.into(),
            range_end: end.into(),
            ..RangeRequest::default()
        };
        let answer = self.ask(self.kv().range(self.request(range))).await?;
        let mut members: Vec<_> = answer.kvs.into_iter().filter(is_member).collect();
        members.sort_by_key(|kv| kv.create_revision);
        Ok(members)
    }

    fn kv(&self) -> KvClient<Connection> {
        KvClient::new(self.connection.clone())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(access) = &self.access {
            request.metadata_mut().insert("token", access.clone());
        }
        request
    }
}

/// Whether an entry says who somebody is. Others are passed over, as etcd does.
fn is_member(kv: &KeyValue) -> bool {
    std::str::from_utf8(&kv.value).is_ok_and(|text| text.trim().contains('='))
}

fn initial_cluster(members: &[KeyValue], size: usize) -> String {
    let entries: Vec<_> = members
        .iter()
        .take(size)
        .map(|kv| String::from_utf8_lossy(&kv.value).trim().to_owned())
        .collect();
    entries.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(value: &'static str, create_revision: i64) -> KeyValue {
        KeyValue {
            value: Bytes::from_static(value.as_bytes()),
            create_revision,
            ..KeyValue::default()
        }
    }

    #[test]
    fn those_who_came_first_are_the_cluster() {
        let members = [
            kv("a=http://a:1", 5),
            kv(" b=http://b:1 ", 6),
            kv("c=http://c:1", 7),
        ];
        assert_eq!(initial_cluster(&members, 2), "a=http://a:1,b=http://b:1");
        assert!(is_member(&members[0]) && !is_member(&kv("nobody", 1)));
    }
}
