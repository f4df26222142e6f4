//! How many members a group has on all nodes.

use std::{borrow::Borrow, hash::Hash};

use super::{
    handle::Groups,
    key::{Key, Names},
    table::Found,
};

/// How many members a group has on all nodes of a [cluster](crate::groups::GroupsBuilder::cluster).
///
/// Each node counts at a moment of its own, all within a second or two: so it is no exact number while members come
/// and go, and one that changes nodes meanwhile may be counted twice, or not at all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Count {
    /// Members of the nodes that were counted: connections, and not people.
    pub members: u64,
    /// Nodes that were counted, those without a member and this one among them.
    pub nodes: u64,
    /// Live nodes of which it is not known how many members they have: they did not answer in time, or
    /// could not be asked. 0: everybody was counted.
    pub missing: u64,
}

impl<K: Key, T> Groups<K, T> {
    /// Counts the members of a group on all nodes of the [cluster](crate::groups::GroupsBuilder::cluster).
    ///
    /// Asks every node, and takes as long as the slowest of them, 1 second at most. It never fails: what was not
    /// answered by then is [`missing`](Count::missing). Without a connection to the engine it returns at once, with
    /// the members of this node; as it does without a cluster, or for a key with too long a topic, where no others
    /// are missing.
    ///
    /// The members of this node are those that it has when the answers are there. Those of others are kept for a
    /// second: who counts a group again within it gets them at once, and who does while others are being asked waits
    /// for the same answers. A node asks 1,024 questions in a second: beyond that, all others are missing.
    ///
    /// A node that is [draining](crate::Connections::drain) answers. One that is
    /// [leaving](crate::cluster::Cluster::leave) does not, and is waited for only until it has said goodbye. Nodes
    /// that are not listed in [`nodes`](crate::cluster::Cluster::nodes) are not asked; those of an older version that
    /// does not know the question are missing each time.
    ///
    /// ```
    /// # use tower_websocket::Groups;
    /// # async fn tell(rooms: &Groups) {
    /// let count = rooms.count("lobby").await;
    /// let at_least = if count.missing > 0 { "at least " } else { "" };
    /// rooms.broadcast("lobby", format!("{at_least}{} are here", count.members)).await;
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops nothing for others who count the same group. With the last of them the question is
    /// forgotten.
    pub fn count<Q>(&self, key: &Q) -> impl Future<Output = Count> + Send + use<K, T, Q>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Names<K> + ?Sized,
    {
        let (here, there) = match self.table.find(key) {
            Found::Group(group) => (group.len(), group.elsewhere.clone()),
            Found::Elsewhere(there) => (0, Some(there)),
            Found::Nowhere => (0, None),
        };
        // The cluster lives as long as somebody waits.
        let groups = self.clone();
        async move {
            let Some(there) = there else {
                return Count {
                    members: here as u64,
                    nodes: 1,
                    missing: 0,
                };
            };
            let (here, others) = there.count().await;
            drop(groups);
            Count {
                members: here as u64 + others.members,
                nodes: 1 + others.nodes,
                missing: others.missing,
            }
        }
    }
}
