//! Who is told what happens to groups.

#[cfg(feature = "cluster")]
use std::time::Duration;
use std::{
    fmt,
    future::{Future, poll_fn},
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::{
    data::Data,
    event::{GroupEvent, GroupMember},
    group::Group,
    key::Key,
    member::Member,
};
#[cfg(feature = "cluster")]
use crate::cluster::Gap;
use crate::{
    listeners::{Heard, Listener, Listeners, Waiting},
    session::{ConnectionId, WeakSender},
};

/// The events of all groups, in the order in which they happened.
///
/// It is a [`Stream`], made by [`Groups::events`](crate::Groups::events). Each has a queue of its own. It never ends: when
/// all [`Groups`](crate::Groups) are gone, no more events come.
///
/// An event that waits keeps its key and the member's data in memory, and a few hundred bytes of a connection that has
/// ended; 4,096 wait at most.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_websocket::{WebSocket, protocol::Role};
/// # let (here, there) = tokio::io::duplex(4096);
/// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
/// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
/// use tower_websocket::{Groups, groups::GroupEvent};
///
/// let rooms: Groups = Groups::new();
/// let mut events = rooms.events();
/// let membership = rooms.join("lobby".to_owned(), &server.sender())?;
/// assert!(matches!(events.recv().await, GroupEvent::Created(room) if room == "lobby"));
/// assert!(matches!(events.recv().await, GroupEvent::Joined(_, member) if member.sender().is_some()));
/// membership.leave();
/// assert!(matches!(events.recv().await, GroupEvent::Left(..)));
/// assert!(matches!(events.recv().await, GroupEvent::Destroyed(_)));
/// # Ok(())
/// # }
/// ```
pub struct GroupEvents<K = String, T = ()> {
    listener: Listener<Happened<K>>,
    data: PhantomData<fn() -> T>,
}

/// An event as it waits: the key is cloned when it is taken, so that no code of the key runs when it
/// happens.
#[derive(Clone)]
enum Happened<K> {
    In(GroupChange, Arc<Group<K>>),
    #[cfg(feature = "cluster")]
    Reconnected(Duration),
}

/// What happened to a group.
#[derive(Clone)]
pub(super) enum GroupChange {
    Created,
    Joined(Who),
    Left(Who),
    Destroyed,
    #[cfg(feature = "cluster")]
    Gap(Gap),
}

/// A member, as it waits.
#[derive(Clone)]
pub(super) struct Who {
    id: Option<ConnectionId>,
    sender: WeakSender,
    data: Option<Data>,
}

impl<K: Key, T: Send + Sync + 'static> GroupEvents<K, T> {
    /// Waits for the next event.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv(&mut self) -> impl Future<Output = GroupEvent<K, GroupMember<T>>> + Send {
        poll_fn(|cx| self.poll_event(cx))
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<GroupEvent<K, GroupMember<T>>> {
        let first = ready!(self.listener.poll_first(cx, Waiting::clone));
        let event = match first {
            // A clone that panics takes nothing.
            Waiting::Event(Happened::In(change, group)) => change.of(group.key.clone()),
            #[cfg(feature = "cluster")]
            Waiting::Event(Happened::Reconnected(after)) => GroupEvent::Reconnected(after),
            Waiting::Missed(missed) => GroupEvent::Missed(missed),
        };
        // The key may be dropped with it.
        drop(self.listener.take_first());
        Poll::Ready(event)
    }
}

impl GroupChange {
    fn of<K, T: Send + Sync + 'static>(self, key: K) -> GroupEvent<K, GroupMember<T>> {
        match self {
            Self::Created => GroupEvent::Created(key),
            Self::Joined(who) => GroupEvent::Joined(key, who.of()),
            Self::Left(who) => GroupEvent::Left(key, who.of()),
            Self::Destroyed => GroupEvent::Destroyed(key),
            #[cfg(feature = "cluster")]
            Self::Gap(gap) => GroupEvent::Gap(key, gap),
        }
    }
}

impl Who {
    pub(super) fn new<K>(member: &Member<K>) -> Self {
        Self {
            id: member.sender().id(),
            sender: WeakSender::new(member.sender()),
            data: member.data().cloned(),
        }
    }

    fn of<T: Send + Sync + 'static>(self) -> GroupMember<T> {
        // No other type comes in by `join_as`.
        let data = self.data.and_then(|data| data.downcast().ok());
        GroupMember::new(self.id, self.sender, data)
    }
}

impl<K: Key, T: Send + Sync + 'static> Stream for GroupEvents<K, T> {
    type Item = GroupEvent<K, GroupMember<T>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(cx).map(Some)
    }
}

impl<K, T> fmt::Debug for GroupEvents<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupEvents").finish_non_exhaustive()
    }
}

/// Who listens.
pub(super) struct Subscribers<K> {
    listeners: Listeners<Happened<K>>,
    heard: Heard<Happened<K>>,
}

impl<K> Subscribers<K> {
    pub(super) fn subscribe<T>(&mut self) -> GroupEvents<K, T> {
        GroupEvents {
            listener: self.listeners.listen(),
            data: PhantomData,
        }
    }

    /// Adds an event to every queue, and runs no code of the application. What has to be done then is
    /// to be [taken](Self::take_heard).
    pub(super) fn push(&mut self, change: impl Fn() -> GroupChange, group: &Arc<Group<K>>) {
        let event = || Happened::In(change(), group.clone());
        self.listeners.push(event, &mut self.heard);
    }

    /// Adds that there is a connection to the engine again, as [`push`](Self::push).
    #[cfg(feature = "cluster")]
    pub(super) fn push_reconnected(&mut self, after: Duration) {
        let event = || Happened::Reconnected(after);
        self.listeners.push(event, &mut self.heard);
    }

    /// Takes what is left to do outside all locks, once events are in their queues.
    pub(super) fn take_heard(&mut self) -> Heard<impl Sized + use<K>> {
        mem::take(&mut self.heard)
    }
}

impl<K> Default for Subscribers<K> {
    fn default() -> Self {
        Self {
            listeners: Listeners::default(),
            heard: Heard::default(),
        }
    }
}
