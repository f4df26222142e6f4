//! What happens to a cluster, for whoever listens.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_core::Stream;

use super::{backplane::BackplaneError, node_id::NodeId, topic::Topic};
use crate::{lock::Lock, session::Wakers};

/// Something that happened to a cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// All that is wanted is subscribed: messages go to other nodes and come from them.
    Connected {
        /// How long there was no connection, if there was one before. What other nodes sent meanwhile may
        /// be missing.
        after: Option<Duration>,
    },
    /// The connection ended. Members of this node go on; another connection is tried.
    Disconnected(BackplaneError),
    /// A connection could not be made: told once, until another reason comes. It is tried again.
    Unreachable(BackplaneError),
    /// The engine does not permit these subscriptions; they are tried again every 30 seconds.
    Denied(Vec<Topic>),
    /// A node was heard for the first time, or again after it had left.
    NodeJoined(NodeId),
    /// A node said that it leaves, or was not heard for three of its intervals.
    NodeLeft(NodeId),
    /// So many events came too fast to be kept: 4,096 wait at most.
    Missed(u64),
}

/// The events of a cluster, in the order they happened.
///
/// Each has a queue of its own. It never ends. A [`Stream`], made by
/// [`Cluster::events`](super::Cluster::events).
pub struct ClusterEvents {
    queue: Arc<Lock<EventQueue>>,
}

#[derive(Default)]
struct EventQueue {
    events: VecDeque<ClusterEvent>,
    missed: u64,
    waker: Option<Waker>,
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
        let mut queue = self.queue.lock();
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(event);
        }
        // What was missed came after all that was kept.
        let missed = mem::take(&mut queue.missed);
        if missed > 0 {
            return Poll::Ready(ClusterEvent::Missed(missed));
        }
        let before = queue.waker.replace(cx.waker().clone());
        drop(queue);
        drop(before);
        Poll::Pending
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

/// Who heard of an event: to be woken where no lock is held.
#[derive(Default)]
pub(super) struct Heard {
    wakers: Wakers,
    /// A listener may stop meanwhile, and leave its events to be dropped here.
    queues: Vec<Arc<Lock<EventQueue>>>,
}

impl Heard {
    /// Wakes them.
    pub(super) fn wake(self) {
        self.wakers.wake();
    }
}

/// The queues into which events go.
#[derive(Default)]
pub(super) struct Listeners(Vec<Weak<Lock<EventQueue>>>);

impl Listeners {
    pub(super) fn listen(&mut self) -> ClusterEvents {
        let queue = Arc::<Lock<EventQueue>>::default();
        self.0.push(Arc::downgrade(&queue));
        ClusterEvents { queue }
    }

    /// Adds an event to every queue. Whoever is to be woken comes to `heard`.
    pub(super) fn push(&mut self, event: &ClusterEvent, heard: &mut Heard) {
        self.0.retain(|queue| {
            let Some(queue) = queue.upgrade() else {
                return false;
            };
            let mut events = queue.lock();
            if events.missed > 0 || events.events.len() >= MAX_EVENTS {
                events.missed += 1;
            } else {
                events.events.push_back(event.clone());
            }
            heard.wakers.extend(events.waker.take());
            drop(events);
            heard.queues.push(queue);
            true
        });
    }
}

/// How many events wait for a listener that does not take them.
const MAX_EVENTS: usize = 4096;
