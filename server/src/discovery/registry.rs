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
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::DiscoveryError;

/// How to reach the service.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// Its addresses.
    pub endpoints: Vec<String>,
    /// The cluster that is to be.
    pub token: String,
    /// Time to connect.
    pub dial_timeout: Duration,
    /// Time for one request.
    pub request_timeout: Duration,
    /// Time between pings.
    pub keepalive_time: Duration,
    /// Time that a ping may stay unanswered.
    pub keepalive_timeout: Duration,
    /// A user's name and password, if the service asks for one.
    pub user: Option<(String, String)>,
}

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
pub async fn join(
    settings: &RegistrySettings,
    own: &str,
    entry: &str,
) -> Result<String, DiscoveryError> {
    let mut registry = Registry::connect(settings)?;
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

struct Registry {
    channel: Channel,
    settings: RegistrySettings,
    access: Option<MetadataValue<Ascii>>,
}

impl Registry {
    fn connect(settings: &RegistrySettings) -> Result<Self, DiscoveryError> {
        let endpoints: Result<Vec<_>, _> = settings
            .endpoints
            .iter()
            .map(|endpoint| {
                let with_scheme = if endpoint.contains("://") {
                    endpoint.clone()
                } else {
                    format!("http://{endpoint}")
                };
                let endpoint = Endpoint::from_shared(with_scheme)?;
                Ok::<_, tonic::transport::Error>(
                    endpoint
                        .connect_timeout(settings.dial_timeout)
                        .timeout(settings.request_timeout)
                        .http2_keep_alive_interval(settings.keepalive_time)
                        .keep_alive_timeout(settings.keepalive_timeout),
                )
            })
            .collect();
        let endpoints = endpoints.map_err(|error| DiscoveryError::Endpoints(error.to_string()))?;
        Ok(Self {
            channel: Channel::balance_list(endpoints.into_iter()),
            settings: settings.clone(),
            access: None,
        })
    }

    /// Looks at who is there and registers this member if it is not.
    async fn step(
        &mut self,
        own_key: &str,
        entry: &str,
        is_registered: &mut bool,
    ) -> Result<Step, Trouble> {
        self.authenticate().await?;
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
            self.kv().put(self.request(put)).await?;
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

    async fn authenticate(&mut self) -> Result<(), Trouble> {
        let Some((name, password)) = &self.settings.user else {
            return Ok(());
        };
        if self.access.is_some() {
            return Ok(());
        }
        let request = AuthenticateRequest {
            name: name.clone(),
            password: password.clone(),
        };
        let answer = AuthClient::new(self.channel.clone())
            .authenticate(request)
            .await?;
        let token = answer.into_inner().token.parse();
        self.access = Some(token.map_err(|_| Status::internal("the token is no text"))?);
        Ok(())
    }

    async fn size(&self) -> Result<usize, Trouble> {
        let key = format!("/_etcd/registry/{}/_config/size", self.settings.token);
        let range = RangeRequest {
            key: key.into(),
            ..RangeRequest::default()
        };
        let answer = self.kv().range(self.request(range)).await?.into_inner();
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
        let prefix = format!("/_etcd/registry/{}/members", self.settings.token);
        let mut end = prefix.clone().into_bytes();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let range = RangeRequest {
            key: prefix.into(),
            range_end: end.into(),
            ..RangeRequest::default()
        };
        let answer = self.kv().range(self.request(range)).await?.into_inner();
        let mut members: Vec<_> = answer.kvs.into_iter().filter(is_member).collect();
        members.sort_by_key(|kv| kv.create_revision);
        Ok(members)
    }

    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
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
