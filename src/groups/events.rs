//! What happens to groups.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

use crate::ConnectionId;

/// Something that happened to a group.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum GroupEvent<K = String> {
    /// The first member has joined; [`Joined`](Self::Joined) follows.
    Created(K),
    /// A connection has joined: its number, where it is in [`Connections`](crate::Connections).
    Joined(K, Option<ConnectionId>),
    /// A connection has left.
    Left(K, Option<ConnectionId>),
    /// The last member has left.
    Destroyed(K),
    /// That many events came too fast to be kept: 4,096 wait at most.
    Missed(u64),
}

/// The events of all groups, in the order they happened.
///
/// Each has a queue of its own. It does not end: when all [`Groups`](super::Groups) are gone,
/// nothing more comes. A [`Stream`], made by [`Groups::events`](super::Groups::events).
pub struct GroupEvents<K = String> {
    queue: Arc<Mutex<Queue<K>>>,
}

struct Queue<K> {
    events: VecDeque<GroupEvent<K>>,
    missed: u64,
    waker: Option<Waker>,
}

impl<K> GroupEvents<K> {
    /// Waits for the next event.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv(&mut self) -> impl Future<Output = GroupEvent<K>> + Send
    where
        K: Send,
    {
        poll_fn(|cx| self.poll_event(cx))
    }

    fn poll_event(&self, cx: &mut Context<'_>) -> Poll<GroupEvent<K>> {
        let mut queue = lock(&self.queue);
        if queue.missed > 0 && queue.events.len() < MAX_EVENTS {
            // What was missed came after all that is kept.
            let missed = mem::take(&mut queue.missed);
            queue.events.push_back(GroupEvent::Missed(missed));
        }
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(event);
        }
        let before = queue.waker.replace(cx.waker().clone());
        drop(queue);
        drop(before);
        Poll::Pending
    }
}

impl<K> Stream for GroupEvents<K> {
    type Item = GroupEvent<K>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<GroupEvent<K>>> {
        self.poll_event(cx).map(Some)
    }
}

impl<K> fmt::Debug for GroupEvents<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupEvents").finish_non_exhaustive()
    }
}

/// Those who are told.
pub(super) struct Subscribers<K> {
    queues: Vec<Weak<Mutex<Queue<K>>>>,
    wakers: Vec<Waker>,
}

impl<K> Default for Subscribers<K> {
    fn default() -> Self {
        Self {
            queues: Vec::new(),
            wakers: Vec::new(),
        }
    }
}

impl<K: Clone> Subscribers<K> {
    pub(super) fn subscribe(&mut self) -> GroupEvents<K> {
        let queue = Arc::new(Mutex::new(Queue {
            events: VecDeque::new(),
            missed: 0,
            waker: None,
        }));
        self.queues.push(Arc::downgrade(&queue));
        GroupEvents { queue }
    }

    /// Adds an event to every queue; the wakers are to be [taken](Self::take_wakers).
    pub(super) fn push(&mut self, event: GroupEvent<K>) {
        self.queues.retain(|queue| {
            let Some(queue) = queue.upgrade() else {
                return false;
            };
            let mut queue = lock(&queue);
            if queue.missed > 0 || queue.events.len() >= MAX_EVENTS {
                queue.missed += 1;
            } else {
                queue.events.push_back(event.clone());
            }
            self.wakers.extend(queue.waker.take());
            true
        });
    }

    pub(super) fn take_wakers(&mut self) -> Wakers {
        Wakers(mem::take(&mut self.wakers))
    }
}

/// Those to wake outside all locks.
#[must_use]
pub(super) struct Wakers(Vec<Waker>);

impl Wakers {
    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

fn lock<K>(queue: &Mutex<Queue<K>>) -> MutexGuard<'_, Queue<K>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many events wait for somebody who does not take them.
const MAX_EVENTS: usize = 4096;
