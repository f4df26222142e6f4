//! Something that happened to a group.

#[cfg(feature = "cluster")]
use std::time::Duration;
use std::{fmt, sync::Arc};

#[cfg(feature = "cluster")]
use crate::cluster::Gap;
use crate::session::{ConnectionId, Sender, WeakSender};

/// An event of a group, or of all of them.
///
/// ```
/// use tower_websocket::{Groups, groups::GroupEvent};
///
/// async fn log(rooms: Groups) {
///     let mut events = rooms.events();
///     loop {
///         match events.recv().await {
///             GroupEvent::Created(room) => println!("{room} is open"),
///             GroupEvent::Joined(room, member) => println!("{:?} is in {room}", member.id()),
///             GroupEvent::Left(room, member) => println!("{:?} has left {room}", member.id()),
///             GroupEvent::Destroyed(room) => println!("{room} is empty"),
///             GroupEvent::Missed(count) => eprintln!("{count} events were lost: count anew"),
///             _ => {} // of a cluster
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum GroupEvent<K = String, M = GroupMember> {
    /// The first member has joined; [`Joined`](Self::Joined) follows.
    Created(K),
    /// A connection has joined.
    Joined(K, M),
    /// A connection has left.
    Left(K, M),
    /// The last member has left.
    Destroyed(K),
    /// Messages of another node to a group were lost on their way: how many, and of which node.
    ///
    /// If the last messages are lost, that is noticed once the node sends to the group again.
    #[cfg(feature = "cluster")]
    Gap(K, Gap),
    /// There is a connection to the engine of the cluster again, and all topics are subscribed.
    ///
    /// The field is how long there was none. Messages of other nodes to any group meanwhile may be missing.
    #[cfg(feature = "cluster")]
    Reconnected(Duration),
    /// This many events came too fast to be kept: 4,096 wait at most.
    Missed(u64),
}

/// A member, as it is in an event.
///
/// It keeps its data, and no more than a few hundred bytes of the connection, which an event waits with. Two are equal if
/// they are the same connection.
pub struct GroupMember<T = ()> {
    id: Option<ConnectionId>,
    sender: WeakSender,
    data: Option<Arc<T>>,
}

impl<T> GroupMember<T> {
    pub(super) fn new(id: Option<ConnectionId>, sender: WeakSender, data: Option<Arc<T>>) -> Self {
        Self { id, sender, data }
    }

    /// Returns the number of the connection, if it is in [`Connections`](crate::Connections).
    #[must_use]
    pub fn id(&self) -> Option<ConnectionId> {
        self.id
    }

    /// Returns a handle on the connection; `None` once the connection has ended and no other handle is left.
    #[must_use]
    pub fn sender(&self) -> Option<Sender> {
        self.sender.upgrade()
    }

    /// Returns the data that the member [joined with](crate::Groups::join_as).
    #[must_use]
    pub fn data(&self) -> Option<&Arc<T>> {
        self.data.as_ref()
    }
}

impl<T> Clone for GroupMember<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            sender: self.sender.clone(),
            data: self.data.clone(),
        }
    }
}

impl<T> PartialEq for GroupMember<T> {
    fn eq(&self, other: &Self) -> bool {
        self.sender.same_connection(&other.sender)
    }
}

impl<T> Eq for GroupMember<T> {}

impl<T> fmt::Debug for GroupMember<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupMember")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
