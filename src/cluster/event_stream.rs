//! What happens to a cluster, for whoever listens.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;

use super::{backplane::BackplaneError, node_id::NodeId, topic::Topic};
use crate::listeners::{Listener, Waiting};

/// An event of a cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// All topics of this node are subscribed: messages go to other nodes and come from them.
    Connected {
        /// How long there was no connection, if there was one before.
        ///
        /// Messages that other nodes sent meanwhile may be missing.
        after: Option<Duration>,
    },
    /// The connection ended.
    ///
    /// Broadcasts to members of this node go on; another connection is tried.
    Disconnected(BackplaneError),
    /// A connection could not be made, and is tried again.
    ///
    /// It is reported once, until there is another reason.
    Unreachable(BackplaneError),
    /// The engine does not permit these subscriptions; they are tried again every 30 seconds.
    Denied(Vec<Topic>),
    /// A node was heard for the first time, or again after it had left.
    NodeJoined(NodeId),
    /// A node announced that it leaves, or was not heard for three of its intervals.
    NodeLeft(NodeId),
    /// This many events came too fast to be kept: 4,096 wait at most.
    Missed(u64),
}

/// The events of a cluster, in the order in which they happened.
///
/// It is a [`Stream`], made by [`Cluster::events`](super::Cluster::events). Each has a queue of its own. It never ends.
///
/// ```
/// use tower_websocket::cluster::{Cluster, ClusterEvent};
///
/// async fn watch(cluster: Cluster) {
///     let mut events = cluster.events();
///     loop {
///         match events.recv().await {
///             ClusterEvent::Connected { after, .. } => println!("connected, after {after:?}"),
///             ClusterEvent::Disconnected(error) => eprintln!("disconnected: {error}"),
///             ClusterEvent::Unreachable(error) => eprintln!("unreachable: {error}"),
///             ClusterEvent::NodeJoined(node) => println!("{node:?} is here"),
///             ClusterEvent::NodeLeft(node) => println!("{node:?} has left"),
///             other => println!("{other:?}"),
///         }
///     }
/// }
/// ```
pub struct ClusterEvents {
    pub(super) listener: Listener<ClusterEvent>,
}

impl ClusterEvents {
    /// Waits for the next event.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv(&mut self) -> impl Future<Output = ClusterEvent> + Send {
        poll_fn(|cx| self.poll_event(cx))
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<ClusterEvent> {
        self.listener.poll(cx).map(|waiting| match waiting {
            Waiting::Event(event) => event,
            Waiting::Missed(missed) => ClusterEvent::Missed(missed),
        })
    }
}

impl Stream for ClusterEvents {
    type Item = ClusterEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClusterEvent>> {
        self.get_mut().poll_event(cx).map(Some)
    }
}

impl fmt::Debug for ClusterEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterEvents").finish_non_exhaustive()
    }
}
