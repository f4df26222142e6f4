//! What happens to groups.

#[cfg(feature = "cluster")]
use std::time::Duration;
use std::{
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::{group::Group, key::Key};
#[cfg(feature = "cluster")]
use crate::cluster::Gap;
use crate::{
    listeners::{Heard, Listener, Listeners, Waiting},
    session::ConnectionId,
};

/// Something that happened to a group.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum GroupEvent<K = String> {
    /// The first member has joined; [`Joined`](Self::Joined) follows.
    Created(K),
    /// A connection has joined: its number, if it is in [`Connections`](crate::Connections).
    Joined(K, Option<ConnectionId>),
    /// A connection has left.
    Left(K, Option<ConnectionId>),
    /// The last member has left.
    Destroyed(K),
    /// Messages of another node to a group did not come: how many, and from which.
    ///
    /// Those that are missing at the end are noticed once that node sends to the group again.
    #[cfg(feature = "cluster")]
    Gap(K, Gap),
    /// There is a connection to the engine of the cluster again, and all is subscribed; for so long there
    /// was none. What other nodes sent to any group meanwhile may be missing.
    #[cfg(feature = "cluster")]
    Reconnected(Duration),
    /// So many events came too fast to be kept: 4,096 wait at most.
    Missed(u64),
}

/// The events of all groups, in the order they happened.
///
/// Each has a queue of its own. It never ends: when all [`Groups`](crate::Groups) are gone,
/// nothing more comes. A [`Stream`], made by [`Groups::events`](crate::Groups::events).
pub struct GroupEvents<K = String> {
    listener: Listener<Happened<K>>,
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
#[derive(Clone, Copy)]
pub(super) enum GroupChange {
    Created,
    Joined(Option<ConnectionId>),
    Left(Option<ConnectionId>),
    Destroyed,
    #[cfg(feature = "cluster")]
    Gap(Gap),
}

impl<K: Key> GroupEvents<K> {
    /// Waits for the next event.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv(&mut self) -> impl Future<Output = GroupEvent<K>> + Send {
        poll_fn(|cx| self.poll_event(cx))
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<GroupEvent<K>> {
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
    fn of<K>(self, key: K) -> GroupEvent<K> {
        match self {
            Self::Created => GroupEvent::Created(key),
            Self::Joined(id) => GroupEvent::Joined(key, id),
            Self::Left(id) => GroupEvent::Left(key, id),
            Self::Destroyed => GroupEvent::Destroyed(key),
            #[cfg(feature = "cluster")]
            Self::Gap(gap) => GroupEvent::Gap(key, gap),
        }
    }
}

impl<K: Key> Stream for GroupEvents<K> {
    type Item = GroupEvent<K>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<GroupEvent<K>>> {
        self.get_mut().poll_event(cx).map(Some)
    }
}

impl<K> fmt::Debug for GroupEvents<K> {
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
    pub(super) fn subscribe(&mut self) -> GroupEvents<K> {
        let listener = self.listeners.listen();
        GroupEvents { listener }
    }

    /// Adds an event to every queue, and runs no code of the application. What has to be done then is
    /// to be [taken](Self::take_heard).
    pub(super) fn push(&mut self, change: GroupChange, group: &Arc<Group<K>>) {
        let event = || Happened::In(change, group.clone());
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
