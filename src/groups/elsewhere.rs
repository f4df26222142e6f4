//! The members that other nodes have.

use std::{
    borrow::{Borrow, Cow},
    hash::Hash,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    broadcast::Content,
    builder::GroupsBuilder,
    delivery::Delivery,
    error::JoinError,
    events::GroupChange,
    group::Group,
    handle::Groups,
    key::{Key, Names},
    member::Membership,
    table::{Found, Table},
};
use crate::{
    cluster::{
        Cluster, Gap, PublishError, ToTopic,
        deliver::{Deliver, Parcel, Span},
        hub::{Hub, Receipt, Told},
        topic::{Topic, TopicPrefix},
    },
    protocol::{CloseCode, Outbound},
};

/// How groups reach other nodes.
pub(super) struct Reach<K> {
    cluster: Cluster,
    name: Box<str>,
    prefix: TopicPrefix,
    to_topic: fn(&K) -> Cow<'_, [u8]>,
}

impl<K> Reach<K> {
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
    pub(super) fn register(&self, table: &Arc<Table<K>>)
    where
        K: Key,
    {
        let table: Weak<Table<K>> = Arc::downgrade(table);
        self.cluster.hub().register(&self.name, table);
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
    pub(super) fn want<K: Key>(&self, group: &Arc<Group<K>>) -> Wanting {
        let group: Weak<Group<K>> = Arc::downgrade(group);
        Wanting {
            told: self.hub.want(&self.topic, group),
            hub: self.hub.clone(),
        }
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
    fn tell_confirmed(
        &self,
        content: &Content,
        delivery: &mut Delivery,
    ) -> Result<Receipt, PublishError> {
        let (remote, receipt) = self.hub.publish_confirmed(&self.topic, content.into())?;
        delivery.remote = remote;
        Ok(receipt)
    }
}

impl From<&Content> for Parcel {
    fn from(content: &Content) -> Self {
        match content {
            Content::Message(message) => Self::Message(message.into()),
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

impl<K: Key> Deliver for Group<K> {
    fn deliver(self: Arc<Self>, parcel: Parcel) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let content = match parcel {
            Parcel::Message(message) => Content::Message(message.into()),
            Parcel::Close(frame) => Content::Close(frame.unwrap_or(CloseCode::NORMAL.into())),
        };
        Box::pin(async move {
            let _turn = self.turn().await;
            self.bring(&content, None).await;
        })
    }

    fn missed(self: Arc<Self>, gap: Gap) {
        self.home.happened(GroupChange::Gap(gap), &self);
    }
}

impl<K: Key> Span for Table<K> {
    fn reconnected(&self, after: Duration) {
        let mut state = self.lock();
        state.subscribers.push_reconnected(after);
        let told = state.subscribers.take_told();
        drop(state);
        told.wake();
    }

    fn groups(&self) -> usize {
        self.lock().groups.len()
    }
}

impl<K: Key + ToTopic> GroupsBuilder<K> {
    /// Makes the groups span all nodes of a cluster: those that are built there with the same name.
    ///
    /// Members of this node still get what this node sends at once. See
    /// [the module](crate::cluster) for what is promised between nodes.
    ///
    /// # Panics
    ///
    /// If the name is not 1 to 32 of the characters `a`–`z`, `0`–`9` and `-`. [`build`](Self::build) panics if
    /// there are groups with this name already, built with the same [`Cluster`].
    #[must_use]
    pub fn cluster(mut self, cluster: &Cluster, name: &str) -> Self {
        self.reach = Some(Reach {
            cluster: cluster.clone(),
            name: name.into(),
            prefix: cluster.prefix(name),
            to_topic: K::to_topic,
        });
        self
    }
}

impl<K: Key> Groups<K> {
    /// Sends a message to every member of a group, as [`broadcast`](Self::broadcast), and waits until the
    /// engine of the [cluster](GroupsBuilder::cluster) has it.
    ///
    /// That is no promise that other nodes get it, but they cannot fail to notice that it is missing. Without a
    /// cluster it is the same as a broadcast.
    ///
    /// # Errors
    ///
    /// Why the engine does not have it; the members of this node have got it all the same. Without a
    /// connection it waits for [`max_wait`](crate::cluster::ClusterBuilder::max_wait), 5 seconds by default.
    ///
    /// # Cancel safety
    ///
    /// As that of [`broadcast`](Self::broadcast). Dropped while it waits for the engine, it has told all.
    pub fn broadcast_confirmed<Q, M>(
        &self,
        key: &Q,
        message: M,
    ) -> impl Future<Output = Result<Delivery, PublishError>> + Send + use<K, Q, M>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Names<K> + ?Sized,
        M: Into<Outbound>,
    {
        let content = Content::Message(message.into().into());
        let found = self.table.find(key);
        // The cluster lives as long as somebody waits.
        let groups = self.clone();
        async move {
            let mut delivery = Delivery::default();
            let told = match &found {
                Found::Group(group) => {
                    let _turn = group.turn().await;
                    let there = group.elsewhere.as_ref();
                    let told = there.map(|there| there.tell_confirmed(&content, &mut delivery));
                    delivery.add(group.bring(&content, None).await);
                    told
                }
                Found::Elsewhere(there) => Some(there.tell_confirmed(&content, &mut delivery)),
                Found::Nowhere => None,
            };
            if let Some(told) = told {
                told?.await.unwrap_or(Err(PublishError::Left))?;
            }
            drop(groups);
            Ok(delivery)
        }
    }
}

impl<K: Key> Membership<K> {
    /// Waits until what other nodes send to the group arrives here.
    ///
    /// At once without a [cluster](GroupsBuilder::cluster), and where the node gets it already. Fetch the
    /// state behind it, and nothing slips in between. Without a connection to the engine it waits for one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub fn subscribed(&self) -> impl Future<Output = ()> + Send + use<K> {
        let waiting = self.group().elsewhere.as_ref();
        let waiting = waiting.and_then(|there| there.hub.await_subscribed(&there.topic));
        async move {
            if let Some(waiting) = waiting {
                // Without the node there is nothing to wait for.
                let _ = waiting.await;
            }
        }
    }
}
