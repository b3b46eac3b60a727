//! The members of the cluster.

use cairn_proto::etcdserverpb as pb;

use crate::client::Client;
use crate::error::Error;

pub use pb::Member;

/// The calls about members; see [`Client::cluster`].
#[derive(Clone, Debug)]
pub struct Cluster(Client);

impl Client {
    /// The calls about members.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        Cluster(self.clone())
    }

    /// Asks the cluster for its members and calls those that serve clients from now on; returns
    /// their URLs. If no member says where it serves, the endpoints stay.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn sync_endpoints(&self) -> Result<Vec<String>, Error> {
        let members = self.cluster().members().await?;
        let voters = members
            .into_iter()
            .filter(|it| !it.is_learner && !it.name.is_empty());
        let urls: Vec<String> = voters.flat_map(|it| it.client_urls).collect();
        if !urls.is_empty() {
            self.set_endpoints(&urls)?;
        }
        Ok(urls)
    }
}

impl Cluster {
    /// All members, as a majority knows them.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let request = pb::MemberListRequest { linearizable: true };
        Ok(self.0.call(request).await?.members)
    }

    /// All members, as one member knows them.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn members_serializable(&self) -> Result<Vec<Member>, Error> {
        let request = pb::MemberListRequest {
            linearizable: false,
        };
        Ok(self.0.call(request).await?.members)
    }

    /// Adds a member that votes at once; [`Cluster::add_learner`] is safer.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn add<U: Into<String>>(
        &self,
        peer_urls: impl IntoIterator<Item = U>,
    ) -> Result<Member, Error> {
        self.add_as(peer_urls.into_iter().map(Into::into).collect(), false)
            .await
    }

    /// Adds a member that learns and does not vote.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn add_learner<U: Into<String>>(
        &self,
        peer_urls: impl IntoIterator<Item = U>,
    ) -> Result<Member, Error> {
        self.add_as(peer_urls.into_iter().map(Into::into).collect(), true)
            .await
    }

    async fn add_as(&self, peer_urls: Vec<String>, is_learner: bool) -> Result<Member, Error> {
        let request = pb::MemberAddRequest {
            peer_urls,
            is_learner,
        };
        let member = self.0.call(request).await?.member;
        member.ok_or_else(|| Error::protocol("no member in the answer"))
    }

    /// Has a learner vote from now on.
    ///
    /// # Errors
    ///
    /// [`Error`]; [`EtcdError::LearnerNotReady`](crate::EtcdError::LearnerNotReady) if it is behind.
    pub async fn promote(&self, member: u64) -> Result<(), Error> {
        self.0.call(pb::MemberPromoteRequest { id: member }).await?;
        Ok(())
    }

    /// Changes a member's peer URLs.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn update<U: Into<String>>(
        &self,
        member: u64,
        peer_urls: impl IntoIterator<Item = U>,
    ) -> Result<(), Error> {
        let request = pb::MemberUpdateRequest {
            id: member,
            peer_urls: peer_urls.into_iter().map(Into::into).collect(),
        };
        self.0.call(request).await?;
        Ok(())
    }

    /// Removes a member, for good.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn remove(&self, member: u64) -> Result<(), Error> {
        self.0.call(pb::MemberRemoveRequest { id: member }).await?;
        Ok(())
    }
}
