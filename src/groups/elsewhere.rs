//! The members that other nodes have.

use std::{
    borrow::Cow,
    sync::{Arc, Weak},
};

use tokio::sync::oneshot;

use super::{content::Content, delivery::Delivery, error::JoinError, key::Names};
use crate::cluster::{
    Cluster, PublishError,
    counts::Tally,
    deliver::{Deliver, Parcel, Span},
    hub::{Hub, Receipt, Told},
    topic::{Topic, TopicPrefix},
};

/// How groups reach other nodes.
pub(super) struct Reach<K> {
    cluster: Cluster,
    name: Box<str>,
    prefix: TopicPrefix,
    to_topic: fn(&K) -> Cow<'_, [u8]>,
}

impl<K> Reach<K> {
    /// Takes a cluster, and the name that the groups have there.
    ///
    /// # Panics
    ///
    /// The name is none.
    pub(super) fn new(cluster: &Cluster, name: &str, to_topic: fn(&K) -> Cow<'_, [u8]>) -> Self {
        Self {
            cluster: cluster.clone(),
            name: name.into(),
            prefix: cluster.prefix(name),
            to_topic,
        }
    }

    /// Returns where a group is on other nodes.
    ///
    /// # Errors
    ///
    /// The topic of its key is too long.
    pub(super) fn elsewhere<Q>(&self, key: &Q) -> Result<Elsewhere, JoinError>
    where
        Q: Names<K> + ?Sized,
    {
        let topic = self.prefix.topic(&key.topic(self.to_topic));
        Ok(Elsewhere {
            hub: self.cluster.hub().clone(),
            topic: topic.map_err(|long| JoinError::LongKey { len: long.0 })?,
        })
    }

    /// Has other nodes counted in and told of these groups.
    ///
    /// # Panics
    ///
    /// There are others with this name.
    pub(super) fn register(&self, groups: &Arc<impl Span + 'static>) {
        let groups: Weak<dyn Span> = Arc::<_>::downgrade(groups) as _;
        self.cluster.hub().register(&self.name, groups);
    }
}

/// A group on other nodes.
#[derive(Clone)]
pub(super) struct Elsewhere {
    hub: Arc<Hub>,
    topic: Topic,
}

impl Elsewhere {
    /// Reports whether a group here has this topic already.
    pub(super) fn is_taken(&self) -> bool {
        self.hub.is_taken(&self.topic)
    }

    /// Notes that the group has its first member here.
    pub(super) fn want(&self, group: &Arc<impl Deliver + 'static>) -> Wanting {
        let group: Weak<dyn Deliver> = Arc::<_>::downgrade(group) as _;
        Wanting {
            told: self.hub.want(&self.topic, group),
            hub: self.hub.clone(),
        }
    }

    /// Returns where it will be told that what other nodes send arrives; `None` if it does.
    pub(super) fn await_subscribed(&self) -> Option<oneshot::Receiver<()>> {
        self.hub.await_subscribed(&self.topic)
    }

    /// Notes that the group has no more members here.
    pub(super) fn stop(&self) -> Wanting {
        Wanting {
            told: self.hub.stop(&self.topic),
            hub: self.hub.clone(),
        }
    }

    /// Tells other nodes.
    pub(super) fn tell(&self, content: &Content, delivery: &mut Delivery) {
        delivery.remote = self.hub.publish(&self.topic, content.into());
    }

    /// Tells other nodes, and returns where it will be told what became of that.
    pub(super) fn tell_confirmed(
        &self,
        content: &Content,
        delivery: &mut Delivery,
    ) -> Result<Receipt, PublishError> {
        let (remote, receipt) = self.hub.publish_confirmed(&self.topic, content.into())?;
        delivery.remote = remote;
        Ok(receipt)
    }
}

impl Elsewhere {
    /// Returns how many members the group has here, and what other nodes say.
    pub(super) fn count(&self) -> impl Future<Output = (usize, Tally)> + Send + use<> {
        self.hub.clone().count(self.topic.clone())
    }
}

impl From<&Content> for Parcel {
    fn from(content: &Content) -> Self {
        match content {
            Content::Message(broadcast) => Self::Message((&broadcast.message).into()),
            Content::Close(frame) => Self::Close(Some(frame.clone())),
        }
    }
}

/// What follows where no lock is held.
#[must_use]
pub(super) struct Wanting {
    hub: Arc<Hub>,
    told: Told,
}

impl Wanting {
    pub(super) fn wake(self) {
        self.hub.wake(self.told);
    }
}
