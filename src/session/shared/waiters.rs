//! Those who wait for something of a connection.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Waker},
};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{
    ending::Ending,
    pings::Pings,
    wait_list::{TaskSet, WaitList},
};
use crate::session::data::Data;

/// Those who wait, and the end: what few connections have, and no other has memory for.
#[derive(Default)]
pub(crate) struct Waiters {
    pub(super) receiver: Option<Waker>,
    /// Who receives does so in another task than the session's.
    pub(super) elsewhere: bool,
    /// For the end. They may be dropped at any time, and wait long.
    pub(super) closed: WaitList,
    /// For something to be written; not there while nobody does.
    sending: Option<Box<Sending>>,
    /// No ticket for it has had a higher number.
    last_number: u32,
    /// Where the session runs.
    pub(super) runtime: Option<Handle>,
    /// Pings whose answer is timed; not there while none is under way.
    pub(super) pings: Option<Box<Pings>>,
    pub(super) rare: Option<Box<Rare>>,
}

/// What hardly any connection has before its end.
#[derive(Default)]
pub(crate) struct Rare {
    /// Present once the end has begun.
    pub(super) ending: Option<Ending>,
    /// What the application keeps with a connection that has no info.
    pub(super) data: Data,
    /// How many messages found a full queue.
    pub(super) queue_full: u64,
}

/// Tasks that wait for something to be written.
#[derive(Default)]
pub(crate) struct Sending {
    /// For the queue to be no longer than `max_send_queue`.
    pub(super) room: WaitList,
    /// For the end of a message that is sent piece by piece, to begin another one.
    pub(super) begin: WaitList,
    /// The one that sends such a message waits for room.
    pub(super) writer: Option<Waker>,
    /// For everything queued to be written.
    pub(super) flush: WaitList,
    pub(super) sinks: Option<Box<Sinks>>,
}

/// Sinks, which have no futures to be dropped.
#[derive(Default)]
pub(super) struct Sinks {
    pub(super) room: TaskSet,
    pub(super) flush: TaskSet,
    pub(super) closed: TaskSet,
}

impl Waiters {
    pub(crate) fn sending(&mut self) -> &mut Sending {
        let last_number = self.last_number;
        self.sending.get_or_insert_with(|| {
            Box::new(Sending {
                room: WaitList::after(last_number),
                begin: WaitList::after(last_number),
                flush: WaitList::after(last_number),
                ..Sending::default()
            })
        })
    }

    /// Gives the memory back where nobody waits for something to be written.
    pub(super) fn forget_sending(&mut self) {
        if let Some(sending) = self.sending.take_if(|sending| sending.is_empty()) {
            let lists = [&sending.room, &sending.begin, &sending.flush];
            let numbers = lists.map(WaitList::last_number);
            self.last_number = numbers.into_iter().fold(self.last_number, u32::max);
        }
    }

    /// Forgets everybody; the end alone is asked for from now on, and what is kept.
    pub(super) fn forget_all(&mut self) {
        *self = Self {
            pings: self.pings.take(),
            rare: self.rare.take(),
            ..Self::default()
        };
    }

    /// Reports whether there is nothing in it, and never was anybody with a ticket.
    pub(super) fn is_unused(&self) -> bool {
        let nobody = self.receiver.is_none() && !self.elsewhere && self.sending.is_none();
        let tickets = self.last_number > 0 || self.closed.last_number() > 0;
        nobody && !tickets && self.pings.is_none() && self.rare.is_none()
    }

    pub(super) fn sinks(&mut self) -> &mut Sinks {
        self.sending().sinks.get_or_insert_default()
    }

    /// Reports whether anybody waits for something to be written.
    #[inline]
    pub(super) fn have_senders(&self) -> bool {
        self.sending.is_some()
    }

    /// Those who wait for something to be written, where there are any.
    pub(super) fn sending_mut(&mut self) -> Option<&mut Sending> {
        self.sending.as_deref_mut()
    }
}

impl Sending {
    fn is_empty(&self) -> bool {
        let lists = [&self.room, &self.begin, &self.flush];
        let nobody = lists.into_iter().all(WaitList::is_empty);
        nobody && self.writer.is_none() && self.sinks.is_none()
    }
}

/// A message was queued. Dropped outside the lock, it wakes the driver.
#[must_use]
pub(crate) struct Queued {
    driver: Option<Waker>,
    /// The payload, where it was copied; its drop may run somebody's code.
    copied: Option<Bytes>,
}

impl Queued {
    #[inline]
    pub(super) fn new(driver: Option<Waker>, copied: Option<Bytes>) -> Self {
        Self { driver, copied }
    }

    #[inline]
    pub(super) fn finish(self) {}
}

impl Drop for Queued {
    /// Wakes first: the drop of the payload may panic.
    #[inline]
    fn drop(&mut self) {
        wake(self.driver.take());
        drop(self.copied.take());
    }
}

/// A session that has something to write, and was not woken: it has to be
/// [written for](super::Shared::flush_now) or [woken](super::Shared::wake_promised).
#[must_use]
pub(crate) struct Asleep {
    /// Where it runs, if that is known.
    pub(crate) runtime: Option<Handle>,
}

/// Those to wake once the lock is released: at the latest when this is dropped, so that a panic in
/// between does not leave them asleep.
#[derive(Default)]
#[must_use]
pub(crate) struct Wakers(Vec<Waker>);

impl Wakers {
    pub(crate) fn wake(self) {}

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, waker: Waker) {
        self.0.push(waker);
    }

    /// Adds all of others.
    pub(crate) fn extend_from(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Adds all that wait in a list.
    pub(super) fn drain(&mut self, list: &mut WaitList) {
        self.extend(std::iter::from_fn(|| list.pop()).map(|(waker, _)| waker));
    }

    /// Wakes all but the task whose turn it is; reports whether that waits too.
    #[inline]
    pub(crate) fn wake_others(self, cx: &Context<'_>) -> bool {
        !self.is_empty() && self.wake_some_others(cx)
    }

    #[cold]
    fn wake_all(&mut self) {
        self.0.drain(..).map(Woken).for_each(Woken::wake);
    }

    fn wake_some_others(mut self, cx: &Context<'_>) -> bool {
        let all = self.0.len();
        self.0.retain(|waker| !waker.will_wake(cx.waker()));
        self.0.len() < all
    }
}

impl Extend<Waker> for Wakers {
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        self.0.extend(wakers);
    }
}

impl Drop for Wakers {
    #[inline]
    fn drop(&mut self) {
        if !self.is_empty() {
            self.wake_all();
        }
    }
}

/// Wakes a session, outside the lock.
#[inline]
pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A task of the application, to be woken outside the lock.
#[must_use]
pub(crate) struct Woken(pub(super) Waker);

impl Woken {
    /// Wakes it. A waker that panics harms its own task alone, not the one that does this.
    pub(crate) fn wake(self) {
        if catch_unwind(AssertUnwindSafe(|| self.0.wake())).is_err() {
            tracing::error!("a waker of a task that waits for a websocket panicked");
        }
    }

    pub(super) fn into_waker(self) -> Waker {
        self.0
    }
}
