//! Those who wait for something of a connection.

use std::task::{Context, Waker};

use bytes::Bytes;

#[derive(Default)]
pub(super) struct Waiters {
    pub(super) receiver: Option<Waker>,
    /// Who receives does so in another task than the session's.
    pub(super) elsewhere: bool,
    /// For the queue to be no longer than `max_send_queue`.
    pub(super) room: Vec<Waker>,
    /// For everything queued to be written.
    pub(super) flush: Vec<Waker>,
    /// For the end, each by the number of its future. They may be dropped at any time, and wait long.
    pub(super) closed: Vec<(u64, Waker)>,
    pub(super) last: u64,
}

/// A message was queued: what is to be done outside the lock.
#[must_use]
pub(super) struct Queued {
    pub(super) driver: Option<Waker>,
    /// The payload, where it was copied; its drop may run somebody's code.
    pub(super) copied: Option<Bytes>,
}

impl Queued {
    #[inline]
    pub(super) fn finish(self) {
        wake(self.driver);
        drop(self.copied);
    }

    /// Leaves waking the driver to the caller.
    pub(super) fn into_driver(self) -> Option<Waker> {
        self.driver
    }
}

/// Those to wake once the lock is released.
#[derive(Default)]
#[must_use]
pub(super) struct Wakers(pub(super) Vec<Waker>);

impl Wakers {
    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wakes all but the task whose turn it is; tells whether that waits too.
    #[inline]
    pub(super) fn wake_others(self, cx: &Context<'_>) -> bool {
        !self.is_empty() && self.wake_some_others(cx)
    }

    fn wake_some_others(self, cx: &Context<'_>) -> bool {
        let mut own = false;
        for waker in self.0 {
            if waker.will_wake(cx.waker()) {
                own = true;
            } else {
                waker.wake();
            }
        }
        own
    }
}

/// Adds a task to those who wait, unless it is there.
pub(super) fn add(wakers: &mut Vec<Waker>, cx: &Context<'_>) {
    if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
        wakers.push(cx.waker().clone());
    }
}

/// Wakes somebody, outside the lock.
#[inline]
pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
