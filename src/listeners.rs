//! Who listens for events: each listener has a queue of its own, in which so many wait at most; what comes
//! beyond that is counted.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use crate::{lock::Lock, session::Wakers};

/// All who listen.
pub(crate) struct Listeners<E>(Vec<Weak<Lock<Queue<E>>>>);

/// One who listens.
pub(crate) struct Listener<E>(Arc<Lock<Queue<E>>>);

/// What waits for a listener.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Waiting<E> {
    Event(E),
    /// So many that came behind were not kept.
    Missed(u64),
}

/// Who heard of events: to be woken where no lock is held.
#[must_use]
pub(crate) struct Heard<E> {
    wakers: Wakers,
    /// A listener may stop meanwhile, and leave its events to be dropped here.
    queues: Vec<Arc<Lock<Queue<E>>>>,
}

struct Queue<E> {
    waiting: VecDeque<Waiting<E>>,
    missed: u64,
    waker: Option<Waker>,
}

impl<E> Listeners<E> {
    /// Adds one, who hears what happens from now on.
    pub(crate) fn listen(&mut self) -> Listener<E> {
        let queue = Arc::new(Lock::new(Queue {
            waiting: VecDeque::new(),
            missed: 0,
            waker: None,
        }));
        if self.0.len() == self.0.capacity() {
            // Where nothing happens nobody else finds out who has stopped.
            self.0.retain(|queue| queue.strong_count() > 0);
        }
        self.0.push(Arc::downgrade(&queue));
        Listener(queue)
    }

    /// Adds an event to every queue; whoever is to be woken comes to `heard`.
    pub(crate) fn push(&mut self, event: impl Fn() -> E, heard: &mut Heard<E>) {
        self.0.retain(|queue| {
            let Some(queue) = queue.upgrade() else {
                return false;
            };
            let mut locked = queue.lock();
            if locked.missed > 0 || locked.waiting.len() >= MAX_EVENTS {
                locked.missed += 1;
            } else {
                locked.waiting.push_back(Waiting::Event(event()));
            }
            heard.wakers.extend(locked.waker.take());
            drop(locked);
            heard.queues.push(queue);
            true
        });
    }
}

impl<E> Listener<E> {
    /// Takes what is first.
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Waiting<E>> {
        self.poll_with(cx, VecDeque::pop_front)
    }

    /// Looks at what is first. It stays so until it is [taken](Self::take_first), since only one task
    /// takes anything.
    pub(crate) fn poll_first<T>(
        &self,
        cx: &mut Context<'_>,
        look: impl FnOnce(&Waiting<E>) -> T,
    ) -> Poll<T> {
        self.poll_with(cx, |waiting| waiting.front().map(look))
    }

    /// Takes what is first, if there is something.
    pub(crate) fn take_first(&self) -> Option<Waiting<E>> {
        self.0.lock().waiting.pop_front()
    }

    fn poll_with<T>(
        &self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut VecDeque<Waiting<E>>) -> Option<T>,
    ) -> Poll<T> {
        let mut queue = self.0.lock();
        if queue.missed > 0 && queue.waiting.len() < MAX_EVENTS {
            // What was missed came behind all that is kept.
            let missed = mem::take(&mut queue.missed);
            queue.waiting.push_back(Waiting::Missed(missed));
        }
        if let Some(taken) = take(&mut queue.waiting) {
            return Poll::Ready(taken);
        }
        let before = queue.waker.replace(cx.waker().clone());
        drop(queue);
        drop(before);
        Poll::Pending
    }
}

impl<E> Heard<E> {
    /// Wakes them.
    pub(crate) fn wake(self) {
        self.wakers.wake();
    }
}

impl<E> Default for Listeners<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E> Default for Heard<E> {
    fn default() -> Self {
        Self {
            wakers: Wakers::default(),
            queues: Vec::new(),
        }
    }
}

/// How many events wait for a listener that does not take them.
const MAX_EVENTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn next(listener: &Listener<usize>) -> Poll<Waiting<usize>> {
        listener.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_comes_too_fast_is_counted_where_it_is_missing() {
        let mut listeners = Listeners::default();
        let listener = listeners.listen();
        let mut push = |event: usize| {
            let mut heard = Heard::default();
            listeners.push(|| event, &mut heard);
            heard.wake();
        };
        for event in 0..MAX_EVENTS + 3 {
            push(event);
        }
        assert_eq!(next(&listener), Poll::Ready(Waiting::Event(0)));
        assert_eq!(next(&listener), Poll::Ready(Waiting::Event(1)));
        // There is room again, though not all that was kept is taken.
        push(7);
        push(8);
        for event in 2..MAX_EVENTS {
            assert_eq!(next(&listener), Poll::Ready(Waiting::Event(event)));
        }
        assert_eq!(next(&listener), Poll::Ready(Waiting::Missed(3)));
        assert_eq!(next(&listener), Poll::Ready(Waiting::Event(7)));
        assert_eq!(next(&listener), Poll::Ready(Waiting::Missed(1)));
        assert_eq!(next(&listener), Poll::Pending);
    }

    #[test]
    fn those_who_have_stopped_are_forgotten_where_nothing_happens() {
        let mut listeners = Listeners::<usize>::default();
        for _ in 0..10_000 {
            drop(listeners.listen());
        }
        assert!(listeners.0.capacity() < 10);
    }

    #[test]
    fn one_who_has_stopped_is_forgotten() {
        let mut listeners = Listeners::default();
        drop(listeners.listen());
        listeners.push(|| 1, &mut Heard::default());
        assert!(listeners.0.is_empty());
    }
}
