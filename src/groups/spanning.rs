//! Groups in a cluster: what comes from other nodes, and what applications can do there.

use std::{borrow::Borrow, hash::Hash, pin::Pin, sync::Arc, time::Duration};

use super::{
    builder::GroupsBuilder,
    content::{Broadcast, Content},
    delivery::Delivery,
    elsewhere::{Elsewhere, Reach},
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
    },
    protocol::CloseCode,
};

impl<K: Key> Deliver for Group<K> {
    fn deliver(self: Arc<Self>, parcel: Parcel) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let content = match parcel {
            Parcel::Message(message) => Content::Message(message.into()),
            Parcel::Close(frame) => {
                Content::Close(frame.unwrap_or_else(|| CloseCode::NORMAL.into()))
            }
        };
        Box::pin(async move {
            let _turn = self.turn().await;
            self.bring(&content, None).await;
        })
    }

    fn missed(self: Arc<Self>, gap: Gap) {
        self.home.missed(gap, &self);
    }

    fn members(&self) -> usize {
        self.len()
    }
}

impl<K: Key> Span for Table<K> {
    fn reconnected(&self, after: Duration) {
        let mut state = self.lock();
        state.subscribers.push_reconnected(after);
        let heard = state.subscribers.take_heard();
        drop(state);
        heard.wake();
    }

    fn groups(&self) -> usize {
        self.lock().groups.len()
    }
}

impl<K: Key + ToTopic, T> GroupsBuilder<K, T> {
    /// Makes the groups span all nodes of a cluster: those that are built there with the same name.
    ///
    /// Members of this node still get at once what this node sends. See
    /// [the module](crate::cluster) for what is promised between nodes.
    ///
    /// # Panics
    ///
    /// Panics if the name is not 1 to 32 of the characters `a`–`z`, `0`–`9` and `-`. [`build`](Self::build) panics if
    /// there are groups with this name already, built with the same [`Cluster`].
    #[must_use]
    pub fn cluster(mut self, cluster: &Cluster, name: &str) -> Self {
        self.reach = Some(Reach::new(cluster, name, K::to_topic));
        self
    }
}

impl<K: Key, T> Groups<K, T> {
    /// Sends a message to every member of a group, and waits until the engine of the cluster has it.
    ///
    /// It does what [`broadcast`](Self::broadcast) does, and waits for the engine of the [cluster](GroupsBuilder::cluster).
    /// That is no promise that other nodes get the message, but they notice if it is missing. Without a
    /// cluster it is the same as a broadcast.
    ///
    /// # Errors
    ///
    /// The reason why the engine does not have it; the members of this node have got it all the same. Without a
    /// connection it waits for [`max_wait`](crate::cluster::ClusterBuilder::max_wait), 5 seconds by default.
    ///
    /// # Cancel safety
    ///
    /// As that of [`broadcast`](Self::broadcast). If it is dropped while it waits for the engine, all members have got the
    /// message.
    pub fn broadcast_confirmed<Q, M>(
        &self,
        key: &Q,
        message: M,
    ) -> impl Future<Output = Result<Delivery, PublishError>> + Send + use<K, T, Q, M>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Names<K> + ?Sized,
        M: Into<Broadcast>,
    {
        let content = Content::Message(message.into());
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
    /// It is ready at once without a [cluster](GroupsBuilder::cluster), and if the node is subscribed already. Fetch the
    /// state after it, and nothing slips in between. Without a connection to the engine it waits for one,
    /// and if the engine denies the topic, until it no longer does. Put a `timeout` around it if members are to
    /// come in all the same.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn subscribed(&self) -> impl Future<Output = ()> + Send + use<K> {
        let waiting = self.member().group().elsewhere.as_ref();
        let waiting = waiting.and_then(Elsewhere::await_subscribed);
        async move {
            if let Some(waiting) = waiting {
                // Without the node there is nothing to wait for.
                let _ = waiting.await;
            }
        }
    }
}
