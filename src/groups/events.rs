//! What happens to groups.

#[cfg(feature = "cluster")]
use std::time::Duration;
use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

use super::{group::Group, key::Key};
#[cfg(feature = "cluster")]
use crate::cluster::Gap;
use crate::{
    lock::Lock,
    session::{ConnectionId, Wakers},
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
    queue: Arc<Lock<GroupQueue<K>>>,
}

pub(super) struct GroupQueue<K> {
    events: VecDeque<Happened<K>>,
    missed: u64,
    waker: Option<Waker>,
}

/// An event as it waits: the key is cloned when it is taken, so that no code of the key runs when it
/// happens.
enum Happened<K> {
    In(GroupChange, Arc<Group<K>>),
    #[cfg(feature = "cluster")]
    Reconnected(Duration),
    Missed(u64),
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

    /// Takes the next event. Only one task does: what is first stays first while it is looked at.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<GroupEvent<K>> {
        let mut queue = self.queue.lock();
        if queue.missed > 0 && queue.events.len() < MAX_EVENTS {
            // What was missed came after all that is kept.
            let missed = mem::take(&mut queue.missed);
            queue.events.push_back(Happened::Missed(missed));
        }
        let (change, group) = match queue.events.front() {
            Some(Happened::In(change, group)) => (*change, group.clone()),
            Some(&Happened::Missed(missed)) => {
                queue.events.pop_front();
                return Poll::Ready(GroupEvent::Missed(missed));
            }
            #[cfg(feature = "cluster")]
            Some(&Happened::Reconnected(after)) => {
                queue.events.pop_front();
                return Poll::Ready(GroupEvent::Reconnected(after));
            }
            None => {
                let before = queue.waker.replace(cx.waker().clone());
                drop(queue);
                drop(before);
                return Poll::Pending;
            }
        };
        drop(queue);
        // A clone that panics takes nothing.
        let key = group.key.clone();
        let taken = self.queue.lock().events.pop_front();
        // The key may be dropped with it.
        drop(taken);
        Poll::Ready(match change {
            GroupChange::Created => GroupEvent::Created(key),
            GroupChange::Joined(id) => GroupEvent::Joined(key, id),
            GroupChange::Left(id) => GroupEvent::Left(key, id),
            GroupChange::Destroyed => GroupEvent::Destroyed(key),
            #[cfg(feature = "cluster")]
            GroupChange::Gap(gap) => GroupEvent::Gap(key, gap),
        })
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

/// The queues into which events go.
pub(super) struct Subscribers<K> {
    queues: Vec<Weak<Lock<GroupQueue<K>>>>,
    told: Told<K>,
}

/// What is left to do outside all locks, once events are in their queues.
#[must_use]
pub(super) struct Told<K> {
    wakers: Wakers,
    /// A listener may stop meanwhile, and leave its events to be dropped here.
    queues: Vec<Arc<Lock<GroupQueue<K>>>>,
}

impl<K> Default for Told<K> {
    fn default() -> Self {
        Self {
            wakers: Wakers::default(),
            queues: Vec::new(),
        }
    }
}

impl<K> Told<K> {
    /// Wakes the listeners.
    pub(super) fn wake(self) {
        self.wakers.wake();
    }
}

impl<K> Default for Subscribers<K> {
    fn default() -> Self {
        Self {
            queues: Vec::new(),
            told: Told::default(),
        }
    }
}

impl<K> Subscribers<K> {
    pub(super) fn subscribe(&mut self) -> GroupEvents<K> {
        let queue = Arc::new(Lock::new(GroupQueue {
            events: VecDeque::new(),
            missed: 0,
            waker: None,
        }));
        self.queues.push(Arc::downgrade(&queue));
        GroupEvents { queue }
    }

    /// Adds an event to every queue, and runs no code of the application. What has to be done then is
    /// to be [taken](Self::take_told).
    pub(super) fn push(&mut self, change: GroupChange, group: &Arc<Group<K>>) {
        self.push_each(|| Happened::In(change, group.clone()));
    }

    /// Adds that there is a connection to the engine again, as [`push`](Self::push).
    #[cfg(feature = "cluster")]
    pub(super) fn push_reconnected(&mut self, after: Duration) {
        self.push_each(|| Happened::Reconnected(after));
    }

    fn push_each(&mut self, event: impl Fn() -> Happened<K>) {
        let told = &mut self.told;
        self.queues.retain(|queue| {
            let Some(queue) = queue.upgrade() else {
                return false;
            };
            let mut events = queue.lock();
            if events.missed > 0 || events.events.len() >= MAX_EVENTS {
                events.missed += 1;
            } else {
                events.events.push_back(event());
            }
            told.wakers.extend(events.waker.take());
            drop(events);
            told.queues.push(queue);
            true
        });
    }

    pub(super) fn take_told(&mut self) -> Told<K> {
        mem::take(&mut self.told)
    }
}

/// How many events wait for a listener that does not take them.
const MAX_EVENTS: usize = 4096;
