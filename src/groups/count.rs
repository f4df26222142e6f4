//! How many members a group has on all nodes.

use std::{borrow::Borrow, hash::Hash};

use super::{
    handle::Groups,
    key::{Key, Names},
    table::Found,
};

/// The number of members of a group on all nodes of a [cluster](crate::groups::GroupsBuilder::cluster).
///
/// Each node counts at a moment of its own, all within a second or two. So the number is not exact while members come
/// and go: one that changes nodes meanwhile may be counted twice, or not at all.
///
/// ```
/// use tower_websocket::groups::Count;
///
/// fn shown(count: Count) -> String {
///     let at_least = if count.missing > 0 { "at least " } else { "" };
///     format!("{at_least}{} on {} nodes", count.members, count.nodes)
/// }
///
/// assert_eq!(shown(Count::default()), "0 on 0 nodes");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Count {
    /// Members of the nodes that were counted: connections, not people.
    pub members: u64,
    /// Nodes that were counted, including this one and those without a member.
    pub nodes: u64,
    /// Live nodes whose members could not be counted.
    ///
    /// They did not answer in time, or could not be asked. If it is 0, all nodes were counted.
    pub missing: u64,
}

impl<K: Key, T> Groups<K, T> {
    /// Counts the members of a group on all nodes of the [cluster](crate::groups::GroupsBuilder::cluster).
    ///
    /// It asks every node, and takes as long as the slowest of them, 1 second at most. It never fails: nodes that have not
    /// answered by then are [`missing`](Count::missing). Without a connection to the engine it returns at once, with
    /// the members of this node. It does the same without a cluster, and for a key whose topic is too long; then no nodes
    /// are missing.
    ///
    /// The members of this node are counted when the answers have arrived. Those of others are kept for a
    /// second: a call for the same group within that time returns them at once, and a call while other nodes are being asked
    /// waits for the same answers. A node asks 1,024 questions in a second: beyond that, all others are missing.
    ///
    /// A node that is [draining](crate::Connections::drain) answers. One that is
    /// [leaving](crate::cluster::Cluster::leave) does not, and is waited for only until it has said goodbye. Nodes
    /// that are not listed in [`nodes`](crate::cluster::Cluster::nodes) are not asked; nodes of an older version that
    /// does not know the question are missing each time.
    ///
    /// ```
    /// use tower_websocket::Groups;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let rooms: Groups = Groups::new();
    /// let count = rooms.count("lobby").await;
    /// let at_least = if count.missing > 0 { "at least " } else { "" };
    /// assert_eq!(format!("{at_least}{} on {} nodes", count.members, count.nodes), "0 on 1 nodes");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect on other calls that count the same group. When the last of them is dropped, the
    /// question is forgotten.
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
